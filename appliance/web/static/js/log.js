// The log of events, the newest first. What the page has seen is filtered at once; what lies further back is asked for.

import { badge, byId, element, text, visible } from "./dom.js";
import { count, moment, plural, printable } from "./format.js";
import { KINDS, SEVERITIES } from "./words.js";

const PAGE = 200;
const MORE = 500;
const ABOUT = ["service", "backend", "vip", "peer", "interface"];

// The tone of a line: good news by their outcome, for the severity of a VIP's changes is its priority, in either
// direction; the others by outcome and severity. Pure.
export function tone(line) {
  if (["up", "ok", "established", "over"].includes(line.outcome)) return "good";
  if (line.severity <= 3) return "bad";
  if (["dead", "down", "wrong", "lost", "refused"].includes(line.outcome)) return line.kind === "probe" ? "worry" : "bad";
  if (line.severity === 4) return "worry";
  return "quiet";
}

// Which lines a filter leaves. `wanted`: { words, kind, severity }; a line must have all words, anywhere. Pure.
export function filtered(lines, wanted) {
  return lines.filter((line) => {
    if (wanted.kind && line.kind !== wanted.kind) return false;
    if (line.severity > wanted.severity) return false;
    if (!wanted.words.length) return true;
    const said = [line.message, line.kind, line.outcome, line.reason, ...ABOUT.map((name) => line[name])];
    const text = said.filter(Boolean).join(" ").toLowerCase();
    return wanted.words.every((word) => text.includes(word));
  });
}

const TONE_ICONS = { good: "up", bad: "down", worry: "wrong", quiet: "standby" };

export class Log {
  // `now()` in wall-clock seconds of the server; `ask(query)` fetches lines of the server's log.
  constructor(model, now, ask) {
    this._model = model;
    this._now = now;
    this._ask = ask;
    this._limit = PAGE;
    this._seen = -1;
    this._rows = new Map();
    this._held = false;
    byId("log-kind").append(...KINDS.map((kind) => element("option", { value: kind, text: kind })));
    byId("log-severity").append(
      ...SEVERITIES.map((name, value) => element("option", { value, text: name })).slice(3).reverse(),
    );
    for (const id of ["log-search", "log-kind", "log-severity"]) {
      byId(id).addEventListener("input", () => {
        this._limit = PAGE;
        this._render();
      });
    }
    byId("log-more").addEventListener("click", () => {
      this._limit += MORE;
      this._render();
    });
    byId("log-older").addEventListener("click", () => this._older());
    byId("log-hold").addEventListener("click", () => this._hold(!this._held));
  }

  show() {
    if (this._seen === this._model.changes.log || this._held) return;
    this._seen = this._model.changes.log;
    this._render();
  }

  focusSearch() {
    byId("log-search").focus();
    byId("log-search").select();
  }

  find(words) {
    byId("log-search").value = words;
    byId("log-kind").value = "";
    this._limit = PAGE;
    this._render();
  }

  _hold(held) {
    this._held = held;
    byId("log-hold").setAttribute("aria-pressed", String(held));
    text(byId("log-hold-word"), held ? "Held" : "Hold");
    if (!held) this._render();
  }

  _wanted() {
    return {
      words: byId("log-search").value.toLowerCase().split(/\s+/).filter(Boolean),
      kind: byId("log-kind").value,
      severity: Number(byId("log-severity").value),
    };
  }

  _render() {
    const found = filtered(this._model.log, this._wanted());
    const shown = found.slice(-this._limit).reverse();
    const body = byId("log-body");
    const known = new Map();
    let place = body.firstChild;
    for (const line of shown) {
      const row = this._rows.get(line.id) ?? this._row(line);
      known.set(line.id, row);
      if (row === place) place = place.nextSibling;
      else body.insertBefore(row, place);
    }
    while (place) {
      const next = place.nextSibling;
      place.remove();
      place = next;
    }
    this._rows = known;
    const all = this._model.log.length;
    text(byId("log-count"), found.length === all ? plural(all, "event") : `${count(found.length)} of ${plural(all, "event")}`);
    visible(byId("log-more"), found.length > shown.length);
    visible(byId("log-empty"), shown.length === 0);
  }

  _row(line) {
    const kind = badge();
    const found = tone(line);
    kind.show(TONE_ICONS[found], found, printable(line.kind));
    const about = ABOUT.filter((name) => line[name]).map((name) => element("span", { class: "mono", text: printable(line[name]) }));
    const severity = SEVERITIES[line.severity] ?? "";
    return element(
      "li",
      { class: "line", "data-tone": found },
      element("time", { class: "mono", text: moment(line.at, this._now()), title: `${moment(line.at, null, true)}, ${severity}` }),
      kind,
      element("span", { class: "about" }, ...about),
      element("span", { class: "message" }, element("span", { text: printable(line.message) })),
    );
  }

  async _older() {
    const wanted = this._wanted();
    const query = new URLSearchParams({ limit: String(MORE) });
    if (wanted.kind) query.set("kind", wanted.kind);
    // The server looks for one text; the longest word leaves the fewest lines, and the others are looked for here.
    const [longest] = [...wanted.words].sort((one, other) => other.length - one.length);
    if (longest) query.set("text", longest);
    const button = byId("log-older");
    button.disabled = true;
    try {
      const before = this._model.log.length;
      const answer = await this._ask(query);
      this._model.apply("log", answer.lines ?? []);
      this._limit += MORE;
      this._render();
      const more = this._model.log.length - before;
      text(byId("log-said"), more > 0 ? `${plural(more, "more event")}` : "The log has no more of these.");
    } catch (error) {
      text(byId("log-said"), `The log could not be read: ${error.message}`);
    } finally {
      button.disabled = false;
    }
  }
}


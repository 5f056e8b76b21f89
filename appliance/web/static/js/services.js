// The table of services and their backends: search, order, what is open.

import { BackendRow, ServiceRow } from "./cells.js";
import { attribute, byId, text, visible } from "./dom.js";
import { count, plural } from "./format.js";
import { List } from "./list.js";
import { FEW, rowsOf } from "./rows.js";

export class Services {
  // `details(kind, key, byKeyboard)` opens what there is to say of one service or backend.
  constructor(model, details) {
    this._model = model;
    this._details = details;
    this._view = { text: "", quick: "all", order: "trouble", opened: new Map() };
    this._seen = { rows: -1, services: -1, numbers: -1 };
    this._body = byId("services-body");
    const make = (kind) => (kind === "service" ? new ServiceRow(model) : new BackendRow(model));
    this._list = new List(this._body, make, (row, key, at) => this._act(row, key, at));
    this._search = byId("services-search");
    this._search.addEventListener("input", () => this._change({ text: this._search.value }));
    this._search.addEventListener("keydown", (event) => this._inSearch(event));
    byId("services-order").addEventListener("change", (event) => this._change({ order: event.target.value }));
    for (const button of byId("services-quick").querySelectorAll("button")) {
      button.addEventListener("click", () => this._change({ quick: button.dataset.quick }));
    }
    byId("services-open").addEventListener("click", () => this._openAll(true));
    byId("services-close").addEventListener("click", () => this._openAll(false));
    this._body.addEventListener("click", (event) => this._clicked(event));
  }

  // Called once for every frame in which something has changed and this is on screen.
  show() {
    const { changes } = this._model;
    // The order by traffic follows the numbers; every other one only what happens.
    const moved = this._view.order === "traffic" && changes.numbers !== this._seen.numbers;
    const changed = changes.services !== this._seen.services;
    if (changes.rows !== this._seen.rows || moved || changed) this._rebuild();
    else this._list.ask();
    this._seen = { rows: changes.rows, services: changes.services, numbers: changes.numbers };
  }

  // The part of the page has come to the screen.
  shown() {
    this._list.measure();
  }

  focusSearch() {
    this._search.focus();
    this._search.select();
  }

  // Look for something: what other parts of the page link to.
  find(words) {
    this._search.value = words;
    this._change({ text: words, quick: "all" });
  }

  _change(values) {
    Object.assign(this._view, values);
    for (const button of byId("services-quick").querySelectorAll("button")) {
      attribute(button, "aria-pressed", String(button.dataset.quick === this._view.quick));
    }
    this._rebuild();
  }

  _rebuild() {
    const { counts, complete } = this._model;
    const found = rowsOf(this._model, this._view);
    this._list.rows(found.rows);
    attribute(byId("services-table"), "aria-rowcount", found.rows.length + 1);
    const all = found.services === counts.services && found.backends === counts.backends;
    const whole = `${plural(counts.services, "service")}, ${plural(counts.backends, "backend")}`;
    text(byId("services-count"), all ? whole : `${count(found.services)} of ${whole}`);
    visible(byId("services-empty"), found.rows.length === 0);
    text(byId("services-empty"), counts.services ? NOT_FOUND : complete ? NONE : "Waiting for the daemon ...");
    const trouble = (word) => counts.byBackend[word] ?? 0;
    const troubled = trouble("dead") + trouble("wrong") + trouble("kept") + trouble("unknown");
    text(byId("quick-all"), count(counts.backends));
    text(byId("quick-trouble"), count(troubled));
    text(byId("quick-marked"), count(counts.marked));
    visible(byId("services-fold"), counts.backends > FEW);
  }

  _clicked(event) {
    const key = event.target.closest("[data-key]")?.dataset.key;
    const row = this._list.row(key);
    if (!row || String(getSelection()) !== "") return;
    if (row.kind === "backend") this._details("backend", row.backend.id, false);
    else if (event.target.closest("[data-act]")) this._details("service", row.service.key, false);
    else this._open(row.service.key, !row.open);
  }

  _open(key, open) {
    this._view.opened.set(key, open);
    this._rebuild();
  }

  _openAll(open) {
    for (const key of this._model.services.keys()) this._view.opened.set(key, open);
    this._rebuild();
  }

  // Right opens, left closes and goes up, Enter tells all, as in every tree.
  _act(row, key, at) {
    const service = row.kind === "service";
    if (key === "Enter") this._details(row.kind, service ? row.service.key : row.backend.id, true);
    else if (key === " " && service) this._open(row.service.key, !row.open);
    else if (key === "ArrowRight" && service) {
      if (row.open) this._list.focus(at + 1);
      else this._open(row.service.key, true);
    } else if (key === "ArrowLeft" && service) this._open(row.service.key, false);
    else if (key === "ArrowLeft") this._list.focus(this._list.index(`s ${row.service.key}`));
    else return false;
    return true;
  }

  _inSearch(event) {
    if (event.key === "Escape") {
      this._search.value = "";
      this._change({ text: "" });
    } else if (event.key === "ArrowDown") {
      this._list.focus(0);
      event.preventDefault();
    }
  }
}

const NOT_FOUND = "Nothing matches. Words are looked for in VIPs, names, backends, states and diagnostics.";
const NONE = "No services are configured.";

// The flight recorder: packets that were dropped, with the reason, as they were.

import { attribute, byId, element, setSince, since, text, visible } from "./dom.js";
import { count, moment, plural, printable } from "./format.js";

const EVERY = 5;

// A dump as hexdump -C has it: offset, sixteen octets, the same as characters. Pure.
export function dump(hex) {
  const octets = (String(hex ?? "").match(/[0-9a-f]{2}/gi) ?? []).map((pair) => parseInt(pair, 16));
  const lines = [];
  for (let at = 0; at < octets.length; at += 16) {
    const row = octets.slice(at, at + 16);
    const digits = row.map((octet) => octet.toString(16).padStart(2, "0"));
    const left = digits.slice(0, 8).join(" ");
    const right = digits.slice(8).join(" ");
    const signs = row.map((octet) => (octet > 31 && octet < 127 ? String.fromCharCode(octet) : ".")).join("");
    lines.push(`${at.toString(16).padStart(4, "0")}  ${left.padEnd(23)}  ${right.padEnd(23)}  ${signs}`);
  }
  return lines.join("\n");
}

export class Drops {
  // `now()` in wall-clock seconds of the server; `ask()` promises /drops.json.
  constructor(now, ask) {
    this._now = now;
    this._ask = ask;
    this._timer = null;
    this._reasons = new Map();
    byId("drops-refresh").addEventListener("click", () => this._fetch());
  }

  show() {}

  shown() {
    this._fetch();
    clearInterval(this._timer);
    this._timer = setInterval(() => document.hidden || this._fetch(), EVERY * 1000);
  }

  left() {
    clearInterval(this._timer);
  }

  async _fetch() {
    try {
      this._render((await this._ask()).reasons ?? []);
      visible(byId("drops-error"), false);
    } catch (error) {
      text(byId("drops-error"), `The flight recorder cannot be read: ${error.message}`);
      visible(byId("drops-error"), true);
    }
  }

  // What is open stays open, and a packet that is shown already keeps its element.
  _render(reasons) {
    const found = reasons.filter((reason) => reason.count || reason.packets?.length);
    found.sort((one, other) => (other.packets?.[0]?.at ?? 0) - (one.packets?.[0]?.at ?? 0));
    const body = byId("drops-body");
    const sections = found.map((reason) => {
      const section = this._reasons.get(reason.reason) ?? makeReason(reason.reason);
      this._reasons.set(reason.reason, section);
      this._fill(section, reason);
      return section.element;
    });
    if (sections.length !== body.children.length || sections.some((one, at) => body.children[at] !== one)) {
      body.replaceChildren(...sections);
    }
    visible(byId("drops-empty"), sections.length === 0);
    text(byId("drops-said"), `read at ${moment(this._now(), this._now())}`);
  }

  _fill(section, reason) {
    const packets = reason.packets ?? [];
    text(section.meaning, printable(reason.meaning));
    text(section.count, plural(reason.count ?? 0, "packet"));
    setSince(section.last, packets[0]?.at ?? null);
    const known = new Map();
    const rows = packets.map((packet) => {
      const key = `${packet.at} ${packet.data}`;
      const row = section.packets.get(key) ?? packetRow(packet, this._now());
      known.set(key, row);
      return row;
    });
    section.packets = known;
    if (rows.length !== section.list.children.length || rows.some((row, at) => section.list.children[at] !== row)) {
      section.list.replaceChildren(...rows);
    }
    attribute(section.element, "data-count", packets.length);
  }
}

function makeReason(name) {
  const made = {
    meaning: element("span", { class: "meaning" }),
    count: element("span", { class: "number" }),
    last: since(null),
    list: element("ol", { class: "packets" }),
    packets: new Map(),
  };
  const head = element("summary", {}, element("strong", { class: "mono", text: printable(name) }), made.meaning, made.count, made.last);
  made.element = element("details", { class: "reason" }, head, made.list);
  return made;
}

function packetRow(packet, now) {
  const head = element(
    "summary",
    {},
    element("time", { class: "mono", text: moment(packet.at, now, true) }),
    element("span", { class: "mono", text: printable(packet.interface) }),
    element("span", { class: "number", text: `${count(packet.length)} octets` }),
    element("span", { class: "mono said", text: printable(packet.text) }),
  );
  const body = element("pre", { class: "mono", text: dump(packet.data), tabindex: 0 });
  return element("li", {}, element("details", {}, head, body));
}

// Interfaces, and why packets left the program as they did.

import { badge, byId, element, text, visible } from "./dom.js";
import { amount, count, NOTHING, plural, printable } from "./format.js";
import { Misroutes } from "./misroutes.js";
import { REASONS } from "./words.js";

const ATTACH_TONES = { native: "good", generic: "worry", none: "quiet", missing: "bad" };
const ATTACH_ICONS = { native: "up", generic: "wrong", none: "standby", missing: "dead" };

export class Interfaces {
  constructor(model) {
    this._model = model;
    this._seen = -1;
    this._drawn = "";
    this._reasons = new Map();
    this._misroutes = new Misroutes(model);
  }

  show() {
    if (this._seen === this._model.changes.overview) return;
    this._seen = this._model.changes.overview;
    this._showInterfaces(this._model.overview?.interfaces ?? []);
    this._showReasons();
    this._misroutes.show();
  }

  _showInterfaces(interfaces) {
    const signature = JSON.stringify(interfaces);
    if (signature === this._drawn) return;
    this._drawn = signature;
    byId("interfaces-body").replaceChildren(...interfaces.map(interfaceRow));
    visible(byId("interfaces-table"), interfaces.length > 0);
    visible(byId("interfaces-empty"), interfaces.length === 0);
    text(byId("interfaces-count"), plural(interfaces.length, "interface"));
  }

  _showReasons() {
    const reasons = Object.entries(this._model.overview?.reasons ?? {}).filter(([, value]) => value);
    reasons.sort((one, other) => other[1] - one[1]);
    const body = byId("reasons-body");
    for (const [name, value] of reasons) {
      let row = this._reasons.get(name);
      if (!row) {
        row = reasonRow(name);
        this._reasons.set(name, row);
      }
      text(row.count, count(value));
      text(row.rate, amount(this._model.reasonRates.get(name) ?? null, "/s"));
    }
    const wanted = reasons.map(([name]) => this._reasons.get(name).element);
    if (wanted.length !== body.children.length || wanted.some((row, at) => body.children[at] !== row)) {
      body.replaceChildren(...wanted);
    }
    visible(byId("reasons-table"), wanted.length > 0);
    visible(byId("reasons-empty"), wanted.length === 0);
  }
}

function reasonRow(name) {
  const row = { count: element("td", { class: "number" }), rate: element("td", { class: "number" }) };
  const head = element("th", { scope: "row", class: "mono", text: printable(name) });
  const meaning = element("td", { class: "wrap", text: REASONS[name] ?? "" });
  row.element = element("tr", {}, head, row.count, row.rate, meaning);
  return row;
}

function interfaceRow(one) {
  const link = badge();
  if (one.attach === "missing") link.show("dead", "bad", "missing");
  else if (one.standby) link.show("standby", "quiet", "standby");
  else link.show(one.up ? "up" : "down", one.up ? "good" : "bad");
  const attach = badge();
  attach.show(ATTACH_ICONS[one.attach] ?? "unknown", ATTACH_TONES[one.attach] ?? "quiet", printable(one.attach));
  return element(
    "tr",
    {},
    element("th", { scope: "row", class: "mono", text: printable(one.name) }),
    element("td", {}, link),
    element("td", {}, attach),
    element("td", { text: printable(one.driver || NOTHING) }),
    element("td", { class: "number", text: Number.isFinite(one.speed) ? amount(one.speed * 1e6, "bit/s") : NOTHING }),
    element("td", { class: "number", text: one.mtu ?? NOTHING }),
    element("td", { class: "mono", text: printable(one.mac || NOTHING) }),
    element("td", { class: "mono wrap", text: printable(one.address || NOTHING) }),
  );
}

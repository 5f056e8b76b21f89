// The table of VIPs, down ones first.

import { attribute, badge, byId, element, setSince, since, text, visible } from "./dom.js";
import { plural, printable } from "./format.js";
import { List } from "./list.js";
import { orderedVips } from "./model.js";

const TOLD = {
  yes: "announced",
  demote: "announced as a last resort",
  last: "announced as a last resort, by this node alone",
  no: "not announced",
};

function cell(name, ...children) {
  return element("div", { class: `cell c-${name}`, role: "gridcell" }, ...children);
}

class VipRow {
  constructor() {
    this._address = element("span", { class: "mono key" });
    this._badge = badge();
    this._since = since(null);
    this._told = cell("announce");
    this._why = cell("why");
    this._services = cell("services");
    this.element = element(
      "div",
      { class: "row vip", role: "row" },
      cell("name", this._address),
      cell("state", this._badge),
      cell("since", this._since),
      this._services,
      this._told,
      this._why,
    );
  }

  show({ vip, services, down }) {
    const tone = vip.up ? "good" : "bad";
    text(this._address, printable(vip.vip));
    this._badge.show(vip.up ? "up" : "down", tone);
    setSince(this._since, vip.since);
    text(this._services, down ? `${down} of ${plural(services, "service")} down` : plural(services, "service"));
    text(this._told, TOLD[vip.announce] ?? printable(vip.announce));
    text(this._why, printable(vip.reason));
    attribute(this.element, "data-tone", tone);
  }
}

export class Vips {
  // `find(words)` shows the services of a VIP.
  constructor(model, find) {
    this._model = model;
    this._find = find;
    this._body = byId("vips-body");
    this._list = new List(this._body, () => new VipRow(), (row, key) => this._act(row, key));
    this._body.addEventListener("click", (event) => {
      const row = this._list.row(event.target.closest("[data-key]")?.dataset.key);
      if (row && String(getSelection()) === "") this._act(row, "Enter");
    });
    this._search = byId("vips-search");
    this._search.addEventListener("input", () => this._rebuild());
    this._seen = "";
  }

  show() {
    const { changes } = this._model;
    const seen = `${changes.overview} ${changes.rows}`;
    if (seen === this._seen) return;
    this._seen = seen;
    this._rebuild();
  }

  shown() {
    this._list.measure();
  }

  focusSearch() {
    this._search.focus();
    this._search.select();
  }

  _act(row, key) {
    if (key !== "Enter" && key !== " ") return false;
    this._find(`vip:${row.vip.vip}`);
    return true;
  }

  _rebuild() {
    const services = new Map();
    for (const service of this._model.services.values()) {
      const found = services.get(service.vip) ?? { services: 0, down: 0 };
      found.services += 1;
      if (service.word === "down") found.down += 1;
      services.set(service.vip, found);
    }
    const words = this._search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const vips = orderedVips(this._model.overview?.vips);
    const found = vips.filter((vip) => {
      const said = `${vip.vip} ${vip.up ? "up" : "down"} ${TOLD[vip.announce] ?? ""} ${vip.reason ?? ""}`.toLowerCase();
      return words.every((word) => said.includes(word));
    });
    const none = { services: 0, down: 0 };
    this._list.rows(found.map((vip) => ({ key: vip.vip, kind: "vip", vip, ...(services.get(vip.vip) ?? none) })));
    attribute(byId("vips-table"), "aria-rowcount", found.length + 1);
    const whole = plural(vips.length, "VIP");
    text(byId("vips-count"), found.length === vips.length ? whole : `${found.length} of ${whole}`);
    visible(byId("vips-empty"), found.length === 0);
    text(byId("vips-empty"), vips.length ? "No VIP matches." : "There are no VIPs.");
  }
}

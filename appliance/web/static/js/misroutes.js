// Connections that this node should know and does not, and what they are put down to.

import { byId, element, since, text, visible } from "./dom.js";
import { count, NOTHING, percent, plural, printable } from "./format.js";
import { CAUSES } from "./words.js";

export class Misroutes {
  constructor(model) {
    this._model = model;
    this._drawn = "";
  }

  show() {
    const meter = this._model.overview?.misroutes;
    const { total = 0, causes = {}, happenings = [] } = meter ?? {};
    const signature = JSON.stringify([total, causes, happenings]);
    if (signature === this._drawn) return;
    this._drawn = signature;
    visible(byId("misroutes"), total > 0);
    text(byId("misroutes-count"), plural(total, "connection"));
    const rows = happenings.map(happeningRow);
    const known = new Map();
    for (const one of happenings) known.set(one.cause, (known.get(one.cause) ?? 0) + one.connections);
    for (const [cause, number] of Object.entries(causes)) {
      const rest = number - (known.get(cause) ?? 0);
      if (rest > 0) rows.push(restRow(cause, rest));
    }
    byId("misroutes-body").replaceChildren(...rows);
  }
}

function happeningRow(one) {
  return row(
    element("td", {}, Number.isFinite(one.at) ? since(one.at) : null),
    element("td", { class: "number", text: count(one.connections) }),
    element("td", { class: "number", text: `${one.per_second}/s` }),
    element("td", { class: "number", text: Number.isFinite(one.share_of_flows) ? percent(one.share_of_flows) : NOTHING }),
    one.cause,
    one.text,
  );
}

function restRow(cause, number) {
  return row(
    element("td", { text: NOTHING }),
    element("td", { class: "number", text: count(number) }),
    element("td", { class: "number", text: NOTHING }),
    element("td", { class: "number", text: NOTHING }),
    cause,
    CAUSES[cause] ?? "",
  );
}

function row(at, connections, rate, share, cause, what) {
  return element(
    "tr",
    {},
    element("th", { scope: "row", class: "mono", title: CAUSES[cause] ?? "", text: printable(cause) }),
    at,
    connections,
    rate,
    share,
    element("td", { class: "wrap", text: printable(what) }),
  );
}

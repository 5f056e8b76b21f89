// The rows of the table of services, as elements that are made once and then only filled.

import { attribute, badge, className, draw, element, icon, setSince, since, spark, SPARK, text } from "./dom.js";
import { amount, bits, milliseconds, percent, printable } from "./format.js";
import { path } from "./history.js";
import { ACTIVE, DROPS, FLOWS, OCTETS, PACKETS, trafficShare } from "./model.js";
import { summary } from "./rows.js";
import { TONES } from "./state.js";

function cell(name, ...children) {
  return element("div", { class: `cell c-${name}`, role: "gridcell" }, ...children);
}

// What rows of both kinds have: the numbers and the sparkline.
class Numbers {
  constructor() {
    this.packets = cell("packets");
    this.bits = cell("bits");
    this.flows = cell("flows");
    this.active = cell("active");
    this.drops = cell("drops");
    this.spark = spark();
    this._tick = -1;
    this._history = null;
  }

  show(rates, history, clock) {
    text(this.packets, amount(rates[PACKETS]));
    text(this.bits, bits(rates[OCTETS]));
    text(this.flows, amount(rates[FLOWS]));
    text(this.active, amount(rates[ACTIVE]));
    text(this.drops, amount(rates[DROPS]));
    attribute(this.drops, "data-tone", rates[DROPS] > 0 ? "worry" : null);
    if (this._tick === clock.ticks && this._history === history) return;
    this._tick = clock.ticks;
    this._history = history;
    draw(this.spark, path(history, clock, SPARK.width, SPARK.height));
  }
}

function plain(share) {
  return percent(share).replace(" %", "");
}

// Two bars, one over the other: what a backend should get, and what it gets; the longest of a service is full.
function shares() {
  const slots = element("i", { class: "slots" });
  const traffic = element("i", { class: "traffic" });
  const said = element("span");
  const made = cell("share", element("span", { class: "bars", "aria-hidden": "true" }, slots, traffic), said);
  made.show = (ofSlots, ofTraffic, largest) => {
    text(said, `${plain(ofSlots)} / ${plain(ofTraffic)} %`);
    for (const [bar, share] of [[slots, ofSlots], [traffic, ofTraffic]]) {
      const width = `${largest > 0 ? Math.round(((share || 0) / largest) * 100) : 0}%`;
      if (bar.width !== width) {
        bar.width = width;
        bar.style.width = width;
      }
    }
  };
  return made;
}

export class ServiceRow {
  constructor(model) {
    this._model = model;
    this._numbers = new Numbers();
    this._key = element("span", { class: "mono key" });
    this._name = element("span", { class: "name" });
    this._badge = badge();
    this._available = element("span", { class: "of" });
    this._since = since(null);
    this._said = cell("said");
    this._share = cell("share");
    const details = element(
      "button",
      { type: "button", class: "plain more", tabindex: -1, "data-act": "details", title: "Details (Enter)" },
      icon("more"),
      element("span", { class: "unseen", text: "Details" }),
    );
    this.element = element(
      "div",
      { class: "row service", role: "row", "aria-level": 1 },
      cell("name", icon("chevron"), this._key, this._name),
      cell("state", this._badge, this._available),
      cell("since", this._since),
      this._said,
      cell("took"),
      this._numbers.packets,
      this._numbers.bits,
      this._numbers.flows,
      this._numbers.active,
      this._numbers.drops,
      this._share,
      cell("weight"),
      cell("spark", this._numbers.spark, details),
    );
  }

  show({ service, open }) {
    text(this._key, printable(service.key));
    text(this._name, printable(service.name));
    this._badge.show(service.word, TONES[service.word]);
    text(this._available, `${service.available ?? 0}/${service.backends.length}`);
    attribute(this._available, "title", `${service.available ?? 0} of ${service.backends.length} backends available`);
    setSince(this._since, service.since);
    text(this._said, told(service));
    attribute(this._said, "title", this._said.shown || null);
    const total = this._model.total.rates[PACKETS];
    text(this._share, total > 0 ? percent((service.rates[PACKETS] ?? 0) / total) : "");
    attribute(this.element, "aria-expanded", String(open));
    attribute(this.element, "data-tone", TONES[service.word]);
    this._numbers.show(service.rates, service.history, this._model.clock);
  }
}

// What stands behind a service's state: its backends' states and what the worst says, else its description.
function told(service) {
  const states = summary(service);
  if (!states) return printable(service.description);
  const why = service.worst?.diagnostic;
  return why ? `${states}: ${printable(why)}` : states;
}

export class BackendRow {
  constructor(model) {
    this._model = model;
    this._numbers = new Numbers();
    this._address = element("span", { class: "mono key" });
    this._badge = badge();
    this._since = since(null);
    this._said = element("span", { class: "diagnostic" });
    this._marks = element("span", { class: "marks" });
    this._took = cell("took");
    this._share = shares();
    this._weight = cell("weight");
    this.element = element(
      "div",
      { class: "row backend", role: "row", "aria-level": 2 },
      cell("name", this._address),
      cell("state", this._badge),
      cell("since", this._since),
      cell("said", this._marks, this._said),
      this._took,
      this._numbers.packets,
      this._numbers.bits,
      this._numbers.flows,
      this._numbers.active,
      this._numbers.drops,
      this._share,
      this._weight,
      cell("spark", this._numbers.spark),
    );
  }

  show({ service, backend }) {
    const port = backend.port && backend.port !== service.port ? `:${backend.port}` : "";
    text(this._address, printable(`${backend.address}${port}`));
    this._badge.show(backend.word, TONES[backend.word]);
    setSince(this._since, backend.since);
    const trouble = backend.troubles?.[0]?.message;
    text(this._said, printable(trouble ? `${trouble}; ${backend.diagnostic ?? ""}` : backend.diagnostic));
    attribute(this._said, "title", this._said.shown || null);
    this._showMarks(backend);
    text(this._took, milliseconds(backend.took_ms));
    this._share.show(backend.share, trafficShare(service, backend), service.largestShare);
    text(this._weight, backend.weight ?? "");
    attribute(this.element, "data-tone", TONES[backend.word]);
    className(this.element, `row backend ${backend.word}`);
    this._numbers.show(backend.rates, backend.history, this._model.clock);
  }

  _showMarks(backend) {
    const words = backend.marks.map((mark) => mark.word).join("\n");
    if (this._shownMarks === words) return;
    this._shownMarks = words;
    this._marks.replaceChildren(
      ...backend.marks.map((mark) =>
        element("span", { class: "mark", text: printable(mark.word), title: mark.who ? `by ${printable(mark.who)}` : null }),
      ),
    );
  }
}

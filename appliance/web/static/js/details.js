// The panel beside the tables: everything that is known of one service or one backend.

import { attribute, badge, byId, draw, element, since, spark, SPARK, text, visible } from "./dom.js";
import { amount, bits, count, milliseconds, moment, NOTHING, percent, plural, printable } from "./format.js";
import { path } from "./history.js";
import { ACTIVE, DROPS, FLOWS, OCTETS, PACKETS, trafficShare } from "./model.js";
import { summary } from "./rows.js";
import { TONES } from "./state.js";

const EVENTS = 6;

export class Details {
  // `links` is { log(words) }; `now()` in wall-clock seconds of the server.
  constructor(model, now, links) {
    this._model = model;
    this._now = now;
    this._panel = byId("details");
    this._badge = badge();
    this._spark = spark();
    this._open = null;
    this._drawn = "";
    this._back = null;
    byId("details-state").append(this._badge);
    byId("details-spark").append(this._spark);
    byId("details-close").addEventListener("click", () => this.close());
    byId("details-log").addEventListener("click", () => links.log(this._words()));
    this._panel.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.close();
    });
  }

  open(kind, key, byKeyboard) {
    this._open = { kind, key };
    this._drawn = "";
    this._back = byKeyboard ? document.activeElement : null;
    visible(this._panel, true);
    attribute(document.body, "data-details", "open");
    this.show();
    if (byKeyboard) byId("details-title").focus();
  }

  close() {
    if (!this._open) return;
    this._open = null;
    visible(this._panel, false);
    attribute(document.body, "data-details", null);
    this._back?.focus();
    this._back = null;
  }

  get opened() {
    return this._open !== null;
  }

  show() {
    if (!this._open) return;
    const found = this._find();
    if (!found) return this.close();
    const { service, backend } = found;
    const one = backend ?? service;
    text(byId("details-kind"), backend ? "Backend" : "Service");
    text(byId("details-title"), printable(backend ? backend.address : service.key));
    text(byId("details-of"), printable(backend ? `of ${service.key}${service.name ? `, ${service.name}` : ""}` : service.name));
    this._badge.show(one.word, TONES[one.word]);
    draw(this._spark, path(one.history, this._model.clock, SPARK.width, SPARK.height));
    const facts = backend ? ofBackend(service, backend) : ofService(service);
    const signature = JSON.stringify([facts, backend?.marks]);
    const lines = this._lines(service, backend);
    const events = lines.map((line) => line.id).join();
    if (signature === this._drawn && events === this._drawnEvents) return;
    this._drawn = signature;
    this._drawnEvents = events;
    byId("details-facts").replaceChildren(...facts.flatMap(([name, value]) => fact(name, value)));
    byId("details-marks").replaceChildren(...(backend?.marks ?? []).filter((mark) => mark.who).map(markLine));
    byId("details-events").replaceChildren(...lines.map((line) => eventLine(line, this._now())));
    visible(byId("details-events-part"), lines.length > 0);
  }

  _find() {
    const { kind, key } = this._open;
    if (kind === "service") {
      const service = this._model.services.get(key);
      return service ? { service, backend: null } : null;
    }
    const service = this._model.services.get(key.slice(0, key.lastIndexOf(" ")));
    const backend = service?.backends.find((one) => one.id === key);
    return backend ? { service, backend } : null;
  }

  _words() {
    const { service, backend } = this._find() ?? {};
    return service ? `${service.key}${backend ? ` ${backend.address}` : ""}` : "";
  }

  _lines(service, backend) {
    const found = [];
    for (let at = this._model.log.length - 1; at >= 0 && found.length < EVENTS; at -= 1) {
      const line = this._model.log[at];
      if (line.service === service.key && (!backend || line.backend === backend.address)) found.push(line);
    }
    return found;
  }
}

function fact(name, value) {
  const said = value && typeof value === "object" ? since(value.since) : document.createTextNode(printable(value));
  return [element("dt", { text: name }), element("dd", {}, said)];
}

function markLine(mark) {
  return element("li", {}, `${printable(mark.word)} by ${printable(mark.who)}, `, since(mark.since));
}

function eventLine(line, now) {
  const said = `${line.backend ? `${printable(line.backend)}: ` : ""}${printable(line.message)}`;
  return element("li", {}, element("time", { class: "mono", text: moment(line.at, now) }), element("span", { text: said }));
}

function traffic(rates) {
  return [
    ["Packets", amount(rates[PACKETS], "/s")],
    ["Traffic", bits(rates[OCTETS])],
    ["New flows", amount(rates[FLOWS], "/s")],
    ["Active flows", count(rates[ACTIVE])],
    ["Drops", amount(rates[DROPS], "/s")],
  ];
}

function ofService(service) {
  const ways = { dead: service.on_dead, wrong: service.on_down };
  return [
    ["VIP", service.vip],
    ["Port", `${service.port}/${service.proto}`],
    ["Description", service.description || NOTHING],
    ["In this state for", { since: service.since }],
    ["Backends", `${service.available ?? 0} of ${service.backends.length} available${summary(service) ? `: ${summary(service)}` : ""}`],
    ["Needs", `${plural(service.need ?? 0, "backend")}${service.critical ? "; its VIP depends on it" : ""}`],
    ["Scheduler", service.scheduler || NOTHING],
    ["Sticky", service.sticky ? "yes, by source address" : "no"],
    ["Slots", `${count(service.slots)}, ${count(service.tracked_slots)} tracked`],
    ["Flows of dead backends", ways.dead || NOTHING],
    ["Wrong answers", ways.wrong || NOTHING],
    ...traffic(service.rates),
  ];
}

function ofBackend(service, backend) {
  const { way } = backend;
  const path_ = way ? [way.interface, way.vlan ? `VLAN ${way.vlan}` : "", way.via ? `via ${way.via}` : ""] : [];
  return [
    ["In this state for", { since: backend.since }],
    ["Says", backend.diagnostic || NOTHING],
    ["Check took", milliseconds(backend.took_ms)],
    ["Checks say", backend.health || NOTHING],
    ...(backend.kept_by ? [["Kept in service", backend.kept_by]] : []),
    ...(backend.taken_out_by ? [["Taken out of service", backend.taken_out_by]] : []),
    ...(backend.drained_by ? [["Drained by", backend.drained_by]] : []),
    ...(backend.troubles ?? []).map((trouble) => ["Trouble", trouble.message]),
    ["Weight", `${backend.weight}${backend.enabled === false ? ", disabled" : ""}${backend.fallback ? ", fallback" : ""}`],
    ["Share of slots", `${percent(backend.share)} (${count(backend.slots)})`],
    ["Share of traffic", percent(trafficShare(service, backend))],
    ...traffic(backend.rates),
    ["MAC", backend.mac || NOTHING],
    ["Way", path_.filter(Boolean).join(", ") || NOTHING],
    ...(way ? [["From", way.own ?? NOTHING], ["MTU", way.mtu ?? NOTHING]] : []),
  ];
}

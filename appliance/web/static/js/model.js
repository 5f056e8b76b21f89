// What the page knows: made from the events of the stream, free of the document and of clocks, so that it can be tried
// by itself. Views read it, and look at `changes` to see whether they have anything to do.
//
// RATES are [packets/s, octets/s, new flows/s, drops/s, active flows or null], as the server sends them.

import { sortable } from "./address.js";
import { Clock, History } from "./history.js";
import * as query from "./query.js";
import { marks, ofBackend, ofService, rank, sinceOfService } from "./state.js";

export const PACKETS = 0;
export const OCTETS = 1;
export const FLOWS = 2;
export const DROPS = 3;
export const ACTIVE = 4;
export const NO_RATES = Object.freeze([null, null, null, null, null]);
export const LOG_LINES = 5000;

export class Model {
  constructor() {
    this.hello = null;
    this.overview = null;
    this.services = new Map();
    this.total = { rates: NO_RATES, histories: [0, 1, 2, 3].map(() => new History()) };
    this.clock = new Clock();
    this.log = [];
    this.reasonRates = new Map();
    this.complete = false;
    // Counters: how often each part has changed. `rows`: services came or went, or the order of them may be another.
    this.changes = { overview: 0, rows: 0, services: 0, numbers: 0, log: 0 };
    this._counts = null;
    this._told = new Set();
    this._logged = new Set();
  }

  // How many services and backends are in which state; counted when somebody asks, and not for every event.
  get counts() {
    this._counts ??= tally(this.services.values());
    return this._counts;
  }

  // Take in one event. Returns false for one that is not known.
  apply(event, data) {
    const take = { hello: "_hello", overview: "_overview", services: "_services", numbers: "_numbers", log: "_log" }[event];
    if (!take) return false;
    this[take](data);
    return true;
  }

  // What was known stays to be seen until the new picture is whole.
  _hello(data) {
    this.hello = data;
    this.complete = false;
    this._told.clear();
    this.changes.overview += 1;
  }

  _overview(data) {
    const before = this.overview;
    this.reasonRates.clear();
    const passed = before ? data.uptime_s - before.uptime_s : 0;
    if (passed > 0 && before.pid === data.pid) {
      for (const [name, value] of Object.entries(data.reasons ?? {})) {
        this.reasonRates.set(name, Math.max(0, value - (before.reasons?.[name] ?? 0)) / passed);
      }
    }
    this.overview = data;
    this.changes.overview += 1;
  }

  _services(data) {
    for (const given of data.changed ?? []) {
      this._told.add(given.service);
      this._keep(given);
    }
    for (const key of data.removed ?? []) this.services.delete(key);
    if (data.removed?.length) this.changes.rows += 1;
    if (data.complete && !this.complete) {
      for (const key of this.services.keys()) if (!this._told.has(key)) this.services.delete(key);
      this._told.clear();
      this.complete = true;
      this.changes.rows += 1;
    }
    this._counts = null;
    this.changes.services += 1;
  }

  _keep(given) {
    const before = this.services.get(given.service);
    const known = new Map(before?.backends.map((backend) => [backend.address, backend]));
    const service = { ...given, key: given.service };
    service.order = before?.order ?? `${sortable(given.vip)} ${String(given.port).padStart(5, "0")} ${given.proto}`;
    service.rates = before?.rates ?? NO_RATES;
    service.history = before?.history ?? new History();
    service.backends = (given.backends ?? []).map((one) => {
      const old = known.get(one.address);
      const backend = { ...one, service: given.service, id: `${given.service} ${one.address}` };
      backend.rates = old?.rates ?? NO_RATES;
      backend.history = old?.history ?? new History();
      backend.word = ofBackend(one);
      backend.marks = marks(one);
      backend.places = query.ofBackend(backend);
      return backend;
    });
    scale(service);
    service.word = ofService(service);
    service.since = sinceOfService(service);
    service.worst = worst(service.backends);
    service.places = query.ofService(service);
    const same = before && before.word === service.word && sameAddresses(before.backends, service.backends);
    if (!same) this.changes.rows += 1;
    this.services.set(given.service, service);
  }

  // The first numbers of a daemon are no rates yet: it takes two moments to see something grow.
  _numbers(data) {
    const real = data.seconds > 0;
    const missed = this.clock.advance(data.time, this.hello?.interval || data.seconds || 1);
    const push = (history, value) => history.push(this.clock, real ? value ?? NaN : NaN, missed);
    this.total.rates = data.total ?? NO_RATES;
    this.total.histories.forEach((history, which) => push(history, this.total.rates[which]));
    for (const service of this.services.values()) {
      const given = data.services?.[service.key];
      if (given) service.rates = given.rates;
      push(service.history, service.rates[PACKETS]);
      for (const backend of service.backends) {
        const rates = given?.backends?.[backend.address];
        if (rates) backend.rates = rates;
        push(backend.history, backend.rates[PACKETS]);
      }
      if (given) scale(service);
    }
    this.changes.numbers += 1;
  }

  // One line, or several at once. Lines that are known already are left out; the newest stand last.
  _log(data) {
    const lines = (Array.isArray(data) ? data : [data]).filter((line) => !this._logged.has(line.id));
    if (!lines.length) return;
    for (const line of lines) this._logged.add(line.id);
    const ordered = !this.log.length || lines[0].at >= this.log[this.log.length - 1].at;
    this.log.push(...lines);
    if (!ordered || lines.length > 1) this.log.sort((one, other) => one.at - other.at);
    for (const line of this.log.splice(0, Math.max(0, this.log.length - LOG_LINES))) this._logged.delete(line.id);
    this.changes.log += 1;
  }
}

function worst(backends) {
  let found = null;
  for (const backend of backends) if (!found || rank(backend.word) < rank(found.word)) found = backend;
  return found;
}

function sameAddresses(some, others) {
  return some.length === others.length && some.every((one, at) => one.address === others[at].address);
}

// How many services and backends are in which state.
export function tally(services) {
  const found = { services: 0, backends: 0, marked: 0, byService: {}, byBackend: {} };
  for (const service of services) {
    found.services += 1;
    found.byService[service.word] = (found.byService[service.word] ?? 0) + 1;
    for (const backend of service.backends) {
      found.backends += 1;
      found.byBackend[backend.word] = (found.byBackend[backend.word] ?? 0) + 1;
      if (backend.marks.some((mark) => mark.who)) found.marked += 1;
    }
  }
  return found;
}

const ORDERS = {
  trouble: (one, other) => trouble(one) - trouble(other) || by(one.order, other.order),
  address: (one, other) => by(one.order, other.order),
  traffic: (one, other) => (other.rates[OCTETS] ?? 0) - (one.rates[OCTETS] ?? 0) || by(one.order, other.order),
  name: (one, other) => by(one.name || "\uffff", other.name || "\uffff") || by(one.order, other.order),
};

function by(one, other) {
  return one < other ? -1 : one > other ? 1 : 0;
}

function trouble(service) {
  return { down: 0, degraded: 1, pending: 2 }[service.word] ?? 3;
}

// Services in an order of: "trouble" (down, then degraded, then others), "address", "traffic", "name".
export function ordered(services, how) {
  return [...services].sort(ORDERS[how] ?? ORDERS.trouble);
}

// The VIPs of an overview, down ones first, then by address.
export function orderedVips(vips) {
  return [...(vips ?? [])].sort((one, other) => one.up - other.up || by(sortable(one.vip), sortable(other.vip)));
}

// What shares are measured against: all packets of a service, and the largest share of slots or of traffic in it.
function scale(service) {
  let [sum, highest, slots] = [0, 0, 0];
  for (const one of service.backends) {
    const packets = one.rates[PACKETS] ?? 0;
    sum += packets;
    if (packets > highest) highest = packets;
    if (one.share > slots) slots = one.share;
  }
  service.packets = sum;
  service.largestShare = Math.max(slots, sum > 0 ? highest / sum : 0);
}

// The share of a service's packets that a backend gets, 0 to 1; null where there are none.
export function trafficShare(service, backend) {
  return service.packets > 0 ? (backend.rates[PACKETS] ?? 0) / service.packets : null;
}

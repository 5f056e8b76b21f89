// The top of the page: what the balancer is, what it carries, and what is wrong.

import { attribute, byId, draw, element, icon, setSince, since, spark, SPARK, text, visible } from "./dom.js";
import { amount, bits, count, percent, plural, printable, span } from "./format.js";
import { path } from "./history.js";
import { ACTIVE, DROPS, FLOWS, OCTETS, orderedVips, PACKETS } from "./model.js";

const SERIES = { packets: PACKETS, bits: OCTETS, flows: FLOWS, drops: DROPS };
const MOST_NOTICES = 6;

export class Summary {
  constructor(model) {
    this._model = model;
    this._sparks = new Map();
    for (const name of Object.keys(SERIES)) {
      const made = spark();
      byId(`tile-${name}`).append(made);
      this._sparks.set(name, made);
    }
    this._uptime = byId("fact-uptime");
    this._uptime.append(since(null));
    this._notices = "";
  }

  show() {
    this._showNumbers();
    this._showFacts();
    this._showNotices();
  }

  _showNumbers() {
    const { total, clock, counts, overview } = this._model;
    text(byId("value-packets"), amount(total.rates[PACKETS], "/s"));
    text(byId("value-bits"), bits(total.rates[OCTETS]));
    text(byId("value-flows"), amount(total.rates[FLOWS], "/s"));
    text(byId("note-flows"), total.rates[ACTIVE] === null ? "" : `${amount(total.rates[ACTIVE])} active`);
    text(byId("value-drops"), amount(total.rates[DROPS], "/s"));
    attribute(byId("tile-drops"), "data-tone", total.rates[DROPS] > 0 ? "worry" : null);
    for (const [name, which] of Object.entries(SERIES)) {
      draw(this._sparks.get(name), path(total.histories[which], clock, SPARK.width, SPARK.height));
    }
    const latency = overview?.latency_ns ? `${amount(overview.latency_ns)} ns` : "–";
    text(byId("value-latency"), latency);
    text(byId("fact-latency"), latency);
    const up = (counts.byService.up ?? 0) + (counts.byService.degraded ?? 0);
    this._of("services", up, counts.services, counts.byService.down ?? 0);
    this._of("backends", counts.byBackend.up ?? 0, counts.backends, bad(counts.byBackend));
    const vips = overview?.vips ?? [];
    const living = vips.filter((vip) => vip.up).length;
    this._of("vips", living, vips.length, vips.length - living);
  }

  _of(name, good, all, wrong) {
    text(byId(`value-${name}`), count(good));
    attribute(byId(`tile-${name}`), "data-tone", wrong ? "bad" : null);
    const rest = good === all ? "all up" : `of ${count(all)} up`;
    text(byId(`note-${name}`), wrong ? `of ${count(all)}; ${count(wrong)} down` : rest);
  }

  _showFacts() {
    const { overview, hello } = this._model;
    text(byId("fact-version"), printable(overview?.version ?? hello?.version ?? ""));
    text(byId("fact-mode"), printable(overview?.mode ?? "–"));
    setSince(this._uptime.firstChild, overview?.started ?? null);
    const attached = (overview?.interfaces ?? []).filter((one) => one.attach !== "none");
    const kinds = new Map();
    for (const one of attached) kinds.set(one.attach, [...(kinds.get(one.attach) ?? []), one.name]);
    const said = [...kinds].map(([kind, names]) => `${names.length > 3 ? names.length : names.join(", ")} ${kind}`);
    text(byId("fact-attach"), printable(said.join("; ") || "–"));
    const { size = 0, used = 0 } = overview?.flow_table ?? {};
    text(byId("fact-flows"), size ? `${amount(used)} of ${amount(size)} (${percent(used / size)})` : "–");
    text(byId("fact-config"), overview?.config ? `generation ${overview.config.generation}` : "–");
    attribute(byId("fact-config"), "title", overview?.config ? printable(overview.config.file) : null);
  }

  _showNotices() {
    const { overview } = this._model;
    const found = overview ? notices(overview) : [];
    const signature = JSON.stringify(found);
    if (signature === this._notices) return;
    this._notices = signature;
    const shown = found.slice(0, MOST_NOTICES).map(notice);
    if (found.length > MOST_NOTICES) {
      shown.push(element("li", { text: `and ${count(found.length - MOST_NOTICES)} more` }));
    }
    byId("notices").replaceChildren(...shown);
    visible(byId("notices"), found.length > 0);
  }
}

function bad(states) {
  return (states.dead ?? 0) + (states.wrong ?? 0) + (states.kept ?? 0);
}

function notice({ tone, message, at, href }) {
  const body = href ? element("a", { href, text: message }) : element("span", { text: message });
  const when = Number.isFinite(at) ? since(at) : null;
  return element("li", { "data-tone": tone }, icon(tone === "bad" ? "down" : "wrong"), body, when);
}

// What somebody should know at once, the worst first. Pure.
export function notices(overview) {
  const found = [];
  for (const vip of orderedVips(overview.vips)) {
    if (vip.up) break;
    found.push({ tone: "bad", message: `VIP ${printable(vip.vip)} is down`, at: vip.since, href: "#vips" });
  }
  const prober = overview.prober ?? {};
  if (prober.alive === false) {
    found.push({ tone: "bad", message: `The prober does not run: ${printable(prober.reason ?? "")}` });
  }
  if (prober.frozen) {
    const why = printable(prober.reason ?? "");
    found.push({ tone: "worry", message: `Verdicts are frozen${why ? `: ${why}` : ""}` });
  }
  for (const one of overview.interfaces ?? []) {
    if (one.attach === "missing") {
      found.push({ tone: "bad", message: `Interface ${printable(one.name)} is missing`, href: "#interfaces" });
    } else if (one.up === false && !one.standby) {
      found.push({ tone: "worry", message: `Interface ${printable(one.name)} is down`, href: "#interfaces" });
    }
  }
  for (const peer of overview.bgp?.peers ?? []) {
    if (peer.state !== "established" && peer.state !== "stopped") {
      const message = `BGP with ${printable(peer.address)} is ${printable(peer.state)}`;
      found.push({ tone: "worry", message, at: peer.since, href: "#routers" });
    }
  }
  found.push(...ofFleet(overview.fleet));
  const drained = overview.bgp?.drained;
  if (drained) {
    const message = `This node is drained by ${printable(drained.who)}: ${drainText(drained)}`;
    found.push({ tone: "worry", message, at: drained.since, href: "#routers" });
  }
  if (overview.bgp?.learning > 0) {
    found.push({ tone: "worry", message: "Nothing is announced yet: the daemon learns the backends' states" });
  }
  const trial = overview.config?.trial;
  if (trial) found.push({ tone: "worry", message: trialText(trial), href: "#log" });
  for (const what of overview.waiting_for ?? []) {
    found.push({ tone: "worry", message: `Waiting for ${printable(what)}` });
  }
  for (const one of overview.warnings ?? []) {
    const tone = ["error", "critical", "alert"].includes(one.severity) ? "bad" : "worry";
    found.push({ tone, message: printable(one.message) });
  }
  return found.sort((one, other) => (one.tone === "bad" ? 0 : 1) - (other.tone === "bad" ? 0 : 1));
}

function drainText({ stage, packets_per_second: rate }) {
  if (stage === "detached") return "its routes are withdrawn, and the program is detached";
  const comes = Number.isFinite(rate) ? `; ${amount(rate)} packets/s still come` : "";
  return stage === "withdrawn" ? `its routes are withdrawn${comes}` : `routers take it as a last resort${comes}`;
}

function ofFleet(fleet) {
  const found = (fleet?.absent ?? [])
    .filter((one) => one.missing)
    .map((one) => ({ tone: "bad", message: `Balancer ${printable(one.label)} is missing`, at: one.since, href: "#fleet" }));
  if (fleet?.trouble) {
    found.push({ tone: "bad", message: `Nothing is exchanged with other balancers: ${printable(fleet.trouble)}`, href: "#fleet" });
  }
  if (fleet?.lasting) {
    found.push({ tone: "worry", message: `The fleet does not answer alike: ${plural(fleet.lasting, "difference")}`, href: "#fleet" });
  }
  if (fleet?.waiting_for?.length) {
    const message = `Nothing is announced yet: waiting for ${fleet.waiting_for.map(printable).join(", ")}`;
    found.push({ tone: "worry", message, href: "#fleet" });
  }
  return found;
}

function trialText(trial) {
  const who = trial.who ? ` by ${printable(trial.who)}` : "";
  const left = Number.isFinite(trial.left_s) ? ` within ${span(trial.left_s)}` : "";
  return `The configuration is on trial${who}: it is taken back unless it is confirmed${left}`;
}

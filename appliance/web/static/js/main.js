// The console: one page, fed by one stream. Here its parts are put together, and here is its only clock.

import { Details } from "./details.js";
import { attribute, byId, setClock, text, tick, visible } from "./dom.js";
import { Drops } from "./drops.js";
import { Fleet } from "./fleet.js";
import { printable, span } from "./format.js";
import { Interfaces } from "./interfaces.js";
import { Log } from "./log.js";
import { TrafficMap } from "./map.js";
import { Model } from "./model.js";
import { Routers } from "./routers.js";
import { Services } from "./services.js";
import { Stream } from "./stream.js";
import { Summary } from "./summary.js";
import { Vips } from "./vips.js";

const FIRST = "services";
const WORDS = { connecting: "connecting", live: "live", gone: "daemon gone", stale: "stale" };

const model = new Model();
// The server's clock less ours, in seconds; moments are the server's.
let skew = 0;
const now = () => Date.now() / 1000 + skew;
setClock(now);

async function ask(address) {
  const answer = await fetch(address, { cache: "no-store" });
  const told = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(told.error ?? told.message ?? `the server answers with status ${answer.status}`);
  return told;
}

const summary = new Summary(model);
const details = new Details(model, now, { log: (words) => go("log", words) });
const parts = {
  services: new Services(model, (kind, key, byKeyboard) => details.open(kind, key, byKeyboard)),
  vips: new Vips(model, (words) => go("services", words)),
  routers: new Routers(model),
  fleet: new Fleet(model),
  interfaces: new Interfaces(model),
  log: new Log(model, now, (query) => ask(`/log?${query}`)),
  map: new TrafficMap(now),
  drops: new Drops(now, () => ask("/drops.json")),
};
let current = null;

function go(name, words) {
  location.hash = name;
  navigate();
  parts[name].find?.(words);
}

function navigate() {
  const asked = location.hash.slice(1);
  const name = Object.hasOwn(parts, asked) ? asked : FIRST;
  if (name === current) return;
  if (current) parts[current].left?.();
  if (name !== "services") details.close();
  current = name;
  for (const other of Object.keys(parts)) {
    visible(byId(other), other === name);
    attribute(byId(`tab-${other}`), "aria-current", other === name ? "page" : null);
  }
  const tab = byId(`tab-${name}`);
  const bar = tab.parentElement;
  bar.scrollLeft = Math.max(0, tab.offsetLeft - (bar.clientWidth - tab.offsetWidth) / 2);
  scrollTo(0, 0);
  parts[name].shown?.();
  parts[name].show();
  tick();
}

// ---- what has come is shown a few times in a second at most, however much it was

// Milliseconds: between two frames at least, and from an event to its frame, since events come in bursts.
const PAUSE = 400;
const GATHER = 50;
const BEAT = 1000;
let asked = false;
let shownAt = -Infinity;
let beating = 0;

function render() {
  asked = false;
  shownAt = performance.now();
  summary.show();
  parts[current].show();
  details.show();
  beat();
}

function askForFrame() {
  if (asked) return;
  asked = true;
  const left = model.complete ? Math.max(GATHER, shownAt + PAUSE - performance.now()) : 0;
  setTimeout(() => requestAnimationFrame(render), left);
}

// Time passes: with whatever is shown, or else by itself, so that there are no more frames than needed. A page in the
// background has no frames, and its title is all that is seen of it.
function beat() {
  clearTimeout(beating);
  beating = setTimeout(beat, BEAT);
  title();
  tick();
  text(byId("stale-for"), span(stream.silence()));
  text(byId("link-for"), stream.state === "stale" ? span(stream.silence()) : "");
}

function title() {
  const down = model.counts.byService.down ?? 0;
  const bad = (model.counts.byBackend.dead ?? 0) + (model.counts.byBackend.wrong ?? 0);
  const said = down ? `${down} down` : bad ? `${bad} dead` : "";
  const state = stream.state === "live" || stream.state === "connecting" ? said : WORDS[stream.state];
  const wanted = `${state ? `(${state}) ` : ""}vc5 ${location.host}`;
  if (document.title !== wanted) document.title = wanted;
  text(byId("tab-services-mark"), down || "");
  visible(byId("tab-services-mark"), down > 0);
}

function take(event, data) {
  if (event === "hello" || event === "numbers") {
    const ahead = data.time - Date.now() / 1000;
    // What an event took to come is not the clocks' difference.
    if (Math.abs(ahead - skew) > 1) skew = ahead;
  }
  if (model.apply(event, data)) askForFrame();
}

// ---- how far all this can be believed

function believe(state, why) {
  attribute(document.body, "data-link", state);
  text(byId("link-word"), WORDS[state]);
  attribute(byId("link"), "title", why ? printable(why) : null);
  visible(byId("stale"), state === "stale" || state === "gone");
  const reason = state === "gone" ? `The daemon does not answer: ${printable(why)}` : `Nothing is known of the present: ${why}`;
  text(byId("stale-why"), reason);
  askForFrame();
}

const stream = new Stream("/events", take, believe);

beat();

// ---- keys

function typing(target) {
  return target.matches?.("input, select, textarea, [contenteditable]");
}

addEventListener("keydown", (event) => {
  if (event.altKey || event.ctrlKey || event.metaKey) return;
  if (event.key === "Escape" && details.opened) details.close();
  if (typing(event.target)) return;
  if (event.key === "/") {
    const part = parts[current].focusSearch ? current : "services";
    location.hash = part;
    navigate();
    parts[part].focusSearch();
    event.preventDefault();
    return;
  }
  const tab = "12345678".indexOf(event.key);
  if (tab >= 0 && event.key.length === 1) location.hash = Object.keys(parts)[tab];
});

addEventListener("hashchange", navigate);
addEventListener("theme", () => parts.map.recolour());
navigate();
believe("connecting", "");

// The fleet: the other balancers, in what they differ from this one, and what was exchanged with them. What they say of
// themselves is their own word, and stays text.

import { badge, byId, element, since, text, visible } from "./dom.js";
import { amount, count, NOTHING, plural, printable } from "./format.js";

const TONES = { ready: "good", learning: "worry", draining: "worry", leaving: "quiet" };
const ICONS = { ready: "up", learning: "pending", draining: "draining", leaving: "standby" };
// Of a digest.
const DIGITS = 8;

export class Fleet {
  constructor(model) {
    this._model = model;
    this._seen = -1;
    this._drawn = "";
  }

  show() {
    if (this._seen === this._model.changes.overview) return;
    this._seen = this._model.changes.overview;
    const { overview } = this._model;
    const fleet = overview?.fleet ?? null;
    visible(byId("fleet-empty"), Boolean(overview) && fleet === null);
    visible(byId("fleet-shown"), fleet !== null);
    const signature = JSON.stringify(fleet);
    if (fleet === null || signature === this._drawn) return;
    this._drawn = signature;
    const [mine] = fleet.nodes;
    byId("fleet-body").replaceChildren(...fleet.nodes.map((node) => row(node, mine)), ...fleet.absent.map(absent));
    const missing = fleet.missing ? `, ${count(fleet.missing)} missing` : "";
    text(byId("fleet-count"), `${plural(fleet.nodes.length, "node")}${missing}`);
    const more = fleet.more_differences ? [element("li", { class: "quiet", text: `and ${count(fleet.more_differences)} more` })] : [];
    byId("fleet-differences").replaceChildren(...fleet.differences.map(difference), ...more);
    visible(byId("fleet-differences"), fleet.differences.length > 0);
    visible(byId("fleet-alike"), fleet.differences.length === 0);
    byId("fleet-facts").replaceChildren(...exchange(fleet).flatMap(([name, value]) => fact(name, value)));
  }
}

function state(word, tone, picture) {
  const made = badge();
  made.show(picture, tone, printable(word));
  return made;
}

function row(node, mine) {
  const tone = node.isolated ? "bad" : node.sync === "done" ? TONES[node.state] ?? "worry" : "worry";
  const word = node.isolated ? `${node.state}, cut off` : node.state;
  const learnt = node.sync === "done" ? "" : ` (${node.sync})`;
  return element(
    "tr",
    { "data-tone": tone === "good" ? null : tone },
    element("th", { scope: "row" }, element("span", { class: "mono", text: printable(node.label) })),
    element("td", {}, state(`${word}${learnt}`, tone, node.isolated ? "wrong" : ICONS[node.state] ?? "unknown")),
    element("td", { class: "mono", text: node.own ? "this node" : printable(node.address ?? "") }),
    element("td", {}, since(node.since)),
    element("td", { text: printable(node.version) }),
    digest(node.configuration, node.configuration_differs),
    digest(node.tables, Boolean(mine.tables && node.tables && node.tables !== mine.tables)),
    element("td", { class: "number", text: count(node.tracked_slots) }),
    element("td", { class: "number", text: count(node.flows) }),
    element("td", { class: "number", text: amount(node.packets_per_second, "/s") }),
    element("td", { class: "number", text: node.own ? NOTHING : count(node.lost) }),
  );
}

function absent(node) {
  const tone = node.missing ? "bad" : "quiet";
  const blank = Array.from({ length: 7 }, (_, at) => element("td", { class: at < 3 ? "quiet" : "quiet number", text: NOTHING }));
  return element(
    "tr",
    { "data-tone": tone },
    element("th", { scope: "row" }, element("span", { class: "mono", text: printable(node.label) })),
    element("td", {}, state(node.missing ? "missing" : "left", tone, node.missing ? "down" : "standby")),
    element("td", { class: "mono", text: printable(node.address) }),
    element("td", {}, since(node.since)),
    ...blank,
  );
}

function digest(value, differs) {
  const shown = String(value ?? "").slice(0, DIGITS);
  const cell = element("td", { class: "mono", title: value || null }, shown ? printable(shown) : NOTHING);
  if (differs && shown) cell.append(" ", element("strong", { class: "other", title: "another than this node's", text: "≠" }));
  return cell;
}

function difference(one) {
  const subject = one.service ? element("span", { class: "mono", text: `${printable(one.service)}: ` }) : null;
  const said = element("span", { text: printable(one.message) });
  const mend = one.lasting && one.mend ? element("span", { class: "quiet mend" }, ...commands(one.mend)) : null;
  const age = element("span", { class: "quiet" }, ", for ", since(one.since));
  return element("li", { "data-tone": one.lasting ? "worry" : null }, subject, said, age, mend);
}

// What stands between backticks is for a shell.
function commands(words) {
  return words.split("`").map((part, at) => (at % 2 ? element("code", { text: printable(part) }) : printable(part)));
}

function fact(name, value) {
  return [element("dt", { text: name }), element("dd", { text: printable(value) })];
}

function exchange(fleet) {
  const { sent, received, refused, lost, repeated, shed, resyncs, sync_seconds: took } = fleet.traffic;
  const reasons = Object.entries(refused).filter(([, number]) => number > 0);
  const [signs, ...accepted] = fleet.keys;
  const way = (one) => `${amount(one.bytes_per_second, "B/s")}, ${plural(one.records, "record")} in ${plural(one.datagrams, "datagram")}`;
  const found = [
    ["Sent", way(sent)],
    ["Heard", way(received)],
    ["Refused", reasons.length ? reasons.map(([reason, number]) => `${reason} ${count(number)}`).join(", ") : "none"],
    ["Asked again", `${count(lost)} by this node, ${count(repeated)} by others`],
    ["Learnt whole", Number.isFinite(took) ? `in ${took.toFixed(2)} s` : "not yet"],
    ["Keys", signs ? `${signs} signs${accepted.map((key) => `, ${key} is accepted`).join("")}` : NOTHING],
    ["Peers", [...(fleet.group ? [fleet.group] : []), ...fleet.peers].join(", ") || NOTHING],
  ];
  if (shed) found.push(["Not told, for want of rate", plural(shed, "flow")]);
  if (resyncs) found.push(["Asked for all anew", plural(resyncs, "time")]);
  if (fleet.unheard.length) found.push(["Never heard", fleet.unheard.join(", ")]);
  if (fleet.waiting_for.length) found.push(["Waits for", fleet.waiting_for.join(", ")]);
  return found;
}

// Routers: sessions of BGP and of BFD. They are few, so this is a plain table; a row opens what else is known.

import { badge, byId, element, icon, since, text, visible } from "./dom.js";
import { count, NOTHING, plural, printable, span } from "./format.js";
import { BFD_TONES, ofPeer } from "./state.js";

const NAMES = { established: "up", stopped: "disabled" };

export class Routers {
  constructor(model) {
    this._model = model;
    this._opened = new Set();
    this._seen = -1;
    this._drawn = new Map();
  }

  show() {
    if (this._seen === this._model.changes.overview) return;
    this._seen = this._model.changes.overview;
    const bgp = this._model.overview?.bgp ?? {};
    const peers = [...(bgp.peers ?? [])].sort((one, other) => isUp(one) - isUp(other));
    const body = byId("peers-body");
    const known = new Map();
    const wanted = peers.flatMap((peer) => {
      const signature = JSON.stringify(peer, steady) + this._opened.has(peer.address);
      const old = this._drawn.get(peer.address);
      const made = old?.signature === signature ? old : { signature, rows: this._rows(peer) };
      known.set(peer.address, made);
      return made.rows;
    });
    this._drawn = known;
    const focused = document.activeElement?.closest?.("#peers-body tr")?.dataset.peer;
    if (wanted.length !== body.children.length || wanted.some((row, at) => body.children[at] !== row)) {
      body.replaceChildren(...wanted);
      if (focused) body.querySelector(`tr[data-peer="${CSS.escape(focused)}"] button`)?.focus();
    }
    visible(byId("peers-empty"), peers.length === 0);
    visible(byId("peers-table"), peers.length > 0);
    const up = peers.filter(isUp).length;
    text(byId("routers-count"), peers.length ? `${count(up)} of ${plural(peers.length, "session")} established` : "");
    text(byId("routers-id"), bgp.router_id ? `router id ${printable(bgp.router_id)}` : "");
  }

  _rows(peer) {
    const open = this._opened.has(peer.address);
    const { word, tone } = ofPeer(peer);
    const session = badge();
    session.show(NAMES[word] ?? (tone === "bad" ? "down" : "pending"), tone, printable(word));
    const toggle = element(
      "button",
      { type: "button", class: "plain", "aria-expanded": String(open), on: { click: () => this._toggle(peer.address) } },
      icon("chevron"),
      element("span", { class: "mono", text: printable(peer.address) }),
    );
    const row = element(
      "tr",
      { "data-peer": peer.address, "data-tone": tone },
      element("th", { scope: "row" }, toggle),
      element("td", {}, session),
      element("td", {}, since(peer.since)),
      element("td", { class: "number", text: peer.remote_as ?? NOTHING }),
      element("td", { text: `${peer.ibgp ? "iBGP" : "eBGP"}${peer.group ? `, ${printable(peer.group)}` : ""}` }),
      element("td", { class: "number", text: count(peer.advertised_by_family?.ipv4 ?? peer.advertised) }),
      element("td", { class: "number", text: count(peer.advertised_by_family?.ipv6 ?? 0) }),
      element("td", { class: "number", text: count(peer.pending) }),
      element("td", { class: "number", text: count(peer.withheld) }),
      element("td", {}, bfdOf(peer.bfd)),
      element("td", { class: "wrap", text: printable(peer.last_end?.text ?? peer.last_error?.text ?? "") }),
    );
    if (!open) return [row];
    const facts = element("dl", { class: "facts" }, ...more(peer).flatMap(([name, value]) => fact(name, value)));
    return [row, element("tr", { class: "more", "data-more": peer.address }, element("td", { colspan: 11 }, facts))];
  }

  _toggle(address) {
    if (!this._opened.delete(address)) this._opened.add(address);
    this._seen = -1;
    this.show();
  }
}

function isUp(peer) {
  return peer.state === "established" ? 1 : 0;
}

// Spans that run all the time are no reason to draw a row anew.
function steady(name, value) {
  return ["hold_left", "next_attempt", "messages", "bytes", "packets"].includes(name) ? undefined : value;
}

function bfdOf(bfd) {
  if (!bfd) return element("span", { class: "quiet", text: "not used" });
  const made = badge();
  const tone = BFD_TONES[bfd.state] ?? "worry";
  made.show(tone === "good" ? "up" : tone === "bad" ? "down" : "pending", tone, printable(bfd.state));
  return made;
}

function fact(name, value) {
  const said = value instanceof Node ? value : document.createTextNode(printable(value ?? NOTHING));
  return [element("dt", { text: name }), element("dd", {}, said)];
}

function seconds(value) {
  return Number.isFinite(value) ? `${Number(value.toFixed(value < 1 ? 3 : 1))} s` : NOTHING;
}

function more(peer) {
  const told = (error) => (error ? `${error.text} (${error.direction})` : "none");
  const found = [
    ["Our address", peer.local_address],
    ["Our AS", peer.local_as],
    ["Its router id", peer.remote_router_id],
    ["Families", peer.families?.join(", ") || NOTHING],
    ["Hold time", peer.hold_time ? `${seconds(peer.hold_time)}, keepalive ${seconds(peer.keepalive)}` : "none"],
    ["Told that this is all", peer.end_of_rib ? "yes" : "no"],
    ["Sessions so far", `${count(peer.sessions)} of ${plural(peer.attempts, "attempt")}`],
    ["UPDATEs sent", count(peer.messages?.sent?.update)],
    ["Routes of the peer", `${count(peer.received_routes_ignored)} ignored`],
    ["Last end", told(peer.last_end)],
    ["Last error", told(peer.last_error)],
    ["It can", peer.capabilities?.received?.join(", ") || NOTHING],
  ];
  const restart = peer.graceful_restart;
  if (restart) {
    const its = restart.peer ? `it waits ${span(restart.time)}` : "it does not";
    found.push(["Graceful restart", `${restart.offered ? "offered" : "not offered"}; ${its}${restart.restarting ? "; restarting" : ""}`]);
  }
  if (peer.bfd) {
    const { bfd } = peer;
    found.push(
      ["BFD since", since(bfd.since)],
      ["BFD of the peer", bfd.remote_state],
      ["BFD packets", `every ${seconds(bfd.interval)}, down after ${seconds(bfd.detection)}`],
      ["BFD flaps", `${count(bfd.flaps)}${bfd.diagnostic ? `; last: ${bfd.diagnostic}` : ""}`],
      ["BFD refused", plural(bfd.packets?.dropped ?? 0, "packet")],
    );
  }
  return found;
}


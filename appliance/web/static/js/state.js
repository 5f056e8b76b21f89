// What state something is in, as one word, one icon and one tone. Pure.
//
// Tones: "good", "bad", "worry", "quiet" (as it was ordered, or nothing known yet). A tone is never the only sign: the
// icon's shape and the word say the same.

export const TONES = {
  up: "good",
  dead: "bad",
  wrong: "bad",
  down: "bad",
  degraded: "worry",
  kept: "worry",
  draining: "worry",
  pending: "quiet",
  standby: "quiet",
  disabled: "quiet",
  unknown: "quiet",
};

// The worst first: services and backends are ordered by it.
const RANK = ["down", "dead", "wrong", "degraded", "kept", "unknown", "pending", "draining", "disabled", "standby", "up"];

export function rank(word) {
  const found = RANK.indexOf(word);
  return found < 0 ? RANK.indexOf("unknown") : found;
}

// One backend. What the checks say comes first, then what it may receive.
export function ofBackend(backend) {
  const { state, health } = backend;
  if (health === "dead" || health === "wrong") return backend.kept_by ? "kept" : health;
  if (state === "dead") return "dead";
  if (health === "unknown" || state === "none" || state === "unknown") return "unknown";
  if (backend.enabled === false) return "disabled";
  if (state === "standby") return "standby";
  if (state === "draining") return "draining";
  return "up";
}

const worrying = (backend) => ["dead", "wrong", "kept"].includes(backend.word);

// One service: up, down, degraded (it serves, and not every backend is well), or pending.
export function ofService(service) {
  if (service.pending) return "pending";
  if (!service.up) return "down";
  return service.backends.some(worrying) ? "degraded" : "up";
}

// Since when a service is in the state of its word. The daemon knows up and down: a service that has been up for longer
// is degraded since the first of the troubles that it has now.
export function sinceOfService(service) {
  if (service.word !== "degraded") return service.since;
  const troubles = service.backends.filter(worrying).map((backend) => backend.since).filter(Number.isFinite);
  return troubles.length && Number.isFinite(service.since) ? Math.max(service.since, Math.min(...troubles)) : service.since;
}

// Why a backend is as it is, beside its diagnostic: who drains it, who overrides it. A list of short texts.
export function marks(backend) {
  const found = [];
  for (const one of backend.overrides ?? []) {
    const word = one.override ?? one.what ?? "override";
    const value = word === "weight" ? ` ${one.weight ?? one.value ?? ""}` : "";
    found.push({ word: `${word}${value}`, who: one.who, since: one.since });
  }
  if (backend.drained_by === "removed") found.push({ word: "removed", who: "configuration", since: null });
  if (backend.fallback) found.push({ word: "fallback", who: null, since: null });
  return found;
}

export const BGP_TONES = { established: "good", stopped: "quiet" };
export const BFD_TONES = { up: "good", "admin-down": "quiet", init: "worry", down: "bad" };

// A peer: established is good; so is nothing else that is meant to be a session.
export function ofPeer(peer) {
  return { word: peer.state, tone: BGP_TONES[peer.state] ?? (peer.sessions ? "bad" : "worry") };
}

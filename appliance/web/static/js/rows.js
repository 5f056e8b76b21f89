// Which rows the table of services has: services in order, and below each that is open its backends. Pure.

import { ordered } from "./model.js";
import { match, parse } from "./query.js";
import { rank } from "./state.js";

// Up to so many backends everything is open; with more only what is in trouble, or was opened.
export const FEW = 60;

export const QUICK = {
  all: () => true,
  trouble: (backend) => ["dead", "wrong", "kept", "unknown"].includes(backend.word),
  marked: (backend) => backend.marks.some((mark) => mark.who) || ["draining", "disabled"].includes(backend.word),
};

// Those in trouble first, all others as they are configured.
function worstFirst(backends) {
  const weight = (backend) => (["dead", "wrong", "kept", "unknown"].includes(backend.word) ? rank(backend.word) : 99);
  return [...backends].sort((one, other) => weight(one) - weight(other));
}

// `view`: { text, quick, order, opened } where `opened` is a Map of service to what the reader chose.
export function rowsOf(model, view) {
  const terms = parse(view.text);
  const quick = QUICK[view.quick] ?? QUICK.all;
  const few = model.counts.backends <= FEW;
  const rows = [];
  let services = 0;
  let backends = 0;
  for (const service of ordered(model.services.values(), view.order)) {
    const found = terms.length ? match(terms, service) : "all";
    if (!found) continue;
    let shown = found === "all" ? service.backends : found;
    if (view.quick !== "all") shown = shown.filter(quick);
    const itself = view.quick === "trouble" && service.word === "down";
    if (view.quick !== "all" && !shown.length && !itself) continue;
    const narrowed = shown.length < service.backends.length;
    const usual = few || narrowed || service.word === "down" || service.word === "degraded";
    const open = view.opened.get(service.key) ?? usual;
    services += 1;
    backends += shown.length;
    rows.push({ key: `s ${service.key}`, kind: "service", service, open, shown: shown.length });
    if (!open) continue;
    for (const backend of worstFirst(shown)) {
      rows.push({ key: `b ${backend.id}`, kind: "backend", service, backend });
    }
  }
  return { rows, services, backends };
}

// What a service's backends are, in words: "1 dead, 2 draining"; "" where all are up.
export function summary(service) {
  const found = new Map();
  for (const backend of service.backends) {
    if (backend.word !== "up") found.set(backend.word, (found.get(backend.word) ?? 0) + 1);
  }
  return [...found]
    .sort((one, other) => rank(one[0]) - rank(other[0]))
    .map(([word, number]) => `${number} ${word}`)
    .join(", ");
}

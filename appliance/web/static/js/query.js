// The search box. Words are looked for everywhere, all must be found; "-word" must not be.
// "vip:10.0", "name:shop", "backend:10.1", "state:dead", "port:443" and "proto:udp" look in one place. Pure.

const PLACES = ["vip", "name", "backend", "state", "port", "proto", "service"];

export function parse(text) {
  const terms = [];
  for (const word of text.toLowerCase().split(/\s+/)) {
    if (!word || word === "-") continue;
    const negative = word.startsWith("-");
    const rest = negative ? word.slice(1) : word;
    const colon = rest.indexOf(":");
    const place = colon > 0 ? rest.slice(0, colon) : "";
    if (PLACES.includes(place)) {
      if (rest.length > colon + 1) terms.push({ negative, place, text: rest.slice(colon + 1) });
    } else terms.push({ negative, place: "", text: rest });
  }
  return terms;
}

// What of a service can be found, in small letters; made once, when the service changes.
export function ofService(service) {
  return {
    service: service.key.toLowerCase(),
    vip: String(service.vip).toLowerCase(),
    name: `${service.name ?? ""} ${service.description ?? ""}`.toLowerCase(),
    port: String(service.port),
    proto: String(service.proto).toLowerCase(),
    state: service.word,
  };
}

export function ofBackend(backend) {
  return {
    backend: String(backend.address).toLowerCase(),
    state: `${backend.word} ${backend.state ?? ""} ${backend.marks.map((mark) => mark.word).join(" ")}`,
    text: String(backend.diagnostic ?? "").toLowerCase(),
  };
}

// Ports and protocols are looked for whole, states from their beginning, all others anywhere.
function within(place, sought, text) {
  if (text === undefined) return false;
  if (place === "port" || place === "proto") return text === sought;
  if (place === "state") return text.split(" ").some((word) => word.startsWith(sought));
  return text.includes(sought);
}

function inService(term, places) {
  if (term.place) return within(term.place, term.text, places[term.place]);
  return places.service.includes(term.text) || places.name.includes(term.text) || places.state === term.text;
}

function inBackend(term, places) {
  if (term.place) return within(term.place, term.text, places[term.place]);
  return ["backend", "state", "text"].some((place) => places[place].includes(term.text));
}

// Which backends of a service are found: null where the service is not, "all" where it is by itself, or a list.
export function match(terms, service) {
  if (terms.every((term) => inService(term, service.places) !== term.negative)) {
    const unwanted = terms.filter((term) => term.negative);
    if (!unwanted.length) return "all";
    const left = service.backends.filter((backend) => unwanted.every((term) => !inBackend(term, backend.places)));
    return left.length === service.backends.length ? "all" : left.length ? left : null;
  }
  const found = service.backends.filter((backend) =>
    terms.every((term) => (inService(term, service.places) || inBackend(term, backend.places)) !== term.negative),
  );
  return found.length ? found : null;
}

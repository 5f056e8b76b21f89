// Addresses, as far as a page needs them: in which order they come, and which prefix of length 20 a number is. Pure.

// A text that sorts as the address does; IPv4 before IPv6.
export function sortable(address) {
  const text = String(address);
  if (!text.includes(":")) {
    return `4${text.split(".").map((octet) => octet.padStart(3, "0")).join("")}`;
  }
  const [head, tail] = text.toLowerCase().split("::");
  const front = head ? head.split(":") : [];
  const back = tail ? tail.split(":") : [];
  const zeros = tail === undefined ? [] : Array(Math.max(0, 8 - front.length - back.length)).fill("0");
  return `6${[...front, ...zeros, ...back].map((group) => group.padStart(4, "0")).join("")}`;
}

// 0 to 1,048,575, the upper twenty bits of an address: "198.51.96.0/20".
export function prefix20(number) {
  return `${number >>> 12}.${(number >>> 4) & 255}.${(number & 15) << 4}.0/20`;
}

// What a block of IPv4 addresses is set aside for, by its first octet (IANA's registry of IPv4 special-purpose
// addresses, RFC 6890); "" where it is anybody's.
export function purpose(octet) {
  if (octet === 0) return "this network";
  if (octet === 10) return "private";
  if (octet === 127) return "loopback";
  if (octet >= 240) return "reserved";
  return octet >= 224 ? "multicast" : "";
}

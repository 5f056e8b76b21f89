// Numbers, spans of time and texts as people read them. Pure: what time it is comes as an argument.

const STEPS = ["", "k", "M", "G", "T", "P", "E"];
const NOTHING = "–";

// Three significant digits and a prefix of the SI: 0, 7, 42.5, 999, 1.23 k. `unit` stands behind it: "bit/s".
export function amount(value, unit = "") {
  if (value === null || value === undefined || !Number.isFinite(value)) return NOTHING;
  let size = Math.abs(value);
  let step = 0;
  // 999.5 would be rounded to four digits.
  while (size >= 999.5 && step < STEPS.length - 1) {
    size /= 1000;
    step += 1;
  }
  const digits = Number.isInteger(size) && step === 0 ? 0 : size < 9.995 ? 2 : size < 99.95 ? 1 : 0;
  const tail = `${STEPS[step]}${unit}`;
  return `${value < 0 ? "-" : ""}${size.toFixed(digits)}${tail ? ` ${tail}` : ""}`;
}

// Octets a second, as bits: what links are measured in.
export function bits(octets) {
  return amount(Number.isFinite(octets) ? octets * 8 : null, "bit/s");
}

// A whole number with its thousands set apart by thin spaces: 1 048 576.
export function count(value) {
  if (!Number.isFinite(value)) return NOTHING;
  return Math.round(value).toString().replace(/\B(?=(\d{3})+$)/g, "\u202f");
}

// Seconds in at most two units: 0s, 42s, 3m12s, 5h03m, 12d4h.
export function span(seconds) {
  if (!Number.isFinite(seconds)) return NOTHING;
  const whole = Math.max(0, Math.floor(seconds));
  const two = (value) => String(value).padStart(2, "0");
  if (whole < 60) return `${whole}s`;
  if (whole < 3600) return `${Math.floor(whole / 60)}m${two(whole % 60)}s`;
  if (whole < 86400) return `${Math.floor(whole / 3600)}h${two(Math.floor((whole % 3600) / 60))}m`;
  return `${Math.floor(whole / 86400)}d${Math.floor((whole % 86400) / 3600)}h`;
}

export function percent(share) {
  if (!Number.isFinite(share)) return NOTHING;
  const value = share * 100;
  return `${value.toFixed(value >= 99.95 || value === 0 ? 0 : 1)} %`;
}

export function milliseconds(value) {
  if (!Number.isFinite(value)) return NOTHING;
  if (value < 1) return `${Math.round(value * 1000)} µs`;
  return value < 9.95 ? `${value.toFixed(1)} ms` : value < 1000 ? `${Math.round(value)} ms` : `${(value / 1000).toFixed(1)} s`;
}

// Wall-clock seconds in the reader's time zone: 14:03:22, with the date where it is another day than `now`.
export function moment(at, now, withMilliseconds = false) {
  if (!Number.isFinite(at)) return NOTHING;
  const date = new Date(at * 1000);
  const two = (value) => String(value).padStart(2, "0");
  let text = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
  if (withMilliseconds) text += `.${String(date.getMilliseconds()).padStart(3, "0")}`;
  const today = Number.isFinite(now) && new Date(now * 1000).toDateString() === date.toDateString();
  return today ? text : `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ${text}`;
}

// What would end a line, turn its direction, or not be seen at all. Texts come from backends and from files: the page
// never makes markup of them, and this lets none pretend to be another.
const UNSEEN = /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g;

export function printable(text) {
  return String(text ?? "").replace(UNSEEN, (unseen) => {
    const code = unseen.charCodeAt(0);
    return code < 256 ? `\\x${code.toString(16).padStart(2, "0")}` : `\\u${code.toString(16).padStart(4, "0")}`;
  });
}

export function plural(number, one, many = `${one}s`) {
  return `${count(number)} ${number === 1 ? one : many}`;
}

export { NOTHING };

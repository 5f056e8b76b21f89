// Beside the page: fetches the counts of all prefixes, finds what has grown, and paints. A million numbers are nothing
// that the page's own thread should wait for.
//
// In: { colours: [[r, g, b], ...] } asks for the next picture, in these colours from little to much.
// Out: { pixels, values, totals, seconds, sum, highest, lit, top } or { error }.

import { CELLS, place, SIDE } from "./hilbert.js";

const TOP = 20;
const SPARSE = 30000;
// Single cells would not be seen on an empty map: around each there is a glow of this many cells, and more where there
// are few.
const GLOW = 3;
const FEW = 3000;

let places = null;
let before = null;

onmessage = async (event) => {
  try {
    const made = picture(await counts(), event.data.colours);
    postMessage(made, [made.pixels.buffer, made.values.buffer]);
  } catch (error) {
    postMessage({ error: error.message });
  }
};

async function counts() {
  const answer = await fetch("/prefixes.json", { cache: "no-store" });
  if (!answer.ok) {
    const told = await answer.json().catch(() => ({}));
    throw new Error(told.error ?? told.message ?? `the server answers with status ${answer.status}`);
  }
  const found = await answer.json();
  if (!Array.isArray(found) || found.length !== CELLS) throw new Error("these are not the counts of all prefixes");
  return { at: performance.now() / 1000, found: Float64Array.from(found) };
}

// What has grown since the last time; the totals at first, and after the program was loaded anew.
function grown(now) {
  const last = before;
  before = now;
  if (!last) return { values: Float32Array.from(now.found), seconds: 0 };
  const values = new Float32Array(CELLS);
  for (let at = 0; at < CELLS; at += 1) {
    const more = now.found[at] - last.found[at];
    if (more < 0) return { values: Float32Array.from(now.found), seconds: 0 };
    values[at] = more;
  }
  const seconds = now.at - last.at;
  for (let at = 0; at < CELLS; at += 1) values[at] /= seconds;
  return { values, seconds };
}

function picture(now, colours) {
  const { values, seconds } = grown(now);
  const lit = [];
  let sum = 0;
  let highest = 0;
  for (let at = 0; at < CELLS; at += 1) {
    const value = values[at];
    if (value <= 0) continue;
    lit.push(at);
    sum += value;
    if (value > highest) highest = value;
  }
  places ??= Uint32Array.from({ length: CELLS }, (_, at) => place(at));
  const lowest = lit.reduce((least, at) => Math.min(least, values[at]), highest);
  const pixels = paint(lit, values, lowest, highest, colours);
  const top = lit.sort((one, other) => values[other] - values[one]).slice(0, TOP);
  return {
    pixels,
    values,
    seconds,
    sum,
    lowest,
    highest,
    lit: lit.length,
    top: top.map((at) => ({ prefix: at, value: values[at] })),
  };
}

// Logarithmic, 0 to 1.
export function scaled(value, lowest, highest) {
  return highest > lowest ? Math.log(value / lowest) / Math.log(highest / lowest) : 1;
}

function paint(lit, values, lowest, highest, colours) {
  const heat = new Uint8Array(CELLS);
  const sparse = lit.length < SPARSE;
  const around = lit.length < FEW ? GLOW + 3 : GLOW;
  for (const at of lit) {
    const value = 90 + Math.round(165 * scaled(values[at], lowest, highest));
    const middle = places[at];
    if (value > heat[middle]) heat[middle] = value;
    if (sparse) glow(heat, middle, value, around);
  }
  const table = Array.from({ length: 256 }, (_, value) => colour(colours, value / 255));
  const pixels = new Uint8ClampedArray(CELLS * 4);
  for (let at = 0; at < CELLS; at += 1) {
    const value = heat[at];
    if (!value) continue;
    const [red, green, blue] = table[value];
    pixels[at * 4] = red;
    pixels[at * 4 + 1] = green;
    pixels[at * 4 + 2] = blue;
    pixels[at * 4 + 3] = value < 90 ? value * 2.8 : 255;
  }
  return pixels;
}

function glow(heat, middle, value, around) {
  const x = middle % SIDE;
  const y = (middle - x) / SIDE;
  const solid = around > GLOW ? 2.3 : 1;
  for (let down = -around; down <= around; down += 1) {
    for (let right = -around; right <= around; right += 1) {
      const away = Math.hypot(right, down);
      if (away > around + 0.5 || x + right < 0 || x + right >= SIDE || y + down < 0 || y + down >= SIDE) continue;
      const at = (y + down) * SIDE + x + right;
      const less = away <= solid ? value : Math.round(value * 0.35 * (1 - away / (around + 1)));
      if (less > heat[at]) heat[at] = less;
    }
  }
}

function colour(colours, share) {
  const at = share * (colours.length - 1);
  const low = Math.min(colours.length - 2, Math.floor(at));
  return colours[low].map((part, which) => part + (colours[low + 1][which] - part) * (at - low));
}

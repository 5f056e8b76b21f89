// The last samples of a number, for a sparkline. All histories of a page share one clock, so that a sample costs one
// write, and a gap (the daemon was away) is seen in every line at the same place. Pure.

export const LENGTH = 60;

export class Clock {
  constructor() {
    this.ticks = 0;
    this.last = null;
  }

  // A sample of `time` (seconds) has come. Returns how many were missed before it.
  advance(time, interval) {
    const passed = this.last === null ? 1 : Math.round((time - this.last) / interval);
    const steps = Math.min(LENGTH, Math.max(1, passed));
    this.ticks += steps;
    this.last = time;
    return steps - 1;
  }
}

export class History {
  constructor() {
    this.values = new Float32Array(LENGTH).fill(NaN);
  }

  // Keep the value of the present tick, after `missed` ones without.
  push(clock, value, missed = 0) {
    for (let back = missed; back > 0; back -= 1) this.values[(clock.ticks - back + LENGTH) % LENGTH] = NaN;
    this.values[clock.ticks % LENGTH] = value;
  }

  // Oldest first; NaN where nothing is known.
  *read(clock) {
    for (let at = 1; at <= LENGTH; at += 1) yield this.values[(clock.ticks + at) % LENGTH];
  }
}

// The line as an SVG path in a box of `width` x `height`, from zero to the highest value; breaks at gaps. "" for none.
export function path(history, clock, width, height) {
  let highest = 0;
  for (const value of history.values) if (value > highest) highest = value;
  const scale = highest > 0 ? (height - 2) / highest : 0;
  const step = width / (LENGTH - 1);
  let drawn = "";
  let pen = "M";
  let at = 0;
  for (const value of history.read(clock)) {
    if (Number.isNaN(value)) pen = "M";
    else {
      drawn += `${pen}${(at * step).toFixed(1)} ${(height - 1 - value * scale).toFixed(1)}`;
      pen = "L";
    }
    at += 1;
  }
  return drawn;
}

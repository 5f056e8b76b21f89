// What is drawn of the map: the blocks of the address space below the traffic, one /8 close up, and what is pointed at.

import { purpose } from "./address.js";
import { BLOCK, corner, index, place, SIDE } from "./hilbert.js";

const STEP = SIDE / BLOCK;
const PART = 16;

export class Drawing {
  constructor(canvas) {
    this._canvas = canvas;
    this._context = canvas.getContext("2d");
  }

  // Colours are those of the style sheet, which may have changed.
  clear() {
    const context = this._context;
    this._style = getComputedStyle(this._canvas);
    context.clearRect(0, 0, SIDE, SIDE);
    context.lineWidth = 1;
    context.font = "13px system-ui, sans-serif";
    context.textBaseline = "top";
  }

  _colour(name) {
    return this._style.getPropertyValue(name);
  }

  // Every /8 with its first octet, and over them the `painted` traffic.
  whole(painted) {
    const context = this._context;
    context.strokeStyle = this._colour("--line");
    for (let octet = 0; octet < 256; octet += 1) {
      const { x, y } = corner(octet);
      const use = purpose(octet);
      if (use) {
        context.fillStyle = this._colour("--shade");
        context.fillRect(x, y, BLOCK, BLOCK);
      }
      context.strokeRect(x + 0.5, y + 0.5, BLOCK, BLOCK);
      context.fillStyle = this._colour("--faint");
      context.fillText(String(octet), x + 5, y + 5);
      if (use && octet < 128) context.fillText(use, x + 5, y + 45, BLOCK - 8);
    }
    context.drawImage(painted, 0, 0);
  }

  // One /8: each of its prefixes is a square, and its sixteen /12 have lines around them. `picture` as the worker makes.
  block(octet, picture) {
    const context = this._context;
    const { x: left, y: above } = corner(octet);
    for (let y = 0; picture && y < BLOCK; y += 1) {
      for (let x = 0; x < BLOCK; x += 1) {
        const value = picture.values[index(left + x, above + y)];
        if (value <= 0) continue;
        context.fillStyle = this._colour(`--heat-${2 + Math.round(heat(value, picture) * 3)}`);
        context.fillRect(x * STEP + 1, y * STEP + 1, STEP - 1, STEP - 1);
      }
    }
    context.strokeStyle = this._colour("--line");
    context.fillStyle = this._colour("--faint");
    for (let part = 0; part < 16; part += 1) {
      const at = place((octet << 12) | (part << 8));
      const x = Math.floor(((at % SIDE) - left) / PART) * PART * STEP;
      const y = Math.floor((Math.floor(at / SIDE) - above) / PART) * PART * STEP;
      context.strokeRect(x + 0.5, y + 0.5, PART * STEP, PART * STEP);
      context.fillText(`${octet}.${part * 16}.0.0/12`, x + 8, y + 8);
    }
  }

  // A frame around one prefix; `zoom` is the /8 that is shown, null for the whole map.
  ring(cell, zoom, colour) {
    const at = place(cell);
    let [x, y, size, room] = [at % SIDE, Math.floor(at / SIDE), 1, 6];
    if (zoom !== null) {
      if (cell >> 12 !== zoom) return;
      const { x: left, y: above } = corner(zoom);
      [x, y, size, room] = [(x - left) * STEP, (y - above) * STEP, STEP, 1];
    }
    this._context.strokeStyle = this._colour(colour);
    this._context.lineWidth = 2;
    this._context.strokeRect(x - room, y - room, size + 2 * room, size + 2 * room);
  }
}

// Logarithmic, 0 to 1.
function heat(value, { lowest, highest }) {
  return highest > lowest ? Math.log(value / lowest) / Math.log(highest / lowest) : 1;
}

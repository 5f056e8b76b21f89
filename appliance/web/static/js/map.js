// The map of traffic by /20 prefix. The curve is in hilbert.js, the painting of it in map_worker.js; here are what lies
// over it, pointing at it, and looking into a /8.

import { prefix20, purpose } from "./address.js";
import { attribute, byId, element, text, visible } from "./dom.js";
import { amount, count, moment, percent, printable } from "./format.js";
import { BLOCK, corner, index, place, SIDE } from "./hilbert.js";
import { Drawing } from "./map_drawing.js";

const EVERY = 10;
// After an error, such as that nothing is counted, it is asked for less often; seconds.
const SELDOM = 60;

export class TrafficMap {
  // `now()` in wall-clock seconds of the server.
  constructor(now) {
    this._now = now;
    this._canvas = byId("map-canvas");
    this._drawing = new Drawing(this._canvas);
    this._painted = element("canvas", { width: SIDE, height: SIDE });
    this._worker = null;
    this._timer = null;
    this._looking = false;
    this._picture = null;
    this._zoom = null;
    this._cursor = null;
    this._pinned = null;
    const canvas = this._canvas;
    canvas.addEventListener("pointermove", (event) => this._point(this._cell(event), event));
    canvas.addEventListener("pointerleave", () => this._point(null));
    canvas.addEventListener("click", (event) => this._pin(this._cell(event)));
    canvas.addEventListener("dblclick", (event) => this._look(this._zoom === null ? this._cell(event) >> 12 : null));
    canvas.addEventListener("keydown", (event) => this._key(event));
    byId("map-zoom").addEventListener("click", () => this._look(this._zoom === null ? (this._pinned ?? 0) >> 12 : null));
    byId("map-copy").addEventListener("click", () => this._copy());
    byId("map-top").addEventListener("click", (event) => {
      const row = event.target.closest("[data-prefix]");
      if (row) this._pin(Number(row.dataset.prefix));
    });
  }

  // Fetched only while somebody looks.
  shown() {
    if (!this._worker) {
      this._worker = new Worker("/js/map_worker.js", { type: "module" });
      this._worker.onmessage = (event) => this._came(event.data);
      this._worker.onerror = () => this._came({ error: "the painter has ended" });
    }
    this._looking = true;
    this._ask();
  }

  left() {
    this._looking = false;
    clearTimeout(this._timer);
  }

  recolour() {
    if (this._looking) this._ask();
    this._draw();
  }

  show() {}

  _ask() {
    const style = getComputedStyle(this._canvas);
    const colours = [1, 2, 3, 4, 5].map((step) => rgb(style.getPropertyValue(`--heat-${step}`)));
    clearTimeout(this._timer);
    if (document.hidden) this._later(EVERY);
    else this._worker.postMessage({ colours });
  }

  _later(seconds) {
    clearTimeout(this._timer);
    if (this._looking) this._timer = setTimeout(() => this._ask(), seconds * 1000);
  }

  _came(picture) {
    this._later(picture.error ? SELDOM : EVERY);
    visible(byId("map-error"), Boolean(picture.error));
    text(byId("map-error"), picture.error ? `No map: ${printable(picture.error)}` : "");
    if (picture.error) return;
    this._picture = picture;
    this._painted.getContext("2d").putImageData(new ImageData(picture.pixels, SIDE, SIDE), 0, 0);
    const what = picture.seconds ? `in the last ${Math.round(picture.seconds)} s` : "since the program was loaded";
    const senders = picture.lit === 1 ? "1 prefix" : `${count(picture.lit)} prefixes`;
    text(byId("map-said"), `${senders} sent packets ${what}; ${moment(this._now(), this._now())}`);
    this._showTop();
    this._readout();
    this._draw();
  }

  _value(value) {
    return this._picture?.seconds ? `≈ ${amount(value, "/s")}` : `≈ ${count(value)} packets`;
  }

  _showTop() {
    const rows = this._picture.top.map(({ prefix, value }) => {
      const button = element("button", { type: "button", class: "plain mono", text: prefix20(prefix) });
      const share = percent(value / this._picture.sum);
      return element(
        "tr",
        { "data-prefix": prefix },
        element("th", { scope: "row" }, button),
        element("td", { class: "number", text: `≈ ${amount(value, this._picture.seconds ? "/s" : "")}` }),
        element("td", { class: "number", text: share }),
      );
    });
    const focused = document.activeElement?.closest?.("#map-top tr")?.dataset.prefix;
    byId("map-top").replaceChildren(...rows);
    if (focused) byId("map-top").querySelector(`[data-prefix="${focused}"] button`)?.focus();
  }

  _draw() {
    const { _drawing: drawing, _picture: picture } = this;
    drawing.clear();
    if (this._zoom === null) drawing.whole(this._painted);
    else drawing.block(this._zoom, picture);
    if (this._pinned !== null) drawing.ring(this._pinned, this._zoom, "--accent");
    if (this._cursor !== null) drawing.ring(this._cursor, this._zoom, "--ink");
  }

  // ---- pointing

  _cell(event) {
    const box = this._canvas.getBoundingClientRect();
    const across = Math.floor(((event.clientX - box.left) / box.width) * SIDE);
    const below = Math.floor(((event.clientY - box.top) / box.height) * SIDE);
    const inside = (value) => Math.min(SIDE - 1, Math.max(0, value));
    if (this._zoom === null) return this._nearest(inside(across), inside(below));
    const { x, y } = corner(this._zoom);
    const step = SIDE / BLOCK;
    return index(x + Math.floor(inside(across) / step), y + Math.floor(inside(below) / step));
  }

  // A cell is smaller than a fingertip: the busiest one nearby is meant.
  _nearest(x, y) {
    const values = this._picture?.values;
    let [found, most] = [index(x, y), 0];
    if (!values) return found;
    for (let down = Math.max(0, y - 3); down <= Math.min(SIDE - 1, y + 3); down += 1) {
      for (let right = Math.max(0, x - 3); right <= Math.min(SIDE - 1, x + 3); right += 1) {
        const at = index(right, down);
        if (values[at] > most) [found, most] = [at, values[at]];
      }
    }
    return found;
  }

  _point(cell, event) {
    this._cursor = cell;
    const tip = byId("map-tip");
    visible(tip, cell !== null && Boolean(event));
    if (cell !== null) {
      text(byId("map-tip-prefix"), prefix20(cell));
      text(byId("map-tip-value"), this._value(this._picture?.values[cell] ?? 0));
      text(byId("map-tip-line"), `vc5 block add ${prefix20(cell)}`);
    }
    if (cell !== null && event) {
      const box = byId("map-frame").getBoundingClientRect();
      const left = Math.min(event.clientX - box.left + 14, box.width - tip.offsetWidth - 4);
      tip.style.left = `${Math.max(4, left)}px`;
      const below = event.clientY - box.top + 18;
      tip.style.top = `${below + tip.offsetHeight > box.height ? below - tip.offsetHeight - 32 : below}px`;
    }
    this._draw();
  }

  _pin(cell) {
    this._pinned = cell;
    if (this._zoom !== null && cell >> 12 !== this._zoom) this._zoom = null;
    this._readout();
    this._draw();
  }

  _readout() {
    const cell = this._pinned;
    visible(byId("map-pinned"), cell !== null);
    visible(byId("map-help"), cell === null);
    const octet = this._zoom ?? (cell === null ? null : cell >> 12);
    visible(byId("map-zoom"), octet !== null);
    text(byId("map-zoom"), this._zoom === null ? `Look into ${octet}.0.0.0/8` : "Whole map");
    if (cell === null) return;
    const value = this._picture?.values[cell] ?? 0;
    const share = this._picture?.sum ? ` (${percent(value / this._picture.sum)})` : "";
    const use = purpose(cell >> 12);
    text(byId("map-prefix"), prefix20(cell));
    text(byId("map-value"), `${this._value(value)}${share}${use ? `, ${use}` : ""}`);
    text(byId("map-line"), `vc5 block add ${prefix20(cell)}`);
  }

  _look(octet) {
    this._zoom = octet;
    attribute(this._canvas, "data-zoom", octet);
    this._readout();
    this._draw();
  }

  _key(event) {
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const move = moves[event.key];
    const from = this._pinned ?? (this._zoom ?? 0) << 12;
    if (move) {
      const step = event.shiftKey ? 16 : 1;
      const at = place(from);
      const inside = (value) => Math.min(SIDE - 1, Math.max(0, value));
      this._pin(index(inside((at % SIDE) + move[0] * step), inside(Math.floor(at / SIDE) + move[1] * step)));
    } else if (event.key === "Enter") this._look(this._zoom === null ? from >> 12 : null);
    else if (event.key === "Escape" && this._zoom !== null) this._look(null);
    else return;
    event.preventDefault();
  }

  async _copy() {
    const said = byId("map-copied");
    try {
      await navigator.clipboard.writeText(byId("map-line").textContent);
      text(said, "copied");
    } catch {
      // Browsers have no clipboard for pages that came over plain HTTP: the line is marked, to be copied by hand.
      getSelection().selectAllChildren(byId("map-line"));
      text(said, "marked; copy it with the keyboard");
    }
  }
}

function rgb(text) {
  const digits = text.trim().replace("#", "");
  return [0, 2, 4].map((at) => parseInt(digits.slice(at, at + 2), 16));
}

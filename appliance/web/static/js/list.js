// A list of any length of which only the rows on screen exist. The page scrolls, not the list.
//
// Rows are plain objects with `key` and `kind`; heights belong to kinds and come from the style sheet (--row-KIND), so
// that a phone may have taller ones. One row can be focused; the arrow keys move through all of them, on screen or not.

import { attribute } from "./dom.js";

const MARGIN = 240;

export class List {
  // `make(kind)` returns a view: { element, show(row) }. `act(row, key)` is told of keys that are not movements.
  constructor(container, make, act) {
    this._container = container;
    this._make = make;
    this._act = act;
    this._rows = [];
    this._tops = new Float64Array(1);
    this._views = new Map();
    this._spare = new Map();
    this._current = null;
    this._heights = new Map();
    this._asked = false;
    addEventListener("scroll", () => this.ask(), { passive: true });
    addEventListener("resize", () => this.measure());
    container.addEventListener("keydown", (event) => this._key(event));
    container.addEventListener("focusin", (event) => this._focused(event));
  }

  // Replace the rows; views of rows that stay keep their elements.
  rows(rows) {
    this._rows = rows;
    this._layout();
  }

  // Heights may have changed: another width, other letters.
  measure() {
    this._heights.clear();
    this._layout();
  }

  // Show again what is on screen, before the next frame.
  ask() {
    if (this._asked) return;
    this._asked = true;
    requestAnimationFrame(() => {
      this._asked = false;
      this._render();
    });
  }

  _height(kind) {
    let height = this._heights.get(kind);
    if (height === undefined) {
      height = parseFloat(getComputedStyle(this._container).getPropertyValue(`--row-${kind}`)) || 32;
      this._heights.set(kind, height);
    }
    return height;
  }

  _layout() {
    const tops = new Float64Array(this._rows.length + 1);
    for (let at = 0; at < this._rows.length; at += 1) tops[at + 1] = tops[at] + this._height(this._rows[at].kind);
    this._tops = tops;
    const height = `${tops[this._rows.length]}px`;
    if (this._container.style.height !== height) this._container.style.height = height;
    attribute(this._container, "data-rows", this._rows.length);
    this._render();
  }

  _first(top) {
    let low = 0;
    let high = this._rows.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this._tops[middle + 1] <= top) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  _render() {
    if (!this._container.offsetParent) return;
    const above = this._container.getBoundingClientRect().top;
    const from = this._first(Math.max(0, -above - MARGIN));
    const bottom = innerHeight - above + MARGIN;
    const wanted = new Map();
    for (let at = from; at < this._rows.length && this._tops[at] < bottom; at += 1) wanted.set(this._rows[at].key, at);
    const held = document.activeElement?.closest?.("[data-key]");
    for (const [key, view] of this._views) {
      if (wanted.has(key) && this._rows[wanted.get(key)].kind === view.kind) continue;
      // The focused row stays while the page scrolls, or the focus would be lost.
      const still = view.element === held ? this._rows.findIndex((row) => row.key === key) : -1;
      if (still >= 0) wanted.set(key, still);
      else this._drop(key, view);
    }
    if (this._current === null || !wanted.has(this._current)) {
      if (!this._rows.some((row) => row.key === this._current)) this._current = this._rows[from]?.key ?? null;
    }
    const inOrder = [...wanted].sort((one, other) => one[1] - other[1]);
    const reachable = wanted.has(this._current) ? this._current : inOrder[0]?.[0];
    let place = this._container.firstChild;
    for (const [key, at] of inOrder) {
      const view = this._view(key, this._rows[at].kind);
      if (view.element === place) place = place.nextSibling;
      else this._container.insertBefore(view.element, place);
      const top = this._tops[at];
      if (view.top !== top) {
        view.top = top;
        view.element.style.transform = `translateY(${top}px)`;
      }
      attribute(view.element, "aria-rowindex", at + 2);
      attribute(view.element, "tabindex", key === reachable ? 0 : -1);
      view.show(this._rows[at]);
    }
  }

  _view(key, kind) {
    const known = this._views.get(key);
    if (known) return known;
    const view = this._spare.get(kind)?.pop() ?? this._make(kind);
    view.kind = kind;
    view.key = key;
    view.element.dataset.key = key;
    this._views.set(key, view);
    return view;
  }

  _drop(key, view) {
    view.element.remove();
    this._views.delete(key);
    const spare = this._spare.get(view.kind) ?? [];
    if (spare.length < 60) spare.push(view);
    this._spare.set(view.kind, spare);
  }

  _focused(event) {
    const row = event.target.closest("[data-key]");
    if (row) this._current = row.dataset.key;
  }

  _key(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const at = this._rows.findIndex((row) => row.key === event.target.closest("[data-key]")?.dataset.key);
    if (at < 0) return;
    const page = Math.max(1, Math.floor(innerHeight / this._height(this._rows[at].kind)) - 4);
    const to = {
      ArrowDown: at + 1,
      ArrowUp: at - 1,
      PageDown: at + page,
      PageUp: at - page,
      Home: 0,
      End: this._rows.length - 1,
    }[event.key];
    if (to !== undefined) this.focus(Math.min(this._rows.length - 1, Math.max(0, to)));
    else if (!this._act(this._rows[at], event.key, at)) return;
    event.preventDefault();
  }

  // Bring row number `at` to the screen and focus it.
  focus(at) {
    const row = this._rows[at];
    if (!row) return;
    this._current = row.key;
    const above = this._container.getBoundingClientRect().top;
    const top = above + this._tops[at];
    const low = parseFloat(getComputedStyle(document.documentElement).scrollPaddingTop) || 0;
    if (top < low) scrollBy(0, top - low - 8);
    else if (top + this._height(row.kind) > innerHeight) scrollBy(0, top + this._height(row.kind) - innerHeight + 8);
    this._render();
    this._views.get(row.key)?.element.focus({ preventScroll: true });
  }

  index(key) {
    return this._rows.findIndex((row) => row.key === key);
  }

  row(key) {
    return this._rows[this.index(key)];
  }
}

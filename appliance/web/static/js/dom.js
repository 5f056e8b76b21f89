// The door to the document. Texts become text, never markup; what has not changed is not written.

import { moment, span } from "./format.js";

const SVG = "http://www.w3.org/2000/svg";

// An element. `given` are its properties: "class", "text", "on" (a table of listeners); all others are attributes, left
// out where they are null or false.
export function element(tag, given = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(given)) {
    if (name === "class") made.className = value;
    else if (name === "text") text(made, value);
    else if (name === "on") for (const [event, act] of Object.entries(value)) made.addEventListener(event, act);
    else attribute(made, name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

export function byId(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`index.page has no #${id}`);
  return found;
}

export function text(node, value) {
  const wanted = String(value);
  if (node.shown === wanted) return;
  node.shown = wanted;
  node.textContent = wanted;
}

export function attribute(node, name, value) {
  if (value === null || value === undefined || value === false) {
    if (node.hasAttribute(name)) node.removeAttribute(name);
  } else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value === true ? "" : value);
}

export function className(node, value) {
  if (node.className !== value) node.className = value;
}

// Show or hide; what is hidden costs nothing.
export function visible(node, shown) {
  if (node.hidden === shown) node.hidden = !shown;
}

// One of the icons that index.page defines. It says nothing to a screen reader: a word stands beside it.
export function icon(name) {
  const picture = document.createElementNS(SVG, "svg");
  picture.setAttribute("class", "icon");
  picture.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#icon-${name}`);
  picture.append(use);
  return picture;
}

export function setIcon(picture, name) {
  const use = picture.firstChild;
  if (use.getAttribute("href") !== `#icon-${name}`) use.setAttribute("href", `#icon-${name}`);
}

// A state: icon and word in one tone.
export function badge() {
  const picture = icon("unknown");
  const word = element("span");
  const made = element("span", { class: "badge" }, picture, word);
  made.show = (state, tone, said = state) => {
    setIcon(picture, state);
    text(word, said);
    attribute(made, "data-tone", tone);
  };
  return made;
}

let clock = () => NaN;

// Say what time it is: `now()` in wall-clock seconds of the server.
export function setClock(now) {
  clock = now;
}

// How long ago something was. `tick` keeps all of them right, without anybody rendering anything.
export function since(at) {
  const made = element("time", { class: "since" });
  setSince(made, at);
  return made;
}

export function setSince(node, at) {
  if (node.at === at) return;
  node.at = at;
  text(node, Number.isFinite(at) ? span(clock() - at) : "–");
  attribute(node, "title", Number.isFinite(at) ? `since ${moment(at, clock())}` : null);
}

const ticking = document.getElementsByClassName("since");

export function tick() {
  const now = clock();
  for (const node of ticking) if (Number.isFinite(node.at)) text(node, span(now - node.at));
}

// A sparkline: an SVG of one path, in the colour of its text.
export function spark() {
  const picture = document.createElementNS(SVG, "svg");
  picture.setAttribute("class", "spark");
  picture.setAttribute("viewBox", "0 0 120 24");
  picture.setAttribute("preserveAspectRatio", "none");
  picture.setAttribute("aria-hidden", "true");
  const area = document.createElementNS(SVG, "path");
  area.setAttribute("class", "area");
  const line = document.createElementNS(SVG, "path");
  line.setAttribute("class", "line");
  picture.append(area, line);
  return picture;
}

export const SPARK = { width: 120, height: 24 };

export function draw(picture, path) {
  if (picture.drawn === path) return;
  picture.drawn = path;
  const [area, line] = picture.children;
  line.setAttribute("d", path);
  area.setAttribute("d", closed(path));
}

// The area below a line that may have gaps.
function closed(path) {
  return path
    .split("M")
    .filter((part) => part)
    .map((part) => {
      const points = part.split("L");
      const from = points[0].split(" ")[0];
      const to = points[points.length - 1].split(" ")[0];
      return `M${from} ${SPARK.height}L${points.join("L")}L${to} ${SPARK.height}Z`;
    })
    .join("");
}

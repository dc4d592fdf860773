/** Making elements. Text goes in as text nodes only, so nothing that anybody writes is ever read as HTML. */

import { ICONS } from "./icons.js";

const SVG = "http://www.w3.org/2000/svg";

/**
 * One element.
 * @param {string} tag
 * @param {object|null} [props] `class` (string or list), `on: {click: fn}`, `data: {k: v}`, `aria: {label: v}`;
 *   any other is set as a property where the element has one, else as an attribute. null and undefined are skipped.
 * @param {...(Node|string|number|null|false|undefined|Array)} children
 * @returns {HTMLElement}
 */
export function h(tag, props, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(props ?? {})) set(made, name, value);
  add(made, children);
  return made;
}

function set(made, name, value) {
  if (value === null || value === undefined) return;
  if (name === "class") made.className = Array.isArray(value) ? value.filter(Boolean).join(" ") : value;
  else if (name === "on") for (const [type, act] of Object.entries(value)) act && made.addEventListener(type, act);
  else if (name === "data") for (const [key, one] of Object.entries(value)) one != null && (made.dataset[key] = one);
  else if (name === "aria") aria(made, value);
  else if (name in made && !READ_ONLY.has(name)) made[name] = value;
  else if (value === true) made.setAttribute(name, "");
  else if (value !== false) made.setAttribute(name, String(value));
}

// These exist as properties, and take attributes only.
const READ_ONLY = new Set(["form", "list", "style", "popoverTarget"]);

/** Set `aria-*` attributes; null takes one away. */
export function aria(element, values) {
  for (const [key, value] of Object.entries(values)) {
    if (value === null || value === undefined) element.removeAttribute(`aria-${key}`);
    else element.setAttribute(`aria-${key}`, String(value));
  }
}

/** Append children as `h` takes them. */
export function add(parent, children) {
  for (const child of Array.isArray(children) ? children : [children]) {
    if (Array.isArray(child)) add(parent, child);
    else if (child instanceof Node) parent.append(child);
    else if (child !== null && child !== undefined && child !== false && child !== true) parent.append(String(child));
  }
}

/** Replace all children. */
export function fill(parent, ...children) {
  parent.replaceChildren();
  add(parent, children);
  return parent;
}

/** A fragment of children as `h` takes them. */
export function fragment(...children) {
  const made = document.createDocumentFragment();
  add(made, children);
  return made;
}

/**
 * A small icon, hidden from screen readers; the button around it carries the label.
 * @param {string} name one of icons.js; an unknown name gives a dot
 * @param {number} [size] in pixels
 * @returns {SVGElement}
 */
export function svg(name, size = 18) {
  const made = document.createElementNS(SVG, "svg");
  const fixed = {
    viewBox: "0 0 24 24",
    width: size,
    height: size,
    fill: "none",
    stroke: "currentColor",
    "stroke-width": 1.8,
  };
  for (const [key, value] of Object.entries(fixed)) made.setAttribute(key, String(value));
  for (const key of ["stroke-linecap", "stroke-linejoin"]) made.setAttribute(key, "round");
  made.setAttribute("aria-hidden", "true");
  made.setAttribute("class", "icon");
  for (const d of ICONS[name] ?? ICONS.dot) {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("d", d);
    made.append(path);
  }
  return made;
}

/** A button with an icon and a spoken label, which is its tooltip too. */
export function iconButton(icon, label, click, props = {}) {
  const shown = { type: "button", title: label, on: { click }, ...props };
  return h("button", { ...shown, class: ["icon-button", props.class], aria: { label, ...props.aria } }, svg(icon));
}

/** `n thing` or `n things`. */
export function plural(count, one, many = `${one}s`) {
  return `${count} ${count === 1 ? one : many}`;
}

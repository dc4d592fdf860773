// JSON as a tree that folds; inner parts are made when they are first opened.

import { h } from "../dom.js";
import { clip, count, parsed } from "./format.js";
import { isSecret } from "./secrets.js";

const PAGE = 50;
const LONG = 280;

/** A folding tree of `value`; the first `open` levels show at once. */
export function renderTree(value, { name = null, open = 1 } = {}) {
  return h("div", { class: "ins-tree" }, node(name, value, open));
}

function node(name, raw, open) {
  if (isSecret(name) && raw) return leaf(name, h("span", { class: "ins-null" }, "not shown"));
  const value = parsed(raw);
  const inJson = value !== raw;
  if (value === null || typeof value !== "object") return leaf(name, scalar(value));
  const entries = Object.entries(value);
  if (entries.length === 0) return leaf(name, Array.isArray(value) ? "[]" : "{}");
  return branch(name, value, entries, open, inJson);
}

function leaf(name, shown) {
  return h("div", { class: "ins-leaf" }, key(name), shown);
}

function key(name) {
  if (name === null) return null;
  return [h("span", { class: "ins-key" }, String(name)), ": "];
}

function branch(name, value, entries, open, inJson) {
  const size = Array.isArray(value) ? `[${entries.length}]` : `{${entries.length}}`;
  const summary = h("summary", {},
    key(name),
    h("span", { class: "ins-size" }, inJson ? `${size} as text` : size),
    h("span", { class: "ins-peek" }, peek(value)),
  );
  const box = h("details", {}, summary);
  const fill = () => {
    if (box.childElementCount === 1) box.append(children(entries, open - 1));
  };
  box.addEventListener("toggle", () => box.open && fill());
  if (open > 0) {
    fill();
    box.open = true;
  }
  return box;
}

function children(entries, open) {
  const list = h("div", { class: "ins-children" });
  const grow = (from) => {
    list.append(...entries.slice(from, from + PAGE).map(([name, value]) => node(name, value, open)));
    const left = entries.length - from - PAGE;
    if (left <= 0) return;
    const more = h("button", { type: "button", class: "ins-more" }, `${count(left, "more entry", "more entries")}`);
    more.addEventListener("click", () => {
      more.remove();
      grow(from + PAGE);
    });
    list.append(more);
  };
  grow(0);
  return list;
}

function peek(value) {
  const parts = Object.entries(value).slice(0, 4).map(([name, inner]) => {
    const shown = inner !== null && typeof inner === "object" ? "…" : isSecret(name) ? "…" : clip(String(inner), 24);
    return Array.isArray(value) ? shown : `${name}: ${shown}`;
  });
  return clip(parts.join(", "), 90);
}

function scalar(value) {
  if (typeof value === "string") return text(value);
  const kind = value === null ? "ins-null" : typeof value === "number" ? "ins-number" : "ins-bool";
  return h("span", { class: kind }, String(value));
}

function text(value) {
  const shown = h("span", { class: "ins-string" }, JSON.stringify(value.slice(0, LONG)));
  if (value.length <= LONG) return shown;
  const all = h("button", { type: "button", class: "ins-more" }, `all ${count(value.length, "character")}`);
  all.addEventListener("click", () => {
    shown.textContent = JSON.stringify(value);
    all.remove();
  });
  return [shown, " ", all];
}

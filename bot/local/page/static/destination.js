/** What stands in the round brackets of a link. */

import { decoded } from "./entities.js";

const LONGEST_URL = 3_000;
const DEEPEST = 32;

/** What stands in the brackets of a link: its URL and end; `{}` while it has no end, null if none. */
export function destination(text, from) {
  let at = skipped(text, from);
  let url = "";
  if (text[at] === "<") {
    const end = text.indexOf(">", at);
    if (end < 0) return {};
    url = text.slice(at + 1, end);
    at = end + 1;
  } else {
    const end = balanced(text, at);
    if (end < 0) return null;
    url = text.slice(at, end);
    at = end;
  }
  at = skipped(text, at);
  const quote = { '"': '"', "'": "'", "(": ")" }[text[at]];
  if (quote) {
    const end = text.indexOf(quote, at + 1);
    if (end < 0) return {};
    at = skipped(text, end + 1);
  }
  if (at >= text.length) return {};
  return text[at] === ")" ? { url: decoded(url.replace(/\\([!-/:-@[-`{-~])/g, "$1")), end: at + 1 } : null;
}

function skipped(text, at) {
  while (text[at] === " " || text[at] === "\n") at += 1;
  return at;
}

function balanced(text, from) {
  let depth = 0;
  const most = Math.min(text.length, from + LONGEST_URL);
  for (let at = from; at < most; at += 1) {
    const one = text[at];
    if (one === "\\") at += 1;
    else if (one === " " || one === "\n") return at;
    else if (one === "(" && ++depth > DEEPEST) return -1;
    else if (one === ")" && --depth < 0) return at;
  }
  return most === text.length ? most : -1;
}

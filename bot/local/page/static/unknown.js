/** What this page does not know is shown as what it is, never left out. */

import { codeBlock } from "./code.js";
import { h } from "./dom.js";

const MOST = 20_000;

/**
 * A box that names the type, with the whole JSON folded.
 * @param {unknown} thing
 * @param {string} what it is one of
 */
export function unknown(thing, what = "block") {
  const type = thing && typeof thing === "object" && typeof thing.type === "string" ? thing.type : typeof thing;
  const title = h("span", {}, `This page does not know the ${what} `, h("code", {}, type.slice(0, 100)));
  return h("details", { class: "unknown" }, h("summary", {}, title), codeBlock(written(thing), "json"));
}

/**
 * What `make` gives; where it cannot cope with the thing, the thing itself, and the others stay.
 * @param {() => Node | null | undefined} make
 * @param {unknown} thing
 * @param {string} what it is one of
 */
export function guarded(make, thing, what) {
  try {
    return make() ?? unknown(thing, what);
  } catch (error) {
    reportError(error);
    return unknown(thing, what);
  }
}

function written(thing) {
  const text = JSON.stringify(thing, null, 2) ?? String(thing);
  return text.length > MOST ? `${text.slice(0, MOST)}\n… and ${text.length - MOST} more characters` : text;
}

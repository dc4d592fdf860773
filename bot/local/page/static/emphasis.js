/** Which marks of emphasis belong together, as CommonMark has it; in linear time. */

import { h } from "./dom.js";

const SPACE = /\s/;
const PUNCTUATION = /[\p{P}\p{S}]/u;
const MOST_UNCLOSED = 4; // marks that are shown as if they were closed

/** The character that ends there. */
export function characterBefore(text, at) {
  const low = text.charCodeAt(at - 1);
  return low >= 0xdc00 && low <= 0xdfff ? text.slice(at - 2, at) : text[at - 1];
}

/** Whether such a mark can open, and whether it can close, between these characters. */
export function flanks(sign, before, after) {
  const [spaceBefore, spaceAfter] = [SPACE.test(before), SPACE.test(after)];
  const [signBefore, signAfter] = [PUNCTUATION.test(before), PUNCTUATION.test(after)];
  const left = !spaceAfter && (!signAfter || spaceBefore || signBefore);
  const right = !spaceBefore && (!signBefore || spaceAfter || signAfter);
  if (sign !== "_") return { opens: left, closes: right };
  return { opens: left && (!right || signBefore), closes: right && (!left || signAfter) };
}

/** The items as nodes: marks that belong together become elements, the others are text. */
export function emphasised(items, open) {
  const state = { out: [], stack: [], openers: { "*": 0, _: 0, "~": 0 } };
  for (const item of items) {
    if (typeof item === "string" || item instanceof Node) state.out.push(item);
    else if (item.mark) addMark(state, item, open && item.ends);
    else state.out.push(item.bracket);
  }
  // What was never closed is text; while the text grows, the last of it is shown as if it were closed.
  for (let left = open ? MOST_UNCLOSED : 0; left && state.stack.length; left -= 1) {
    const { sign, size, item } = state.stack.at(-1);
    if (item.loose && state.out.length) fold(state, [wrapped(sign, size, state.out)]);
    else fold(state, [sign.repeat(size), ...state.out]);
  }
  flatten(state, 0);
  return state.out;
}

/** Ends what was opened last: these stand behind what stood before it. */
function fold(state, inner) {
  const top = state.stack.pop();
  state.openers[top.sign] -= 1;
  for (const one of inner) top.before.push(one);
  state.out = top.before;
}

/** All that was opened from there on and not closed is text. */
function flatten(state, from) {
  if (state.stack.length <= from) return;
  const all = [];
  for (const { sign, size, before } of state.stack.splice(from)) {
    for (const one of before) all.push(one);
    all.push(sign.repeat(size));
    state.openers[sign] -= 1;
  }
  for (const one of state.out) all.push(one);
  state.out = all;
}

function addMark(state, item, growing) {
  let left = item.closes ? closeMarks(state, item, growing) : item.size;
  if (left && item.opens && (item.mark !== "~" || left <= 2)) {
    state.stack.push({ sign: item.mark, size: left, before: state.out, item });
    state.openers[item.mark] += 1;
    state.out = [];
    left = 0;
  }
  if (left && !growing) state.out.push(item.mark.repeat(left));
}

/** Closes as much as these marks can; how many of them are left. */
function closeMarks(state, item, growing) {
  let left = item.size;
  while (left && state.openers[item.mark]) {
    flatten(state, state.stack.findLastIndex((one) => one.sign === item.mark) + 1);
    const top = state.stack.at(-1);
    if (growing && left < top.size) return 0; // half of what closes it
    if (item.mark === "~" && top.size !== left) return left;
    const used = item.mark === "~" ? left : Math.min(2, top.size, left);
    const inner = [wrapped(item.mark, used, state.out)];
    left -= used;
    top.size -= used;
    if (top.size) state.out = inner;
    else fold(state, inner);
  }
  return left;
}

function wrapped(sign, size, children) {
  if (sign === "~") return h("s", {}, children);
  if (size === 1) return h("em", {}, children);
  return h("strong", {}, size > 2 ? h("em", {}, children) : children); // of more than two nothing says how
}

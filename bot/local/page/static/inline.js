/**
 * Markdown within a block: emphasis, code, links, breaks, emoji and Slack's own tokens, as nodes.
 * The time is linear in the text. With `open` the text still grows: what is not closed yet is shown
 * as it will look once it is, and half a mark is not shown at all.
 */

import { destination } from "./destination.js";
import { h } from "./dom.js";
import { characterBefore, emphasised, flanks } from "./emphasis.js";
import { decoded, entityAt } from "./entities.js";
import { anchor, safeUrl, trimmedUrl } from "./links.js";
import { emojiNode, slackToken } from "./text.js";

const PLAIN = /[^\\`*_~[\]!<&\n:hw]+/y;
const TICKS = /`+/y;
const BARE = /(?:https?:\/\/|www\.)[^\s<>`|]+/iy;
const SHORTCODE = /:([a-z0-9_+'-]{1,100})(?:::skin-tone-([2-6]))?:/y;
const WORD = /[\p{L}\p{N}_]/u;
const ESCAPED = /[!-/:-@[-`{-~]/;
const LONGEST_URL = 3_000;
const LONGEST_LABEL = 300;

/**
 * @param {string} text
 * @param {{open?: boolean, definitions?: Map<string, string> | null}} [how]
 * @returns {DocumentFragment}
 */
export function renderInline(text, how = {}) {
  const fragment = document.createDocumentFragment();
  fragment.append(...new Inline(text, how.open ?? false, how.definitions ?? null).nodes());
  return fragment;
}

/** How a reference is compared: without its case, and all space as one. */
export function labelOf(text) {
  return text.trim().replace(/\s+/g, " ").toLowerCase();
}

class Inline {
  constructor(text, open, definitions) {
    this.text = text;
    this.open = open;
    this.definitions = definitions;
    this.at = 0;
    this.items = []; // Node | string | {mark, size, opens, closes} | {bracket, image, active, at}
    this.brackets = [];
    this.unclosed = new Set(); // lengths of backticks that nothing closes any more
  }

  nodes() {
    while (this.at < this.text.length) this.step();
    if (this.open) this.pendingLabel();
    return emphasised(this.items, this.open);
  }

  step() {
    PLAIN.lastIndex = this.at;
    const plain = PLAIN.exec(this.text);
    if (plain) {
      this.say(plain[0]);
      this.at += plain[0].length;
      if (this.at >= this.text.length) return;
    }
    const read = READERS[this.text[this.at]];
    if (!read.call(this)) this.say(this.text[this.at++]);
  }

  say(text) {
    const last = this.items.length - 1;
    if (typeof this.items[last] === "string") this.items[last] += text;
    else this.items.push(text);
  }

  rest() {
    return this.text.length - this.at;
  }

  escape() {
    const next = this.text[this.at + 1];
    if (next === "\n") {
      this.items.push(h("br"));
    } else if (next !== undefined && ESCAPED.test(next)) {
      this.say(next);
    } else {
      if (next === undefined && this.open) return Boolean(++this.at);
      return false;
    }
    this.at += 2;
    return true;
  }

  newline() {
    const last = this.items.length - 1;
    if (typeof this.items[last] === "string") this.items[last] = this.items[last].replace(/ +$/, "");
    this.items.push(h("br"));
    this.at += 1;
    while (this.text[this.at] === " ") this.at += 1;
    return true;
  }

  code() {
    TICKS.lastIndex = this.at;
    const ticks = TICKS.exec(this.text)[0];
    const begin = this.at + ticks.length;
    const end = this.unclosed.has(ticks.length) ? -1 : this.closing(ticks, begin);
    if (end >= 0) {
      this.items.push(h("code", {}, spanText(this.text.slice(begin, end))));
      this.at = end + ticks.length;
      return true;
    }
    this.unclosed.add(ticks.length);
    if (this.open) {
      const code = this.text.slice(begin).replace(/`+$/, "");
      if (code) this.items.push(h("code", {}, spanText(code)));
      this.at = this.text.length;
      return true;
    }
    this.say(ticks);
    this.at = begin;
    return true;
  }

  closing(ticks, from) {
    let end = this.text.indexOf(ticks, from);
    while (end >= 0) {
      TICKS.lastIndex = end;
      const found = TICKS.exec(this.text)[0];
      if (found.length === ticks.length) return end;
      end = this.text.indexOf(ticks, end + found.length);
    }
    return -1;
  }

  mark() {
    const sign = this.text[this.at];
    let end = this.at;
    while (this.text[end] === sign) end += 1;
    const size = end - this.at;
    const before = this.at ? characterBefore(this.text, this.at) : " ";
    const after = end < this.text.length ? String.fromCodePoint(this.text.codePointAt(end)) : " ";
    this.items.push({ mark: sign, size, ...flanks(sign, before, after), ends: end === this.text.length, loose: !WORD.test(before) });
    this.at = end;
    return true;
  }

  bracket(image = false) {
    const item = { bracket: image ? "![" : "[", image, active: true, begin: this.at + (image ? 2 : 1) };
    this.brackets.push(item);
    this.items.push(item);
    this.at = item.begin;
    return true;
  }

  bang() {
    return this.text[this.at + 1] === "[" && this.bracket(true);
  }

  closeBracket() {
    const opener = this.brackets.pop();
    if (!opener) return false;
    const label = this.text.slice(opener.begin, this.at);
    const found = opener.active ? this.target(label) : null;
    if (found === null) return false;
    const inner = emphasised(this.items.splice(this.items.lastIndexOf(opener)).slice(1), false);
    this.items.push(opener.image ? imageLink(found.url, label) : linkOf(found.url, inner));
    if (!opener.image) for (const one of this.brackets) one.active = one.image && one.active;
    this.at = found.end;
    return true;
  }

  /** Where the bracket that ends here leads, and where that ends; null where nowhere. */
  target(label) {
    if (this.text[this.at + 1] === "(") {
      const found = destination(this.text, this.at + 2);
      if (found?.url !== undefined && safeUrl(found.url) !== null) return found;
      if (found === null || found.url !== undefined) return null;
      return this.open ? { url: null, end: this.text.length } : null;
    }
    if (this.open && this.rest() === 1 && !this.definitions?.size) return { url: null, end: this.text.length };
    return this.reference(label);
  }

  reference(label) {
    if (!this.definitions?.size) return null;
    const second = /^\[([^[\]]{0,300})\]/.exec(this.text.slice(this.at + 1, this.at + 304));
    const url = this.definitions.get(labelOf(second?.[1] || label));
    return url === undefined ? null : { url, end: this.at + 1 + (second ? second[0].length : 0) };
  }

  /** A label that is still being written is shown as a link already. */
  pendingLabel() {
    const opener = this.brackets.findLast((one) => one.active);
    if (!opener || this.text.length - opener.begin > LONGEST_LABEL) return;
    if (this.text.indexOf("\n", opener.begin) >= 0) return;
    const inner = this.items.splice(this.items.lastIndexOf(opener)).slice(1);
    if (inner.length) this.items.push(linkOf(null, emphasised(inner, true)));
  }

  angle() {
    const end = this.text.indexOf(">", this.at);
    const line = this.text.indexOf("\n", this.at);
    if (end < 0 || end - this.at > LONGEST_URL || (line >= 0 && line < end)) return this.openAngle(end, line);
    const node = slackToken(this.text.slice(this.at + 1, end));
    if (node === null) return false;
    this.items.push(node);
    this.at = end + 1;
    return true;
  }

  openAngle(end, line) {
    if (!this.open || end >= 0 || line >= 0) return false;
    const inner = this.text.slice(this.at + 1);
    if (/^(?:https?:\/\/|mailto:)/.test(inner)) this.items.push(linkOf(null, [inner]));
    else if (!/^(?:[@#!][\w^|-]*|h|ht|htt|https?:?\/?)?$/.test(inner)) return false;
    this.at = this.text.length;
    return true;
  }

  entity() {
    const found = entityAt(this.text, this.at);
    if (found) {
      this.say(found.text);
      this.at = found.end;
      return true;
    }
    if (this.open && /^&#?\w{0,10}$/.test(this.text.slice(this.at, this.at + 13)) && this.rest() < 8) {
      this.at = this.text.length;
      return true;
    }
    return false;
  }

  bare() {
    if (this.at && WORD.test(this.text[this.at - 1])) return false;
    BARE.lastIndex = this.at;
    const found = BARE.exec(this.text)?.[0];
    if (!found) return false;
    const shown = trimmedUrl(found);
    const url = shown[0].toLowerCase() === "w" ? `http://${shown}` : shown;
    if (safeUrl(decoded(url)) === null || !/\.|localhost|\d/.test(shown.slice(4))) return false;
    this.items.push(linkOf(decoded(url), [decoded(shown)]));
    this.at += shown.length;
    return true;
  }

  emoji() {
    SHORTCODE.lastIndex = this.at;
    const found = SHORTCODE.exec(this.text);
    const node = found && emojiNode(found[1], Number(found[2] ?? 0));
    if (!node) return false;
    this.items.push(node);
    this.at += found[0].length;
    return true;
  }
}

const READERS = {
  "\\": Inline.prototype.escape,
  "\n": Inline.prototype.newline,
  "`": Inline.prototype.code,
  "*": Inline.prototype.mark,
  _: Inline.prototype.mark,
  "~": Inline.prototype.mark,
  "[": Inline.prototype.bracket,
  "]": Inline.prototype.closeBracket,
  "!": Inline.prototype.bang,
  "<": Inline.prototype.angle,
  "&": Inline.prototype.entity,
  h: Inline.prototype.bare,
  w: Inline.prototype.bare,
  ":": Inline.prototype.emoji,
};

function linkOf(url, children) {
  if (url === null) return h("span", { class: "link-pending" }, children);
  return anchor(url, ...(children.length ? children : [url]));
}

function imageLink(url, label) {
  const sign = h("span", { class: "picture-sign", aria: { hidden: "true" } }, "▨ ");
  return linkOf(url, [sign, label.trim() || url || "image"]);
}

function spanText(code) {
  const text = code.replace(/\n/g, " ");
  return /^ .*[^ ].* $/.test(text) || /^ .*\S.* $/.test(text) ? text.slice(1, -1) : text;
}

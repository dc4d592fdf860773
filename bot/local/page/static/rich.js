/** Slack's rich_text block as nodes (docs.slack.dev/reference/block-kit/blocks/rich-text-block). */

import { codeBlock } from "./code.js";
import { h } from "./dom.js";
import { anchor } from "./links.js";
import { moment } from "./moment.js";
import { channelNode, emojiNode, groupNode, userNode } from "./text.js";
import { unknown } from "./unknown.js";

const DEEPEST = 8;
const STYLES = [["code", "code"], ["bold", "strong"], ["italic", "em"], ["strike", "s"], ["underline", "u"]];
const COLOUR = /^#[0-9a-f]{3}(?:[0-9a-f]{3})?$/i;

/**
 * @param {{elements?: object[]}} block
 * @returns {DocumentFragment}
 */
export function renderRichText(block) {
  const fragment = document.createDocumentFragment();
  const elements = Array.isArray(block?.elements) ? block.elements : [];
  for (let at = 0; at < elements.length; ) {
    if (elements[at]?.type === "rich_text_list") {
      let end = at;
      while (elements[end]?.type === "rich_text_list") end += 1;
      fragment.append(...lists(elements.slice(at, end)));
      at = end;
    } else {
      fragment.append(part(elements[at++]));
    }
  }
  return fragment;
}

function part(element) {
  switch (element?.type) {
    case "rich_text_section":
      return h("div", { class: "rich-section" }, inlines(element.elements));
    case "rich_text_quote":
      return h("blockquote", { class: element.border ? "bordered" : null }, inlines(element.elements));
    case "rich_text_preformatted":
      return codeBlock(wordsOf(element.elements), element.language ?? "");
    default:
      return unknown(element, "rich text");
  }
}

// ------------------------------------------------------------------ lists

/** Lists follow each other flat, each with its depth; a deeper one belongs to the item before it. */
function lists(flat) {
  const top = [];
  const open = []; // [depth, style, list]
  for (const one of flat) {
    const depth = Math.min(Math.max(0, one.indent ?? 0), DEEPEST);
    const ordered = one.style === "ordered";
    while (open.length && (open.at(-1).depth > depth || (open.at(-1).depth === depth && open.at(-1).ordered !== ordered))) open.pop();
    let into = open.at(-1);
    if (!into || into.depth < depth) {
      const list = h(ordered ? "ol" : "ul", { class: [`depth-${depth % 3}`, one.border ? "bordered" : ""] });
      if (ordered && one.offset) list.setAttribute("start", String(one.offset + 1));
      const parent = into?.list.lastElementChild;
      if (parent) parent.append(list);
      else top.push(list);
      if (!into && depth) list.classList.add(`indent-${Math.min(depth, 4)}`);
      into = { depth, ordered, list };
      open.push(into);
    }
    for (const item of one.elements ?? []) into.list.append(h("li", {}, item?.type === "rich_text_section" ? inlines(item.elements) : part(item)));
  }
  return top;
}

// ------------------------------------------------------------------ inline

function inlines(elements) {
  return (Array.isArray(elements) ? elements : []).map(inline);
}

function inline(element) {
  const make = INLINE[element?.type];
  return make ? styled(make(element), element.style) : unknown(element, "rich text");
}

function styled(node, style) {
  let made = node;
  for (const [name, tag] of STYLES) if (style?.[name]) made = h(tag, {}, made);
  if (style?.client_highlight || style?.highlight) made = h("mark", {}, made);
  return made;
}

const INLINE = {
  text: (one) => withBreaks(String(one.text ?? "")),
  link: (one) => anchor(one.url, one.text || one.url || ""),
  user: (one) => userNode(one.user_id ?? ""),
  channel: (one) => channelNode(one.channel_id ?? ""),
  usergroup: (one) => groupNode(one.usergroup_id ?? ""),
  team: (one) => h("span", { class: "mention" }, `@${one.team_id}`),
  broadcast: (one) => h("span", { class: "mention mention-all" }, `@${one.range}`),
  emoji: (one) => emojiNode(String(one.name), one.skin_tone) ?? fromUnicode(one),
  date: (one) => moment(Number(one.timestamp), String(one.format ?? ""), one.fallback ?? "", one.url ?? ""),
  color: (one) => colour(String(one.value ?? "")),
};

function withBreaks(text) {
  const fragment = document.createDocumentFragment();
  text.split("\n").forEach((line, place) => {
    if (place) fragment.append(h("br"));
    fragment.append(line);
  });
  return fragment;
}

function fromUnicode(one) {
  const codes = String(one.unicode ?? "").split("-").map((code) => Number.parseInt(code, 16));
  const known = codes.length && codes.every((code) => code > 0 && code <= 0x10ffff);
  return h("span", { class: known ? "emoji" : "emoji-unknown", title: `:${one.name}:` }, known ? String.fromCodePoint(...codes) : `:${one.name}:`);
}

function colour(value) {
  const dot = h("span", { class: "colour-dot", aria: { hidden: "true" } });
  if (COLOUR.test(value)) dot.style.backgroundColor = value;
  return h("span", { class: "colour" }, dot, h("code", {}, value));
}

/** The bare words of inline elements, as preformatted text has them. */
function wordsOf(elements) {
  return (Array.isArray(elements) ? elements : []).map((one) => one?.text ?? one?.url ?? (one?.user_id && `@${one.user_id}`) ?? (one?.name && `:${one.name}:`) ?? "").join("");
}

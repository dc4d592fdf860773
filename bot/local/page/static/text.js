/**
 * Slack's own markup (mrkdwn) and plain text as nodes. Nothing in it is ever read as HTML: whatever
 * is no mark of Slack's stays the letters that it is. docs.slack.dev/messaging/formatting-message-text
 */

import { h } from "./dom.js";
import { glyph } from "./emoji.js";
import { unescaped } from "./entities.js";
import { anchor, safeUrl, trimmedUrl } from "./links.js";
import { moment } from "./moment.js";
import { store } from "./store.js";

const ITEM = /^( *)([•◦▪*-]|(\d{1,3})[.)])[ \t]+(?=\S)/;
const QUOTE = /^(?:&gt;|>) ?/;
const WHOLE_QUOTE = /^(?:&gt;&gt;&gt;|>>>)[ \n]?/;
const FENCE = "```";
const SHORTCODE = /:([a-z0-9_+'-]{1,100})(?:::skin-tone-([2-6]))?:/y;
const BARE = /https?:\/\/[^\s<>`|]+/y;
const WORD = /[\p{L}\p{N}]/u;
const SIGNS = { "*": "strong", _: "em", "~": "s" };
const SPECIAL = /[^*_~`<:h]+/y;

/**
 * @param {string} text
 * @param {{verbatim?: boolean}} [how] verbatim: what looks like a link is none
 * @returns {DocumentFragment}
 */
export function renderMrkdwn(text, how = {}) {
  const fragment = document.createDocumentFragment();
  const parts = String(text ?? "").split(FENCE);
  if (parts.length % 2 === 0) {
    // What is opened last and never closed is no fence.
    const last = parts.pop();
    parts[parts.length - 1] += FENCE + last;
  }
  parts.forEach((part, at) => {
    if (at % 2) fragment.append(preformatted(part));
    else lines(fragment, part.slice(at && part[0] === "\n" ? 1 : 0, at < parts.length - 1 && part.at(-1) === "\n" ? -1 : undefined), how);
  });
  return fragment;
}

/**
 * @param {string} text
 * @param {{emoji?: boolean}} [how] emoji: `:names:` become pictures, as Slack does unless told not to
 * @returns {DocumentFragment}
 */
export function renderPlain(text, how = {}) {
  const fragment = document.createDocumentFragment();
  const said = String(text ?? "");
  if (how.emoji === false) {
    fragment.append(said);
    return fragment;
  }
  let from = 0;
  for (let at = said.indexOf(":"); at >= 0; at = said.indexOf(":", at)) {
    const found = shortcode(said, at);
    if (!found) {
      at += 1;
      continue;
    }
    fragment.append(said.slice(from, at), found.node);
    at = from = found.end;
  }
  fragment.append(said.slice(from));
  return fragment;
}

/** A text object of Slack's, or a bare string: `plain_text` or `mrkdwn`. */
export function renderText(object, otherwise = "mrkdwn") {
  if (object === null || object === undefined) return document.createDocumentFragment();
  if (typeof object === "string") return otherwise === "mrkdwn" ? renderMrkdwn(object) : renderPlain(object);
  if (object.type === "mrkdwn") return renderMrkdwn(object.text, { verbatim: object.verbatim });
  return renderPlain(object.text, { emoji: object.emoji });
}

/** An emoji by its name; null where the name is none that is known here. */
export function emojiNode(name, tone = 0) {
  const sign = glyph(tone ? `${name}::skin-tone-${tone}` : name);
  return sign === null ? null : h("span", { class: "emoji", title: `:${name}:` }, sign);
}

function preformatted(text) {
  const said = unescaped(text.replace(/^\n/, "").replace(/\n$/, "")).replace(/<((?:https?:\/\/|mailto:)[^<>|]+)(?:\|([^<>]*))?>/g, (_, url, label) => label || url);
  return h("pre", { class: "plain-code", tabindex: "0", role: "group", aria: { label: "Code" } }, h("code", {}, said));
}

// ------------------------------------------------------------------ lines

function lines(parent, text, how) {
  if (!text) return;
  const whole = how.quoted ? -1 : text.search(/(?:^|\n)(?:&gt;&gt;&gt;|>>>)/);
  if (whole >= 0) {
    const begin = text[whole] === "\n" ? whole + 1 : whole;
    lines(parent, text.slice(0, whole), how);
    quoted(parent, text.slice(begin).replace(WHOLE_QUOTE, ""), how);
    return;
  }
  const all = text.split("\n");
  for (let at = 0; at < all.length; ) {
    const kind = kindOf(all[at], how);
    let end = at + 1;
    while (end < all.length && kindOf(all[end], how) === kind) end += 1;
    LINES[kind](parent, all.slice(at, end), how);
    at = end;
  }
}

// Slack's quotes do not nest.
function quoted(parent, text, how) {
  const quote = h("blockquote");
  lines(quote, text, { ...how, quoted: true });
  parent.append(quote);
}

function kindOf(line, how) {
  if (!how.quoted && QUOTE.test(line)) return "quote";
  const item = ITEM.exec(line);
  if (!item) return "words";
  return item[3] === undefined ? "bullets" : "numbers";
}

const LINES = {
  quote: (parent, all, how) => quoted(parent, all.map((line) => line.replace(QUOTE, "")).join("\n"), how),
  bullets: (parent, all, how) => parent.append(h("ul", {}, all.map((line) => itemOf(line, how)))),
  numbers: (parent, all, how) => parent.append(h("ol", {}, all.map((line) => itemOf(line, how)))),
  words: (parent, all, how) => {
    all.forEach((line, place) => {
      if (place) parent.append(h("br"));
      words(parent, line, how);
    });
  },
};

function itemOf(line, how) {
  const [found, indent, , number] = ITEM.exec(line);
  const row = h("li", { class: indent.length > 1 ? `indent-${Math.min(4, Math.floor(indent.length / 2))}` : null });
  if (number) row.value = Number(number);
  words(row, line.slice(found.length), how);
  return row;
}

// ------------------------------------------------------------------ words

function words(parent, line, how) {
  const none = new Set(); // signs that nothing closes in the rest of the line
  let said = "";
  const flush = () => {
    if (said) parent.append(unescaped(said));
    said = "";
  };
  for (let at = 0; at < line.length; ) {
    SPECIAL.lastIndex = at;
    const run = SPECIAL.exec(line)?.[0] ?? "";
    said += run;
    at += run.length;
    const found = at < line.length ? special(line, at, none, how) : null;
    if (found) {
      flush();
      parent.append(found.node);
      at = found.end;
    } else if (at < line.length) {
      said += line[at++];
    }
  }
  flush();
}

function special(line, at, none, how) {
  switch (line[at]) {
    case "<":
      return token(line, at);
    case ":":
      return shortcode(line, at);
    case "`":
      return span(line, at, none);
    case "h":
      return how.verbatim ? null : bare(line, at);
    default:
      return emphasis(line, at, none, how);
  }
}

function token(line, at) {
  const end = line.indexOf(">", at);
  const node = end < 0 ? null : slackToken(line.slice(at + 1, end));
  return node && { node, end: end + 1 };
}

function shortcode(line, at) {
  SHORTCODE.lastIndex = at;
  const found = SHORTCODE.exec(line);
  const node = found && emojiNode(found[1], Number(found[2] ?? 0));
  return node && { node, end: at + found[0].length };
}

function span(line, at, none) {
  const end = none.has("`") ? -1 : line.indexOf("`", at + 1);
  if (end < 0) none.add("`");
  if (end <= at + 1) return null;
  return { node: h("code", {}, unescaped(line.slice(at + 1, end))), end: end + 1 };
}

function bare(line, at) {
  if (at && WORD.test(line[at - 1])) return null;
  BARE.lastIndex = at;
  const found = BARE.exec(line)?.[0];
  const url = found && trimmedUrl(found);
  if (!url || safeUrl(unescaped(url)) === null) return null;
  return { node: anchor(unescaped(url), unescaped(url)), end: at + url.length };
}

function emphasis(line, at, none, how) {
  const sign = line[at];
  const before = at ? line[at - 1] : " ";
  if (none.has(sign) || WORD.test(before) || before === sign || !line[at + 1] || /\s/.test(line[at + 1]) || line[at + 1] === sign) return null;
  for (let end = line.indexOf(sign, at + 2); end >= 0; end = line.indexOf(sign, end + 1)) {
    const after = line[end + 1] ?? " ";
    if (/\s/.test(line[end - 1]) || WORD.test(after) || after === sign) continue;
    const node = h(SIGNS[sign]);
    words(node, line.slice(at + 1, end), how);
    return { node, end: end + 1 };
  }
  none.add(sign);
  return null;
}

// ------------------------------------------------------------------ tokens

/**
 * What stands between `<` and `>`: a mention, a date or a link; null for anything else.
 * @param {string} inner
 * @returns {Node | null}
 */
export function slackToken(inner) {
  const bar = inner.indexOf("|");
  const target = bar < 0 ? inner : inner.slice(0, bar);
  const label = bar < 0 ? "" : unescaped(inner.slice(bar + 1));
  if (/^@[UWB][A-Z0-9_]+$/.test(target)) return userNode(target.slice(1), label);
  if (/^#[CGD][A-Z0-9_]+$/.test(target)) return channelNode(target.slice(1), label);
  if (target.startsWith("!")) return command(target.slice(1), label);
  const url = unescaped(target);
  if (/^[\w.+-]+@[\w-]+(?:\.[\w-]+)+$/.test(url)) return anchor(`mailto:${url}`, label || url);
  if (safeUrl(url) === null) return null;
  return anchor(url, label || url.replace(/^mailto:/, ""));
}

function command(said, label) {
  const [name, ...rest] = said.split("^");
  if (["here", "channel", "everyone", "group"].includes(name)) return mention(`@${name}`, "mention mention-all");
  if (name === "subteam" && rest[0]) return groupNode(rest[0], label);
  if (name === "date" && rest.length >= 2) return moment(Number(rest[0]), unescaped(rest[1]), label, rest[2] ? unescaped(rest.slice(2).join("^")) : "");
  return null;
}

function mention(text, className, data = {}) {
  return h("span", { class: className, data }, text);
}

/** A person, by the name that the workspace has for them. */
export function userNode(id, label = "") {
  const user = store.state.users.get(id);
  const node = mention(`@${user?.real_name || user?.name || label.replace(/^@/, "") || id}`, "mention", { user: id });
  node.classList.toggle("mention-me", id === store.me);
  if (user) node.title = `${user.real_name || user.name} · @${user.name}`;
  return node;
}

/** A channel, as a way there where it is one that the page has. */
export function channelNode(id, label = "") {
  const channel = store.state.channels.get(id);
  const name = `#${channel?.name || label || id}`;
  if (!channel || channel.kind === "im") return mention(channel ? "direct message" : name, "mention");
  const go = (event) => {
    event.preventDefault();
    store.go({ view: "channel", channel: id, thread_ts: null });
  };
  return h("a", { class: "mention", href: `#/${encodeURIComponent(id)}`, on: { click: go } }, name);
}

/** A group of people; one that the acting person is in stands out. */
export function groupNode(id, label = "") {
  const group = store.state.groups.get(id);
  const node = mention(`@${group?.handle || label.replace(/^@/, "") || id}`, "mention", { group: id });
  node.classList.toggle("mention-me", isIn(id));
  if (group) node.title = group.name || group.handle;
  return node;
}

// Another person acts: what speaks to them stands out.
store.on("me", () => {
  for (const one of document.querySelectorAll(".mention[data-user]")) one.classList.toggle("mention-me", one.dataset.user === store.me);
  for (const one of document.querySelectorAll(".mention[data-group]")) one.classList.toggle("mention-me", isIn(one.dataset.group));
});

function isIn(group) {
  return Boolean(store.state.groups.get(group)?.users?.includes(store.me));
}

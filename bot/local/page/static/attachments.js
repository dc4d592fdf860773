/** Attachments, the older kind of message parts, with their bar of colour (docs.slack.dev/legacy). */

import { renderBlocks } from "./blocks.js";
import { h } from "./dom.js";
import { anchor, picture } from "./links.js";
import { moment } from "./moment.js";
import { renderMrkdwn, renderPlain } from "./text.js";
import { guarded } from "./unknown.js";

const NAMED = { good: "var(--ok)", warning: "var(--warn)", danger: "var(--danger)" };
const KNOWN = ["blocks", "text", "title", "pretext", "fields", "image_url", "thumb_url", "author_name", "footer", "fallback"];

/**
 * @param {object[]} attachments
 * @param {object} ctx as `renderBlocks` takes it
 * @returns {DocumentFragment}
 */
export function renderAttachments(attachments, ctx) {
  const fragment = document.createDocumentFragment();
  for (const one of Array.isArray(attachments) ? attachments : []) {
    const known = KNOWN.some((name) => one?.[name]);
    fragment.append(guarded(() => (known ? attachment(one, ctx) : null), { type: "attachment", ...one }, "attachment"));
  }
  return fragment;
}

function attachment(one, ctx) {
  const box = h("div", { class: "attachment-body" }, author(one), titled(one), text(one), fields(one),
    one.blocks?.length ? renderBlocks(one.blocks, ctx) : null,
    one.image_url ? picture(one.image_url, one.fallback || "image") : null,
    !one.image_url && one.thumb_url ? picture(one.thumb_url, one.fallback || "image", { class: "attachment-thumb" }) : null, footer(one));
  const outer = h("div", { class: "attachment-box" }, box);
  const colour = NAMED[one.color] ?? (/^#?[0-9a-f]{3}(?:[0-9a-f]{3})?$/i.test(one.color ?? "") ? `#${String(one.color).replace("#", "")}` : null);
  if (colour) outer.style.setProperty("--bar", colour);
  return h("div", { class: "attachment-with" }, one.pretext ? h("div", { class: "mrkdwn" }, renderMrkdwn(one.pretext)) : null, outer);
}

function author(one) {
  const name = one.author_name || one.service_name;
  return name ? h("div", { class: "attachment-author" }, one.author_link ? anchor(one.author_link, name) : name) : null;
}

function titled(one) {
  const url = one.title_link || one.from_url;
  return one.title ? h("div", { class: "attachment-title" }, url ? anchor(url, renderPlain(one.title)) : renderPlain(one.title)) : null;
}

function text(one) {
  const said = one.text || (one.blocks?.length || one.title || one.fields?.length || one.image_url || one.footer ? "" : one.fallback);
  return said ? h("div", { class: "mrkdwn" }, renderMrkdwn(said)) : null;
}

function fields(one) {
  if (!Array.isArray(one.fields) || !one.fields.length) return null;
  return h("dl", { class: "attachment-fields" }, one.fields.map((field) =>
    h("div", { class: field.short ? "short" : "long" }, h("dt", {}, renderMrkdwn(field.title ?? "")), h("dd", {}, renderMrkdwn(field.value ?? "")))));
}

function footer(one) {
  if (!one.footer && !one.ts) return null;
  const when = one.ts ? moment(Number(one.ts), "{date_short_pretty} at {time}") : null;
  return h("div", { class: "attachment-footer" }, one.footer ? renderMrkdwn(one.footer) : null, one.footer && when ? " · " : null, when);
}

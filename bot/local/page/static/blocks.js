/**
 * Slack's blocks as nodes (docs.slack.dev/reference/block-kit/blocks). A block that is not known, or
 * that is broken, is shown as what it is; none is ever left out.
 */

import { authProvider, card, carousel, container } from "./cards.js";
import { h, svg } from "./dom.js";
import { renderElement } from "./elements.js";
import { anchor, picture, safeUrl } from "./links.js";
import { renderMarkdown } from "./markdown.js";
import { freshId, plainOf } from "./naming.js";
import { renderRichText } from "./rich.js";
import { chart, dataTable, table } from "./tables.js";
import { renderPlan, renderTask } from "./tasks.js";
import { renderText } from "./text.js";
import { guarded } from "./unknown.js";

export { renderAttachments } from "./attachments.js";

const LEVELS = { default: "info", info: "info", warning: "warn", error: "warn", success: "check" };
const LEVEL_NAMES = { info: "Note", warning: "Warning", error: "Error", success: "Success" };

/**
 * @param {object[]} blocks
 * @param {{on: "message"|"view", id: string, channel?: string, values?: object, errors?: object,
 *   ephemeral?: boolean, changed?: (block_id: string) => void}} ctx where they stand: a message's ts or a view's id
 * @returns {DocumentFragment}
 */
export function renderBlocks(blocks, ctx) {
  const fragment = document.createDocumentFragment();
  for (const block of Array.isArray(blocks) ? blocks : []) fragment.append(drawn(block, ctx));
  return fragment;
}

function drawn(block, ctx) {
  const type = String(block?.type);
  const make = Object.hasOwn(MAKERS, type) ? MAKERS[type] : null;
  const props = { class: `block block-${make ? type.replaceAll("_", "-") : "unknown"}`, data: { block: block?.block_id } };
  return h("div", props, guarded(() => make?.(block, ctx, renderBlocks), block, "block"));
}

const MAKERS = {
  section,
  context,
  divider: () => h("hr"),
  header: (block) => h("h3", { class: "header-text" }, renderText(block.text, "plain_text")),
  image,
  video,
  file: (block) => h("span", { class: "away" }, svg("file", 16), `File ${block.external_id ?? block.file_id ?? ""} from ${block.source ?? "elsewhere"}`),
  actions: (block, ctx) => h("div", { class: "act-row" }, elementsOf(block).map((one) => renderElement(one, ctx, block))),
  context_actions: (block, ctx) => h("div", { class: "act-row small" }, elementsOf(block).map((one) => renderElement(one, ctx, block))),
  input,
  markdown: (block) => h("div", { class: "markdown" }, renderMarkdown(String(block.text ?? ""))),
  rich_text: (block) => h("div", { class: "rich-text" }, renderRichText(block)),
  table,
  data_table: dataTable,
  data_visualization: chart,
  task_card: renderTask,
  plan: (block) => renderPlan(typeof block.title === "string" ? block.title : plainOf(block.title), block.tasks),
  alert,
  card,
  carousel,
  container,
  auth_provider: authProvider,
};

function elementsOf(block) {
  return Array.isArray(block.elements) ? block.elements : [];
}

// ------------------------------------------------------------------ text

function section(block, ctx) {
  const words = h("div", { class: "section-words" });
  if (block.text) words.append(h("div", { class: "mrkdwn" }, renderText(block.text)));
  if (Array.isArray(block.fields) && block.fields.length) {
    words.append(h("div", { class: "fields" }, block.fields.map((one) => h("div", { class: "mrkdwn" }, renderText(one)))));
  }
  if (!block.accessory) return words;
  const wide = /checkboxes|radio_buttons/.test(block.accessory.type);
  return h("div", { class: wide ? "section-with wide" : "section-with" }, words, h("div", { class: "accessory" }, renderElement(block.accessory, ctx, block)));
}

function context(block, ctx) {
  return h("div", { class: "context" }, elementsOf(block).map((one) => {
    if (one?.type === "image") return picture(one.image_url ?? one.slack_file?.url, one.alt_text, { class: "context-image", small: true });
    return one?.type === "mrkdwn" || one?.type === "plain_text" ? h("span", { class: "mrkdwn" }, renderText(one)) : renderElement(one, ctx, block);
  }));
}

function alert(block) {
  const level = Object.hasOwn(LEVELS, block.level) ? block.level : "default";
  const name = LEVEL_NAMES[level];
  return h("div", { class: `alert ${level}`, role: "note", aria: { label: name ?? "Note" } }, svg(LEVELS[level], 18), h("div", { class: "mrkdwn" }, renderText(block.text)));
}

// ------------------------------------------------------------------ pictures

function image(block) {
  const url = block.image_url ?? block.slack_file?.url ?? (block.slack_file?.id ? `/_page/files/${encodeURIComponent(block.slack_file.id)}` : "");
  const title = block.title ? h("figcaption", {}, renderText(block.title, "plain_text")) : null;
  return h("figure", { class: "image" }, title, picture(url, block.alt_text));
}

function video(block) {
  const name = plainOf(block.title) || block.alt_text || "Video";
  const title = h("strong", {}, block.title_url ? anchor(block.title_url, name) : name);
  const from = [block.provider_name, block.author_name].filter(Boolean).join(" · ");
  const href = safeUrl(block.video_url);
  const play = h("span", { class: "video-play" }, svg("play", 16), href ? anchor(href, "Watch") : String(block.video_url ?? ""));
  return h("figure", { class: "video" }, from && h("span", { class: "muted" }, from), title, block.description && h("div", {}, renderText(block.description, "plain_text")), play);
}

// ------------------------------------------------------------------ input

function input(block, ctx) {
  const [label, id, hint, wrong] = [freshId("label"), freshId(), freshId("hint"), freshId("wrong")];
  const error = ctx.errors?.[block.block_id];
  const title = plainOf(block.label);
  const named = {
    id, labelledby: label, title, invalid: Boolean(error), required: !block.optional,
    describedby: [error && wrong, block.hint && hint].filter(Boolean).join(" ") || null,
  };
  const grouped = /checkboxes|radio_buttons/.test(block.element?.type);
  const name = h(grouped ? "span" : "label", { class: "input-label", id: label, for: grouped ? null : id },
    renderText(block.label, "plain_text"), block.optional ? h("span", { class: "input-optional" }, " (optional)") : null);
  return h("div", { class: error ? "input invalid" : "input" }, name, renderElement(block.element, ctx, block, named),
    h("span", { class: "input-error", id: wrong, hidden: !error }, svg("warn", 14), h("span", {}, error ?? "")),
    block.hint ? h("span", { class: "input-hint", id: hint }, renderText(block.hint, "plain_text")) : null);
}

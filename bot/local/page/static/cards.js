/** Blocks that hold others or look like a card: card, carousel, container, auth_provider. */

import { h, svg } from "./dom.js";
import { renderElement } from "./elements.js";
import { anchor, picture, safeUrl } from "./links.js";
import { plainOf } from "./naming.js";
import { renderRichText } from "./rich.js";
import { renderText } from "./text.js";

const WIDTHS = new Set(["narrow", "standard", "wide", "full"]);

function imageOf(one, how) {
  return one ? picture(one.image_url ?? one.slack_file?.url, one.alt_text, how) : null;
}

/** A card. */
export function card(block, ctx) {
  const head = h("div", { class: "card-head" }, imageOf(block.icon, { class: "card-icon", small: true }),
    h("div", { class: "card-names" }, block.title ? h("div", { class: "card-title mrkdwn" }, renderText(block.title)) : null,
      block.subtitle ? h("div", { class: "card-subtitle mrkdwn" }, renderText(block.subtitle)) : null));
  return h("div", { class: "card" }, block.hero_image ? h("div", { class: "card-hero" }, imageOf(block.hero_image, {})) : null,
    block.title || block.subtitle || block.icon ? head : null,
    block.body ? h("div", { class: "card-body mrkdwn" }, renderText(block.body)) : null,
    block.subtext ? h("div", { class: "card-subtitle mrkdwn" }, renderText(block.subtext)) : null,
    block.actions?.length ? h("div", { class: "act-row" }, block.actions.map((one) => renderElement(one, ctx, block))) : null);
}

/** Cards beside each other. */
export function carousel(block, ctx, render) {
  return h("div", { class: "carousel", role: "group", tabindex: "0", aria: { label: "Cards" } }, render(block.elements, ctx));
}

/** A box around other blocks, that may fold. */
export function container(block, ctx, render) {
  const title = block.rich_text_title ? h("div", {}, renderRichText(block.rich_text_title)) : h("div", {}, renderText(block.title, "plain_text"));
  const head = [imageOf(block.icon, { class: "card-icon", small: true }), h("div", { class: "card-names" },
    h("div", { class: "card-title" }, title), block.subtitle ? h("div", { class: "card-subtitle" }, renderText(block.subtitle)) : null)];
  const inner = h("div", { class: "container-body" }, render(block.child_blocks, ctx));
  const props = { class: ["container-box", WIDTHS.has(block.width) ? block.width : "standard", block.has_header_divider && "ruled"] };
  if (!block.is_collapsible) return h("div", props, h("div", { class: "card-head" }, head), inner);
  const fold = h("details", props, h("summary", { class: "card-head" }, head, svg("down", 14)), inner);
  fold.open = !block.default_collapsed;
  return fold;
}

/** Whether somebody's account elsewhere is connected. */
export function authProvider(block, ctx) {
  const name = plainOf(block.name) || String(block.value ?? "Account");
  const who = [plainOf(block.connected_identity), plainOf(block.connected_context)].filter(Boolean).join(" · ");
  const url = block.is_connected ? block.disconnect_url : block.auth_url;
  const word = block.is_connected ? "Disconnect" : "Connect";
  return h("div", { class: "card auth" }, h("div", { class: "card-head" },
    block.icon_url ? picture(block.icon_url, name, { class: "card-icon", small: true }) : svg("link", 20),
    h("div", { class: "card-names" }, h("div", { class: "card-title" }, name),
      h("div", { class: "card-subtitle" }, block.is_connected ? `Connected${who ? ` as ${who}` : ""}` : plainOf(block.description) || "Not connected")),
    url && safeUrl(url) ? anchor(url, word) : h("span", { class: "muted" }, word),
    block.accessory ? renderElement(block.accessory, ctx, block) : null));
}

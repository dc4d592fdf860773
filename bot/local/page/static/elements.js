/**
 * What can be pressed and filled in (docs.slack.dev/reference/block-kit/block-elements). Elements act by
 * themselves; an unknown kind is shown as such.
 */

import { checkboxes, radios, selectMany, selectOne } from "./choices.js";
import { h, iconButton, svg } from "./dom.js";
import { fileInput, picker, textInput } from "./inputs.js";
import { picture, safeUrl } from "./links.js";
import { openMenu } from "./menu.js";
import { agreed, press, pressable } from "./pressing.js";
import { renderText } from "./text.js";
import { unknown } from "./unknown.js";
import { wayTo } from "./ways.js";

export { press } from "./pressing.js";

const PAUSES_MS = [50, 500, 2_000]; // until the app has changed its message
const ICONS = { trash: "trash", delete: "trash", edit: "edit", copy: "copy", link: "link", refresh: "refresh", star: "star", download: "download", info: "info" };

/**
 * One element of a block.
 * @param {object} element
 * @param {object} ctx see blocks.js
 * @param {{block_id?: string, dispatch_action?: boolean, type?: string}} block where it stands
 * @param {{id?: string, labelledby?: string, describedby?: string, invalid?: boolean, required?: boolean}} [named] by an input block
 * @returns {Node}
 */
export function renderElement(element, ctx, block, named = {}) {
  const make = Object.hasOwn(MAKERS, element?.type) ? MAKERS[element.type] : null;
  return make ? make(element, ctx, block, named) : unknown(element, "element");
}

const MAKERS = {
  button,
  workflow_button: button,
  overflow,
  feedback_buttons: feedback,
  icon_button: iconOnly,
  image: (element) => picture(element.image_url ?? element.slack_file?.url, element.alt_text, { class: "accessory-image", small: true }),
  checkboxes,
  radio_buttons: radios,
  static_select: selectOne,
  external_select: selectOne,
  users_select: selectOne,
  conversations_select: selectOne,
  channels_select: selectOne,
  multi_static_select: selectMany,
  multi_external_select: selectMany,
  multi_users_select: selectMany,
  multi_conversations_select: selectMany,
  multi_channels_select: selectMany,
  datepicker: picker,
  timepicker: picker,
  datetimepicker: picker,
  plain_text_input: textInput,
  email_text_input: textInput,
  url_text_input: textInput,
  number_input: textInput,
  rich_text_input: textInput,
  file_input: fileInput,
  mrkdwn: (element) => h("span", {}, renderText(element)),
  plain_text: (element) => h("span", {}, renderText(element)),
};

// ------------------------------------------------------------------ buttons

function button(element, ctx, block) {
  const what = { action_id: element.action_id, block_id: block.block_id, value: element.value, text: element.text?.text };
  const style = element.style === "primary" || element.style === "danger" ? element.style : "";
  const props = { class: ["button", "act", style], data: { action: element.action_id }, aria: { label: spoken(element) } };
  const href = element.url ? safeUrl(element.url) : null;
  const label = h("span", { class: "act-label" }, renderText(element.text, "plain_text"));
  const way = href ? wayTo(href) : null;
  const to = way ? { href: way.href } : { href, target: "_blank", rel: "noreferrer noopener" };
  const node = href
    ? h("a", { ...props, ...to, title: href }, label, svg(way ? "right" : "external", 14))
    : h("button", { ...props, type: "button" }, label);
  node.addEventListener("click", (event) => pressed(event, node, { element, ctx, what, way }));
  return pressable(node, ctx, what, { visible: element.visible_to_user_ids });
}

// The spoken name has to hold the written one, so that people can say what they see.
function spoken(element) {
  const [label, text] = [element.accessibility_label, element.text?.text];
  if (!label || !text) return label || null;
  return label.toLowerCase().includes(text.toLowerCase()) ? label : `${text}: ${label}`;
}

async function pressed(event, node, { element, ctx, what, way = null }) {
  const busy = node.getAttribute("aria-busy") === "true";
  if (busy || element.confirm || way) event.preventDefault();
  if (busy || !(await agreed(element.confirm))) return;
  const card = node.closest("article");
  const sent = press(ctx, what);
  // What leads out of the page does so by itself, unless somebody had to be asked first.
  if (way) way.go();
  else if (node.href && element.confirm) window.open(node.href, "_blank", "noreferrer,noopener");
  await sent;
  if (card) for (const pause of PAUSES_MS) setTimeout(() => stayNear(node, card), pause);
}

// A card that was decided has no buttons any more: the focus goes to the card and not to nowhere.
function stayNear(node, card) {
  if (!node.isConnected && document.activeElement === document.body) card.focus({ preventScroll: true });
}

function overflow(element, ctx, block) {
  const what = { action_id: element.action_id, block_id: block.block_id };
  const node = iconButton("more", element.accessibility_label || "More actions", () => openMenu(node, items, { label: "More actions" }), {
    class: "overflow", aria: { haspopup: "menu", expanded: "false" }, data: { action: element.action_id },
  });
  const items = (element.options ?? []).map((option) => ({
    label: h("span", {}, renderText(option.text, "plain_text")),
    note: option.description?.text,
    run: async () => {
      const href = option.url && safeUrl(option.url);
      if (!(await agreed(element.confirm))) return;
      const way = href && wayTo(href);
      if (way) way.go();
      else if (href) window.open(href, "_blank", "noreferrer,noopener");
      await press(ctx, { ...what, value: option.value ?? option.text?.text });
    },
  }));
  return pressable(node, ctx, what);
}

function feedback(element, ctx, block) {
  const what = { action_id: element.action_id, block_id: block.block_id };
  const group = h("span", { class: "feedback", role: "group", aria: { label: "Feedback" } });
  const one = (asked, sign, name) => {
    const title = asked?.text?.text || name;
    const aria = { label: asked?.accessibility_label || title, pressed: "false" };
    const node = h("button", { type: "button", class: "feedback-button", title, aria }, thumb(sign));
    node.addEventListener("click", async () => {
      for (const other of group.children) other.setAttribute("aria-pressed", String(other === node));
      const failure = await press(ctx, { ...what, value: asked?.value });
      if (failure) node.setAttribute("aria-pressed", "false");
    });
    return node;
  };
  group.append(one(element.positive_button, "up", "Good"), one(element.negative_button, "down", "Bad"));
  return pressable(group, ctx, what);
}

const THUMB = "M7 10.5v9.5H4v-9.5zM7 18.5c1.5 1 3 1.5 5 1.5h4.2a2 2 0 0 0 2-1.6l1.2-6a2 2 0 0 0-2-2.4H14l.7-4.2A1.6 1.6 0 0 0 12 4.4l-5 6.1";

function thumb(direction) {
  const icon = svg("dot", 18);
  icon.classList.add(`thumb-${direction}`);
  icon.firstElementChild.setAttribute("d", THUMB);
  return icon;
}

function iconOnly(element, ctx, block) {
  const what = { action_id: element.action_id, block_id: block.block_id, value: element.value, text: element.text?.text };
  const label = element.accessibility_label || element.text?.text || element.icon || "Action";
  const node = iconButton(ICONS[element.icon] ?? "dot", label, (event) => pressed(event, node, { element, ctx, what }), { data: { action: element.action_id } });
  return pressable(node, ctx, what, { visible: element.visible_to_user_ids });
}

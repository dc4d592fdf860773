/** What choices and inputs have in common: how they are called, and when the app hears of them. */

import { agreed, press } from "./pressing.js";
import { keepValue } from "./typed.js";
import { renderText } from "./text.js";

const KINDS = {
  static_select: "Choose an option", external_select: "Choose an option", users_select: "Choose a person",
  conversations_select: "Choose a conversation", channels_select: "Choose a channel",
  multi_static_select: "Choose options", multi_external_select: "Choose options", multi_users_select: "Choose people",
  multi_conversations_select: "Choose conversations", multi_channels_select: "Choose channels",
  datepicker: "Choose a date", timepicker: "Choose a time", datetimepicker: "Choose a date and time",
  checkboxes: "Choose any", radio_buttons: "Choose one", file_input: "Choose files", plain_text_input: "Text",
  email_text_input: "Email address", url_text_input: "Address of a page", number_input: "Number", rich_text_input: "Text",
};
let count = 0;

/** An id that nothing else on the page has. */
export function freshId(prefix = "f") {
  count += 1;
  return `${prefix}-${count}`;
}

/** What an element is called where nothing names it. */
export function kindName(element) {
  return plainOf(element.placeholder) || KINDS[element.type] || "Choose";
}

/** A text object as bare text, emoji included. */
export function plainOf(object) {
  if (!object) return "";
  const holder = document.createElement("span");
  holder.append(renderText(object, "plain_text"));
  return holder.textContent;
}

/** Gives a control the name that its input block has for it, or one of its own. */
export function nameIt(node, element, named) {
  if (named.id) node.id = named.id;
  if (named.labelledby) node.setAttribute("aria-labelledby", named.labelledby);
  else if (!named.id || node.matches("fieldset, [role=group]")) node.setAttribute("aria-label", element.accessibility_label || kindName(element));
  if (named.describedby) node.setAttribute("aria-describedby", named.describedby);
  if (named.invalid) node.setAttribute("aria-invalid", "true");
  if (named.required && node.matches("input, select, textarea")) node.setAttribute("aria-required", "true");
  if (element.focus_on_load) node.setAttribute("autofocus", "");
  node.dataset.action = element.action_id;
  return node;
}

/** Whether the app hears of every choice: always, but in an input block only where that says so. */
export function dispatches(block) {
  return block.type !== "input" || block.dispatch_action === true;
}

/**
 * Somebody chose: it is kept, and told where the app wants to hear of it.
 * @returns {Promise<boolean>} false where they thought better of it
 */
export async function chosen(ctx, block, element, value) {
  if (!dispatches(block)) {
    keepValue(ctx, block, element, value);
    ctx.changed?.(block.block_id);
    return true;
  }
  if (!(await agreed(element.confirm))) return false;
  keepValue(ctx, block, element, value);
  ctx.changed?.(block.block_id);
  await press(ctx, { action_id: element.action_id, block_id: block.block_id, value });
  return true;
}

/** Fields that people type into: text, addresses, numbers, dates and times, files. */

import { h } from "./dom.js";
import { chosen, dispatches, kindName, nameIt, plainOf } from "./naming.js";
import { press, pressable } from "./pressing.js";
import { keepValue, valueOf } from "./typed.js";

const TYPES = { email_text_input: "email", url_text_input: "url", plain_text_input: "text", number_input: "text" };
const LONG = 3_000;
const SHOWN_FROM = 0.8; // of what a field takes, before the rest is counted
const PAUSE_MS = 400;

// ------------------------------------------------------------------ text

/** A line or more of text. */
export function textInput(element, ctx, block, named) {
  const many = element.multiline || element.type === "rich_text_input";
  const node = many ? h("textarea", { class: "field", rows: 4 }) : h("input", { class: "field", type: TYPES[element.type], autocomplete: "off" });
  nameIt(node, element, named);
  if (element.type === "number_input") node.inputMode = element.is_decimal_allowed ? "decimal" : "numeric";
  node.placeholder = plainOf(element.placeholder);
  node.value = valueOf(ctx, block, element) ?? "";
  const counter = h("span", { class: "field-count", aria: { live: "polite" } });
  const count = () => tell(counter, element, node.value.length);
  node.addEventListener("input", () => {
    keepValue(ctx, block, element, node.value);
    ctx.changed?.(block.block_id);
    count();
  });
  if (block.dispatch_action) hear(node, element, ctx, block);
  count();
  const note = element.type === "rich_text_input" ? h("span", { class: "field-note" }, "The local Slack does not send this field.") : null;
  const box = h("span", { class: "field-box" }, node, counter, note);
  return block.dispatch_action ? pressable(box, ctx, { action_id: element.action_id, block_id: block.block_id }) : box;
}

function tell(counter, element, length) {
  const most = element.max_length ?? (element.type === "number_input" ? Infinity : LONG);
  const left = most - length;
  counter.textContent = length > most * SHOWN_FROM ? `${left} left` : "";
  counter.classList.toggle("over", left < 0);
}

// The app hears of what is typed: at Enter, at each pause, or at both, as it asked.
function hear(node, element, ctx, block) {
  const on = element.dispatch_action_config?.trigger_actions_on ?? ["on_enter_pressed"];
  const send = () => press(ctx, { action_id: element.action_id, block_id: block.block_id, value: node.value });
  if (on.includes("on_enter_pressed")) {
    node.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      send();
    });
  }
  if (!on.includes("on_character_entered")) return;
  let timer = 0;
  node.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(send, PAUSE_MS);
  });
}

// ------------------------------------------------------------------ dates and times

const PICKERS = { datepicker: "date", timepicker: "time", datetimepicker: "datetime-local" };

/** A date, a time, or both. */
export function picker(element, ctx, block, named) {
  const node = nameIt(h("input", { class: "field picker", type: PICKERS[element.type] }), element, named);
  const both = element.type === "datetimepicker";
  const show = (value) => (node.value = both ? localOf(value) : (value ?? ""));
  show(valueOf(ctx, block, element));
  node.title = kindName(element);
  let before = node.value;
  node.addEventListener("change", async () => {
    if (!node.value) return;
    const value = both ? Math.floor(new Date(node.value).getTime() / 1000) : node.value;
    if (await chosen(ctx, block, element, value)) before = node.value;
    else node.value = before;
  });
  return dispatches(block) ? pressable(node, ctx, { action_id: element.action_id, block_id: block.block_id }) : node;
}

function localOf(seconds) {
  if (!Number.isFinite(Number(seconds)) || seconds === null || seconds === "") return "";
  const at = new Date(Number(seconds) * 1000);
  const local = new Date(at.getTime() - at.getTimezoneOffset() * 60_000);
  return Number.isNaN(local.getTime()) ? "" : local.toISOString().slice(0, 16);
}

// ------------------------------------------------------------------ files

/** Files, which the local Slack does not send with a form. */
export function fileInput(element, ctx, block, named) {
  const types = (element.filetypes ?? []).map((one) => `.${one}`).join(",");
  const node = nameIt(h("input", { class: "field file-field", type: "file", accept: types }), element, named);
  node.multiple = (element.max_files ?? 10) > 1;
  node.addEventListener("change", () => {
    keepValue(ctx, block, element, [...node.files].map((file) => file.name));
    ctx.changed?.(block.block_id);
  });
  return h("span", { class: "field-box" }, node, h("span", { class: "field-note" }, "The local Slack does not send this field."));
}

// ------------------------------------------------------------------ what is wrong

/**
 * What Slack's form says against what stands in an input; null when nothing.
 * @param {object} block an input block
 * @param {unknown} value
 * @returns {string | null}
 */
export function wrong(block, value) {
  const { element } = block;
  const empty = value === null || value === undefined || value === "" || (Array.isArray(value) && !value.length);
  if (empty) return block.optional || element.type === "rich_text_input" ? null : "Please complete this required field.";
  if (typeof value === "string") {
    const most = element.max_length ?? LONG;
    if (value.length > most) return `This is too long by ${value.length - most} characters.`;
    if (value.length < (element.min_length ?? 0)) return `Please write at least ${element.min_length} characters.`;
  }
  return KINDS[element.type]?.(value, element) ?? null;
}

const KINDS = {
  email_text_input: (value) => (/^[^\s@]+@[^\s@]+\.[^\s@]+$/.test(value) ? null : "Please enter a valid email address."),
  url_text_input: (value) => (/^https?:\/\/[^\s.]+\S*$/.test(value) ? null : "Please enter a valid URL, with http:// or https://."),
  number_input: (value, element) => {
    const number = Number(value);
    if (Number.isNaN(number)) return "Please enter a number.";
    if (!element.is_decimal_allowed && !Number.isInteger(number)) return "Please enter a whole number.";
    if (element.min_value !== undefined && number < Number(element.min_value)) return `Please enter ${element.min_value} or more.`;
    if (element.max_value !== undefined && number > Number(element.max_value)) return `Please enter ${element.max_value} or less.`;
    return null;
  },
};

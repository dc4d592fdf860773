/** Menus, checkboxes and radio buttons, of options, people and places, one or many. */

import { h, svg } from "./dom.js";
import { openPopover } from "./menu.js";
import { chosen, dispatches, freshId, kindName, nameIt, plainOf } from "./naming.js";
import { pressable } from "./pressing.js";
import { store } from "./store.js";
import { renderText } from "./text.js";
import { keepValue, valueOf } from "./typed.js";

const SEARCH_FROM = 8; // options, below that nobody needs to search
const CHIPS = 6;
const PLACES = { channel: "public", group: "private", im: "im", mpim: "mpim" };

// ------------------------------------------------------------------ what can be chosen

/** @returns {{label: string | null, options: {value: string, label: string, note: string}[]}[]} */
function groupsOf(element, ctx) {
  const kind = element.type.replace("multi_", "");
  if (kind === "users_select") return [{ label: null, options: people() }];
  if (kind === "channels_select") return [{ label: null, options: places({ include: ["public"] }) }];
  if (kind === "conversations_select") return [{ label: null, options: places(element.filter ?? {}, ctx) }];
  if (element.option_groups) return element.option_groups.map((group) => ({ label: plainOf(group.label), options: (group.options ?? []).map(optionOf) }));
  const options = element.options ?? [element.initial_option, ...(element.initial_options ?? [])].filter(Boolean);
  return [{ label: null, options: options.map(optionOf) }];
}

function optionOf(option) {
  return { value: String(option?.value ?? ""), label: plainOf(option?.text), note: plainOf(option?.description) };
}

function people() {
  const all = [...store.state.users.values()].filter((user) => !user.deleted);
  return all.map((user) => ({ value: user.id, label: user.real_name || user.name, note: `@${user.name}` })).sort(byLabel);
}

function places(filter) {
  const wanted = filter.include?.length ? new Set(filter.include) : null;
  const all = [...store.state.channels.values()].filter((place) => !place.archived && (!wanted || wanted.has(PLACES[place.kind])));
  const seen = all.filter((place) => place.kind === "channel" || place.members?.includes(store.me));
  return seen.filter((place) => !(filter.exclude_external_shared_channels && place.shared_with?.length)).map((place) => ({ value: place.id, label: placeName(place), note: "" })).sort(byLabel);
}

function placeName(place) {
  if (place.kind === "channel" || place.kind === "group") return `#${place.name}`;
  const others = (place.members ?? []).filter((id) => id !== store.me).map((id) => store.state.users.get(id)?.real_name || store.state.users.get(id)?.name || id);
  return others.join(", ") || place.name || place.id;
}

function byLabel(one, other) {
  return one.label.localeCompare(other.label);
}

// ------------------------------------------------------------------ one of them

/** A menu of which one thing is chosen. */
export function selectOne(element, ctx, block, named) {
  const groups = groupsOf(element, ctx);
  const known = valueOf(ctx, block, element);
  const value = known ?? (element.default_to_current_conversation ? (ctx.channel ?? null) : null);
  if (known === null && value !== null) keepValue(ctx, block, element, value);
  const node = nameIt(h("select", { class: "field select" }), element, named);
  const nothing = h("option", { value: "" }, kindName(element));
  nothing.disabled = named.required ?? true;
  node.append(nothing, ...groups.flatMap(optionNodes));
  if (element.type === "external_select" && !groups[0].options.length) return notAsked(node);
  if (value && ![...node.options].some((one) => one.value === value)) node.append(h("option", { value }, String(value)));
  node.value = value ?? "";
  node.classList.toggle("empty", !node.value);
  let before = node.value;
  node.addEventListener("change", async () => {
    node.classList.toggle("empty", !node.value);
    if (await chosen(ctx, block, element, node.value)) before = node.value;
    else node.value = before;
  });
  return told(h("span", { class: "select-box" }, node, svg("down", 14)), element, ctx, block);
}

function optionNodes(group) {
  const options = group.options.map((one) => h("option", { value: one.value }, one.note && one.note[0] !== "@" ? `${one.label} – ${one.note}` : one.label));
  return group.label === null ? options : h("optgroup", { label: group.label }, options);
}

function notAsked(node) {
  node.disabled = true;
  node.value = "";
  const note = h("span", { class: "field-note" }, "The local Slack asks no app for options.");
  return h("span", { class: "select-box" }, node, svg("down", 14), note);
}

function told(node, element, ctx, block) {
  if (!dispatches(block)) return node;
  return pressable(node, ctx, { action_id: element.action_id, block_id: block.block_id });
}

// ------------------------------------------------------------------ many of them

/** A button that opens a list of boxes; the app hears of it once the list is closed. */
export function selectMany(element, ctx, block, named) {
  const picked = new Set(valueOf(ctx, block, element) ?? []);
  const shown = h("span", { class: "many-shown" });
  const button = h("button", { type: "button", class: "field many", aria: { haspopup: "dialog", expanded: "false" } }, shown, svg("down", 14));
  if (named.id) button.id = named.id;
  button.dataset.action = element.action_id;
  if (named.describedby) button.setAttribute("aria-describedby", named.describedby);
  const label = () => groupsOf(element, ctx).flatMap((group) => group.options);
  const draw = () => drawChips(button, shown, element, label().filter((one) => picked.has(one.value)), named.title);
  button.addEventListener("click", () => openMany(button, element, ctx, picked, draw, () => chosen(ctx, block, element, [...picked])));
  draw();
  return told(button, element, ctx, block);
}

function drawChips(button, shown, element, options, title) {
  const chips = options.slice(0, CHIPS).map((one) => h("span", { class: "picked-chip" }, one.label));
  if (options.length > CHIPS) chips.push(h("span", { class: "picked-chip" }, `+${options.length - CHIPS}`));
  shown.replaceChildren(...(chips.length ? chips : [h("span", { class: "placeholder" }, kindName(element))]));
  const says = options.length ? options.map((one) => one.label).join(", ") : "nothing chosen";
  button.setAttribute("aria-label", `${title || element.accessibility_label || kindName(element)}: ${says}`);
}

function openMany(button, element, ctx, picked, draw, done) {
  const before = [...picked].join("\n");
  const most = element.max_selected_items ?? Infinity;
  const boxes = h("div", { class: "many-list" });
  const search = h("input", { type: "search", class: "field", placeholder: "Search", aria: { label: "Search the options" } });
  const groups = groupsOf(element, ctx);
  const count = groups.reduce((sum, group) => sum + group.options.length, 0);
  const limit = () => {
    for (const box of boxes.querySelectorAll("input")) box.disabled = !box.checked && picked.size >= most;
  };
  const fill = () => {
    const wanted = search.value.trim().toLowerCase();
    boxes.replaceChildren(...groups.flatMap((group) => groupBoxes(group, wanted, picked, () => (limit(), draw()))));
    if (!boxes.childNodes.length) boxes.append(h("p", { class: "muted" }, count ? "Nothing of that name." : "There is nothing to choose."));
    limit();
  };
  search.addEventListener("input", fill);
  fill();
  const content = h("div", { class: "many-box" }, count >= SEARCH_FROM && search, most < Infinity && h("p", { class: "field-note" }, `At most ${most}.`), boxes);
  openPopover(button, content, { label: kindName(element), onClose: () => before !== [...picked].join("\n") && done() });
}

function groupBoxes(group, wanted, picked, changed) {
  const found = group.options.filter((one) => !wanted || `${one.label} ${one.note}`.toLowerCase().includes(wanted));
  const rows = found.map((one) => {
    const box = h("input", { type: "checkbox", checked: picked.has(one.value), value: one.value });
    box.addEventListener("change", () => {
      if (box.checked) picked.add(one.value);
      else picked.delete(one.value);
      changed();
    });
    return h("label", { class: "choice" }, box, h("span", {}, one.label, one.note && h("span", { class: "choice-note" }, one.note)));
  });
  return group.label !== null && rows.length ? [h("p", { class: "many-group" }, group.label), ...rows] : rows;
}

// ------------------------------------------------------------------ boxes and circles

/** Checkboxes. */
export function checkboxes(element, ctx, block, named) {
  const picked = new Set(valueOf(ctx, block, element) ?? []);
  return rows("checkbox", element, ctx, block, named, (value) => picked.has(value), (inputs) => inputs.filter((one) => one.checked).map((one) => one.value));
}

/** Radio buttons. */
export function radios(element, ctx, block, named) {
  const value = valueOf(ctx, block, element);
  return rows("radio", element, ctx, block, named, (one) => one === value, (inputs) => inputs.find((one) => one.checked)?.value ?? null);
}

function rows(type, element, ctx, block, named, isOn, read) {
  const name = freshId("choice");
  const inputs = (element.options ?? []).map((option) => h("input", { type, name, value: String(option.value), checked: isOn(option.value) }));
  const labels = (element.options ?? []).map((option, place) =>
    h("label", { class: "choice" }, inputs[place], h("span", {}, renderText(option.text), option.description && h("span", { class: "choice-note" }, renderText(option.description)))));
  const group = nameIt(h("div", { class: "choices", role: type === "radio" ? "radiogroup" : "group" }, labels), element, { ...named, required: false });
  if (!group.hasAttribute("aria-labelledby") && !group.hasAttribute("aria-label")) group.setAttribute("aria-label", kindName(element));
  let before = inputs.map((one) => one.checked);
  group.addEventListener("change", async () => {
    if (await chosen(ctx, block, element, read(inputs))) before = inputs.map((one) => one.checked);
    else inputs.forEach((one, place) => (one.checked = before[place]));
  });
  return told(group, element, ctx, block);
}

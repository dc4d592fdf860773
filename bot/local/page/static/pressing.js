/** Pressing what can be pressed: asked about first where the app wants that, pending meanwhile, and what failed. */

import { act } from "./api.js";
import { h, svg } from "./dom.js";
import { confirmed } from "./menu.js";
import { store } from "./store.js";
import { renderText } from "./text.js";
import { typedValues } from "./typed.js";

const STATES = new Map(); // key → {pending: true} | {failure}
const WORDS = {
  http_timeout: "The app did not answer in time",
  connection_failed: "The app could not be reached",
  http_error: "The app answered with an error",
  action_not_found: "This is not offered any more",
  action_not_visible: "This is not for you",
  not_in_channel: "You are not in this channel",
  message_not_found: "This message is gone",
  view_not_found: "This window is gone",
  user_deactivated: "This account is deactivated",
  unreachable: "The server cannot be reached",
};

/** In words what became of an interaction that failed. */
function inWords(failure) {
  return WORDS[failure] ?? `Something went wrong (${String(failure).replaceAll("_", " ")})`;
}

/**
 * Press one element as the acting person, with what is typed beside it.
 * @param {{on: string, id: string, channel?: string}} ctx
 * @param {{action_id: string, block_id: string, value?: unknown, text?: string}} what
 * @returns {Promise<string | null>} what failed, in words; null when the app took it
 */
export async function press(ctx, what) {
  const key = keyOf(ctx, what);
  if (STATES.get(key)?.pending) return null;
  tell(key, { pending: true });
  const failure = await sent(ctx, what);
  tell(key, failure ? { failure } : null);
  return failure;
}

async function sent(ctx, what) {
  const body = { user: store.me, on: ctx.id, action_id: what.action_id, block_id: what.block_id, values: typedValues(ctx) };
  if (ctx.on !== "view" && ctx.channel) body.channel = ctx.channel;
  if (what.value !== undefined && what.value !== null) body.value = what.value;
  if (what.text) body.text = what.text;
  try {
    const answer = await act("click", body, { quiet: true });
    const failed = answer.clicks?.find((one) => one.failure);
    return failed ? inWords(failed.failure) : null;
  } catch (error) {
    return inWords(error.name);
  }
}

/**
 * The element with a place beside it for what becomes of a press.
 * @param {HTMLElement} node what is pressed
 * @param {object} ctx
 * @param {object} what as `press` takes it; only its ids count here
 * @param {{visible?: string[]}} [how] visible: the users that see it
 */
export function pressable(node, ctx, what, how = {}) {
  const note = h("span", { class: "press-note", role: "status" });
  const box = h("span", { class: "pressable", data: { press: keyOf(ctx, what) } }, node, note);
  if (how.visible?.length) {
    box.dataset.visible = how.visible.join(" ");
    box.hidden = !how.visible.includes(store.me);
  }
  show(box);
  return box;
}

/** Ask first, where the element wants that. */
export async function agreed(confirm) {
  if (!confirm) return true;
  return confirmed({
    title: h("span", {}, renderText(confirm.title, "plain_text")),
    text: h("span", {}, renderText(confirm.text)),
    confirm: confirm.confirm?.text || "Yes",
    cancel: confirm.deny?.text || "Cancel",
    danger: confirm.style === "danger",
  });
}

function keyOf(ctx, what) {
  const chosen = what.text === undefined ? "" : `${what.value ?? ""}|${what.text}`;
  return `${ctx.channel ?? ""}/${ctx.id}|${what.block_id}|${what.action_id}|${chosen}`;
}

function tell(key, state) {
  if (state === null) STATES.delete(key);
  else STATES.set(key, state);
  for (const box of document.querySelectorAll("[data-press]")) if (box.dataset.press === key) show(box);
}

function show(box) {
  const state = STATES.get(box.dataset.press);
  const [node, note] = [box.firstElementChild, box.lastElementChild];
  box.classList.toggle("pending", Boolean(state?.pending));
  box.classList.toggle("failed", Boolean(state?.failure));
  if (state?.pending) node.setAttribute("aria-busy", "true");
  else node.removeAttribute("aria-busy");
  if (state?.failure) note.replaceChildren(svg("warn", 15), h("span", {}, state.failure));
  else note.replaceChildren();
}

// Another person acts: what only some may see comes and goes.
store.on("me", () => {
  for (const box of document.querySelectorAll("[data-visible]")) box.hidden = !box.dataset.visible.split(" ").includes(store.me);
});

/** Short notes at the foot of the page that go away by themselves. */

import { h, iconButton, svg } from "./dom.js";

const SECONDS = { info: 4, ok: 3, error: 8 };
const ICON = { info: "info", ok: "check", error: "warn" };
let region = null;

function place() {
  region ??= h("div", {
    class: "toasts",
    aria: { live: "polite", relevant: "additions" },
    role: "region",
    "aria-label": "Notices",
  });
  // An open dialog covers the page, so the notices go into it.
  const top = [...document.querySelectorAll("dialog[open]")].at(-1) ?? document.body;
  if (region.parentNode !== top) top.append(region);
  return region;
}

/**
 * Say something short.
 * @param {string} text
 * @param {{kind?: "info"|"ok"|"error", action?: {label: string, run: () => void}}} [how]
 */
export function toast(text, how = {}) {
  const kind = how.kind ?? "info";
  const same = [...(region?.children ?? [])].find((one) => one.dataset.text === text);
  same?.remove();
  const action =
    how.action &&
    h(
      "button",
      { type: "button", class: "link", on: { click: () => (how.action.run(), note.remove()) } },
      how.action.label,
    );
  const note = h(
    "div",
    { class: ["toast", kind], role: kind === "error" ? "alert" : "status", data: { testid: "toast", text } },
    svg(ICON[kind]),
    h("span", { class: "grow" }, text),
    action,
    iconButton("close", "Dismiss", () => note.remove(), { class: "small" }),
  );
  place().append(note);
  while (region.children.length > 3) region.firstElementChild.remove();
  leaveLater(note, SECONDS[kind] * 1000);
}

function leaveLater(note, after) {
  let timer = setTimeout(() => note.remove(), after);
  note.addEventListener("pointerenter", () => clearTimeout(timer));
  note.addEventListener("pointerleave", () => (timer = setTimeout(() => note.remove(), after)));
}

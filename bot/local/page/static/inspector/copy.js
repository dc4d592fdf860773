// The clipboard, and what is done where a browser gives none.

import { h } from "../dom.js";

/**
 * Copies a text and says so through `say`; where the browser refuses, shows it selected in `place`.
 */
export async function copyText(text, what, { say, place }) {
  try {
    await navigator.clipboard.writeText(text);
    say(`Copied ${what}.`);
  } catch {
    // No permission, or no secure context: the person copies by hand.
    place.replaceChildren(selectedText(text, what, place));
    place.querySelector("textarea").select();
    say("The browser keeps its clipboard closed: the text is selected, copy it by hand.");
  }
}

function selectedText(text, what, place) {
  const area = h("textarea", { class: "ins-copy-text", readOnly: true, rows: 6, aria: { label: `Text to copy: ${what}` } });
  area.value = text;
  area.addEventListener("focus", () => area.select());
  const close = h("button", { type: "button", class: "ins-button", on: { click: () => place.replaceChildren() } }, "Close");
  return h("div", { class: "ins-copy" }, h("p", {}, "Press Ctrl+C (⌘C) to copy."), area, close);
}

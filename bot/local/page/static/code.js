/** A block of code with the name of its language and a button that copies it. */

import { h } from "./dom.js";

const TOLD_MS = 1_600;

/**
 * @param {string} text
 * @param {string} [language]
 * @returns {HTMLElement}
 */
export function codeBlock(text, language = "") {
  const code = h("code", {}, text);
  const name = h("span", { class: "code-language" }, language);
  const box = h(
    "div",
    { class: "code-block", data: { language } },
    h("div", { class: "code-head" }, name, copyButton(() => code.textContent)),
    h("pre", { tabindex: "0", role: "group", aria: { label: language ? `Code, ${language}` : "Code" } }, code),
  );
  return box;
}

/** Shows more of the same code without a new element, so that focus and selection stay. */
export function growCode(box, text, language = "") {
  const code = box.querySelector("code");
  const node = code.firstChild;
  if (node === null) code.textContent = text;
  else if (text.startsWith(node.data)) node.appendData(text.slice(node.length));
  else node.data = text;
  if (box.dataset.language !== language) {
    box.dataset.language = language;
    box.querySelector(".code-language").textContent = language;
    box.querySelector("pre").setAttribute("aria-label", language ? `Code, ${language}` : "Code");
  }
}

function copyButton(read) {
  const says = h("span", {}, "Copy");
  const button = h("button", { type: "button", class: "code-copy" }, says);
  button.setAttribute("aria-label", "Copy code");
  button.addEventListener("click", async () => {
    says.textContent = (await copied(read())) ? "Copied" : "Not copied";
    button.setAttribute("aria-label", says.textContent);
    setTimeout(() => {
      says.textContent = "Copy";
      button.setAttribute("aria-label", "Copy code");
    }, TOLD_MS);
  });
  return button;
}

async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copiedBySelection(text);
  }
}

// Pages without a secure origin have no clipboard of their own.
function copiedBySelection(text) {
  const field = h("textarea", { class: "off-screen", readOnly: true });
  field.value = text;
  const before = document.activeElement;
  document.body.append(field);
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  before?.focus?.();
  return done;
}

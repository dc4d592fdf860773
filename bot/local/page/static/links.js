/** Links out of text that others wrote: only schemes that open a page or a mail ever become anchors. */

import { h } from "./dom.js";
import { wayTo } from "./ways.js";

const SCHEMES = new Set(["http:", "https:", "mailto:", "slack:"]);
const LONGEST = 3_000;

/**
 * The address if it may be an anchor, else null: whole URLs of known schemes only, never one that
 * the browser would read in another way than a person does.
 * @param {unknown} url
 * @returns {string | null}
 */
export function safeUrl(url) {
  if (typeof url !== "string" || url.length > LONGEST || /[\u0000-\u0020\u007f]/.test(url.trim())) {
    return null;
  }
  try {
    const read = new URL(url.trim());
    return SCHEMES.has(read.protocol) ? read.href : null;
  } catch {
    return null;
  }
}

/**
 * An anchor around these children, or the children alone where the address may not be one.
 * @param {string} url
 * @param {...(Node | string)} children
 */
export function anchor(url, ...children) {
  const href = safeUrl(url);
  if (href === null) return h("span", { class: "link-dead", title: "This link is not opened" }, children);
  return h("a", { class: "text-link", ...leading(href) }, children);
}

// On this page, or in a tab of its own.
function leading(href) {
  const way = wayTo(href);
  if (way === null) return { href, target: "_blank", rel: "noreferrer noopener", title: href };
  const click = (event) => {
    if (event.defaultPrevented || event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    way.go();
  };
  return { href: way.href, title: href, on: { click } };
}

/**
 * An image that others name. The page loads none from elsewhere (its CSP forbids it), so only our own
 * server's and inlined ones are drawn; any other is a link with its description.
 * @param {string} url
 * @param {string} alt
 * @param {{class?: string, small?: boolean}} [how]
 */
export function picture(url, alt, how = {}) {
  const inlined = typeof url === "string" && /^data:image\/(png|jpeg|gif|webp);base64,/.test(url);
  if (inlined || isOwn(url)) {
    return h("img", { class: how.class ?? "picture", src: url, alt: alt ?? "", loading: "lazy" });
  }
  if (how.small) {
    const letter = [...(alt || "?")][0].toUpperCase();
    return h("span", { class: `${how.class ?? ""} picture-small`, role: "img", aria: { label: alt || "image" } }, letter);
  }
  return h(
    "span",
    { class: `${how.class ?? ""} picture-away` },
    h("span", { class: "picture-sign", aria: { hidden: "true" } }, "▨"),
    h("span", {}, anchor(url, alt || url || "image")),
  );
}

function isOwn(url) {
  if (typeof url !== "string") return false;
  try {
    const read = new URL(url, location.href);
    return read.origin === location.origin && read.pathname.startsWith("/_page/files/");
  } catch {
    return false;
  }
}

/** A URL that stands in the text ends before the signs that belong to the sentence. */
export function trimmedUrl(url) {
  let end = url.length;
  let [open, close] = [url.split("(").length, url.split(")").length];
  for (;;) {
    const last = url[end - 1];
    if (last === ")" && close > open) close -= 1;
    else if (!/[.,;:!?'"*_~\]]/.test(last)) return url.slice(0, end);
    end -= 1;
  }
}

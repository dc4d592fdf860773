/** Menus and other small boxes beside what opened them; on a phone they rise from the foot of the page. */

import { h, svg } from "./dom.js";

const EDGE = 8;
let current = null;

/** Whether such a box is open. */
export function menuOpen() {
  return current !== null;
}

/** Close the open box, if there is one. */
export function closeMenu() {
  current?.close();
}

/**
 * Show `content` beside `anchor`. Esc, a click elsewhere and the function that comes back close it; the focus returns.
 * @param {HTMLElement} anchor @param {HTMLElement} content
 * @param {{label: string, focus?: HTMLElement, role?: string, onClose?: () => void, class?: string}} how
 * @returns {() => void}
 */
export function openPopover(anchor, content, how) {
  current?.close();
  const box = h(
    "div",
    { class: ["popover", how.class], role: how.role ?? "dialog", aria: { label: how.label }, popover: "manual" },
    content,
  );
  const home = anchor.closest("dialog, main, nav, aside, .topbar") ?? document.body; // its landmark, or the dialog that lies over the page
  const opened = { anchor, close };
  const outside = (event) => !box.contains(event.target) && !anchor.contains(event.target) && close(false);
  const keys = (event) => event.key === "Escape" && (event.preventDefault(), event.stopPropagation(), close());
  const moved = () => (anchor.isConnected ? settle(box, anchor) : close(false));

  function close(refocus = true) {
    if (current !== opened) return;
    current = null;
    document.removeEventListener("pointerdown", outside, true);
    document.removeEventListener("keydown", keys, true);
    removeEventListener("resize", moved);
    anchor.setAttribute("aria-expanded", "false");
    const inside = box.contains(document.activeElement);
    box.remove();
    if ((refocus || inside) && anchor.isConnected) anchor.focus({ preventScroll: true });
    how.onClose?.();
  }

  current = opened;
  home.append(box);
  box.showPopover?.();
  anchor.setAttribute("aria-expanded", "true");
  settle(box, anchor);
  document.addEventListener("pointerdown", outside, true);
  document.addEventListener("keydown", keys, true);
  addEventListener("resize", moved);
  (how.focus ?? box.querySelector("[role^=menuitem]:not([disabled]), button, input") ?? box).focus({
    preventScroll: true,
  });
  return close;
}

function settle(box, anchor) {
  const sheet = matchMedia("(width <= 720px)").matches;
  box.classList.toggle("sheet", sheet);
  if (sheet) {
    box.style.left = box.style.top = "";
    return;
  }
  const from = anchor.getBoundingClientRect();
  const { offsetWidth: width, offsetHeight: height } = box;
  const left = Math.min(
    Math.max(EDGE, from.right - width > EDGE && from.left + width > innerWidth - EDGE ? from.right - width : from.left),
    innerWidth - width - EDGE,
  );
  const below = from.bottom + 4;
  const top = below + height <= innerHeight - EDGE ? below : Math.max(EDGE, from.top - height - 4);
  box.style.left = `${Math.round(Math.max(EDGE, left))}px`;
  box.style.top = `${Math.round(top)}px`;
}

/**
 * A menu of things to do.
 * @param {HTMLElement} anchor
 * @param {({label: string, icon?: string, node?: Node, run?: () => void, danger?: boolean, disabled?: boolean, checked?: boolean, note?: string, heading?: boolean}|"line")[]} items
 * @param {{label: string, class?: string}} how
 */
export function openMenu(anchor, items, how) {
  if (current?.anchor === anchor) return current.close();
  const list = h("div", { class: "menu", role: "menu", aria: { label: how.label } });
  const close = () => closeMenu();
  list.append(...items.map((item) => menuItem(item, close)));
  list.addEventListener("keydown", (event) => moveInMenu(event, list));
  const chosen = list.querySelector("[aria-checked=true]") ?? undefined;
  return openPopover(anchor, list, { label: how.label, role: "presentation", focus: chosen, class: how.class });
}

function menuItem(item, close) {
  if (item === "line") return h("div", { role: "separator", class: "menu-line" });
  if (item.heading) return h("div", { role: "presentation", class: "menu-heading" }, item.label);
  const radio = item.checked !== undefined;
  const run = () => {
    close();
    item.run?.();
  };
  return h(
    "button",
    {
      type: "button",
      class: ["menu-item", item.danger && "danger"],
      role: radio ? "menuitemradio" : "menuitem",
      tabIndex: -1,
      disabled: Boolean(item.disabled),
      aria: { checked: radio ? item.checked : null },
      on: { click: run },
    },
    item.node ?? (item.icon && svg(item.icon)),
    h("span", { class: "grow" }, item.label, item.note && h("span", { class: "menu-note" }, item.note)),
    item.tag,
    radio && item.checked && svg("check"),
  );
}

function moveInMenu(event, list) {
  const items = [...list.querySelectorAll("[role^=menuitem]:not([disabled])")];
  const at = items.indexOf(document.activeElement);
  const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: items.length - 1 }[event.key];
  if (to !== undefined) {
    event.preventDefault();
    items.at(to % items.length)?.focus();
  } else if (event.key === "Tab") {
    event.preventDefault();
    closeMenu();
  } else if (event.key.length === 1 && /\S/.test(event.key)) {
    const letter = event.key.toLowerCase();
    const next = [...items.slice(at + 1), ...items].find((one) =>
      one.textContent.trim().toLowerCase().startsWith(letter),
    );
    next?.focus();
  }
}

/**
 * Ask before something that cannot be taken back.
 * @param {{title: string, text: string|Node, confirm: string, cancel?: string, danger?: boolean}} ask
 * @returns {Promise<boolean>}
 */
export function confirmed(ask) {
  return new Promise((resolve) => {
    const choice = (label, name, value) =>
      h("button", { type: "button", class: ["button", name], on: { click: () => dialog.close(value) } }, label);
    const yes = choice(ask.confirm, ask.danger ? "danger" : "primary", "yes");
    const no = choice(ask.cancel ?? "Cancel", "", "");
    const title = h("h2", { id: "ask-title" }, ask.title);
    const dialog = h(
      "dialog",
      { class: "ask", "aria-labelledby": "ask-title" },
      title,
      h("div", { class: "ask-text" }, ask.text),
      h("div", { class: "ask-buttons" }, no, yes),
    );
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
    document.body.append(dialog);
    dialog.showModal();
    (ask.danger ? no : yes).focus();
  });
}

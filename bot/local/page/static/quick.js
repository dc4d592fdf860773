/** The quick switch between conversations and people, and the keyboard's help. */

import { aria, fill, h, iconButton, svg } from "./dom.js";
import { become, openDm } from "./people.js";
import { avatar, badge, channelIcon, channelName, nameOf } from "./person.js";
import { listed } from "./sidebar.js";
import { isPerson, store } from "./store.js";

const MOST = 12;
const KEYS = [
  ["Ctrl K  or  /", "Go to a conversation, or act as somebody"],
  ["Alt ↑  Alt ↓", "The conversation above, below"],
  ["Enter", "Send; Shift+Enter for a new line"],
  ["↑", "In an empty field: edit your last message"],
  ["j  k  ↑  ↓", "From message to message"],
  ["Enter  or  t", "On a message: open its thread"],
  ["r  e  m", "On a message: react, edit, more"],
  ["F6", "The next pane"],
  ["Esc", "Close what is open"],
];

/** Let the person type where to go. */
export function openQuick() {
  if (document.querySelector("dialog.quick") || !store.state.ready) return;
  const field = h("input", {
    class: "field",
    type: "text",
    role: "combobox",
    placeholder: "Where to? A conversation, or a person to act as",
    autocomplete: "off",
    aria: { label: "Go to", expanded: true, controls: "quick-list", autocomplete: "list" },
  });
  const list = h("div", { class: "quick-list", id: "quick-list", role: "listbox", aria: { label: "Where to" } });
  const dialog = h("dialog", { class: "quick", aria: { label: "Go to" } }, field, list);
  const state = { at: 0, found: [] };
  const choose = (one) => {
    dialog.close();
    one?.go();
  };
  const point = (at) => {
    state.at = Math.max(0, Math.min(state.found.length - 1, at));
    [...list.querySelectorAll("[role=option]")].forEach((one, place) =>
      one.setAttribute("aria-selected", String(place === state.at)),
    );
    const chosen = list.querySelector(`#quick-${state.at}`);
    aria(field, { activedescendant: chosen?.id ?? null });
    chosen?.scrollIntoView({ block: "nearest" });
  };
  const look = () => {
    state.found = targets()
      .filter((one) => one.words.includes(field.value.trim().toLowerCase()))
      .slice(0, MOST);
    fill(
      list,
      state.found.length
        ? state.found.map((one, at) => option(one, at, choose))
        : h("div", { class: "muted empty", role: "option", "aria-disabled": "true" }, "Nothing of that name."),
    );
    point(0);
  };
  field.addEventListener("input", look);
  field.addEventListener("keydown", (event) => {
    const act = {
      ArrowDown: () => point(state.at + 1),
      ArrowUp: () => point(state.at - 1),
      Enter: () => choose(state.found[state.at]),
    }[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
  show(dialog);
  look();
}

function option(one, at, choose) {
  return h(
    "div",
    { class: "option", role: "option", id: `quick-${at}`, aria: { selected: false }, on: { click: () => choose(one) } },
    one.node,
    h("span", { class: "option-name" }, one.label),
    h("span", { class: "muted option-note" }, one.note),
    one.tag,
  );
}

function targets() {
  const { named, groups } = listed();
  const app = store.state.users.get(store.state.who.bot_user_id);
  const channel = (one) => ({
    label: channelName(one),
    note: "",
    node: h("span", { class: "side-icon" }, channelIcon(one)),
    words: `#${channelName(one)}`.toLowerCase(),
    go: () => (store.go({ channel: one.id }), store.emit("compose")),
  });
  const person = (one) => ({
    label: nameOf(one),
    note: "Act as",
    node: avatar(one, "small"),
    tag: badge(one, { rank: true }),
    words: `act as ${nameOf(one)} @${one.name}`.toLowerCase(),
    go: () => become(one),
  });
  return [
    {
      label: nameOf(app),
      note: "Direct message",
      node: avatar(app, "small"),
      tag: badge(app),
      words: `${nameOf(app)} @${app?.name}`.toLowerCase(),
      go: openDm,
    },
    {
      label: "App home",
      note: "",
      node: h("span", { class: "side-icon" }, svg("home", 16)),
      words: "app home",
      go: () => store.go({ view: "home" }),
    },
    ...[...named, ...groups].map(channel),
    ...[...store.state.users.values()].filter((one) => isPerson(one) && one.id !== store.me).map(person),
  ];
}

/** Show what the keys do. */
export function openHelp() {
  if (document.querySelector("dialog.help")) return;
  const rows = KEYS.map(([keys, words]) =>
    h(
      "div",
      null,
      h(
        "dt",
        null,
        keys.split("  ").map((key) => (key === "or" ? h("span", { class: "muted" }, "or") : h("kbd", null, key))),
      ),
      h("dd", null, words),
    ),
  );
  const dialog = h("dialog", { class: "help", "aria-labelledby": "help-title" });
  fill(
    dialog,
    h(
      "header",
      null,
      h("h2", { id: "help-title" }, "Keyboard"),
      iconButton("close", "Close", () => dialog.close()),
    ),
    h("dl", { class: "keys" }, rows),
  );
  show(dialog);
}

function show(dialog) {
  const before = document.activeElement;
  dialog.addEventListener("close", () => {
    dialog.remove();
    if (document.activeElement === document.body) before?.focus?.();
  });
  dialog.addEventListener("pointerdown", (event) => event.target === dialog && dialog.close());
  document.body.append(dialog);
  dialog.showModal();
}

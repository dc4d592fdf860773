/** Names of reactions and emoji, the characters they stand for, and the picker. */

import { fill, h } from "./dom.js";
import { GROUPS } from "./emojidata.js";
import { openPopover } from "./menu.js";

const RECENT = "threadline.emoji";
const TONES = ["", "", "🏻", "🏼", "🏽", "🏾", "🏿"];

/** @type {{name: string, names: string[], glyph: string, group: string}[]} */
export const EMOJI = Object.entries(GROUPS).flatMap(([group, list]) =>
  list.split(", ").map((one) => {
    const [names, glyph] = one.split(" ");
    return { name: names.split("/")[0], names: names.split("/"), glyph, group };
  }),
);

const BY_NAME = new Map();
for (const one of EMOJI) BY_NAME.set(one.name, BY_NAME.get(one.name) ?? one.glyph);
for (const one of EMOJI) for (const name of one.names) BY_NAME.set(name, BY_NAME.get(name) ?? one.glyph);

/**
 * The character of `name` (with or without colons and a skin tone), or null when it is not known here.
 * @param {string} name
 */
export function glyph(name) {
  const [plain, tone] = name.replace(/^:|:$/g, "").split("::skin-tone-");
  const known = BY_NAME.get(plain);
  return known ? known.replace(tone ? /\uFE0F$/ : /$^/, "") + (TONES[Number(tone)] ?? "") : null;
}

/** The emoji whose names hold the words, those that begin with them first. */
export function searchEmoji(words, most = 60) {
  const wanted = words.trim().toLowerCase().replace(/^:/, "").replace(/\s+/g, "_");
  const rank = (one) =>
    Math.min(
      ...one.names.map((name) => (name === wanted ? 0 : name.startsWith(wanted) ? 1 : name.includes(wanted) ? 2 : 9)),
    );
  const found = EMOJI.map((one) => [rank(one), one]).filter(([place]) => place < 9);
  return found
    .sort((a, b) => a[0] - b[0])
    .slice(0, most)
    .map(([, one]) => one);
}

/** What this person chose last, the newest first. */
export function recentEmoji() {
  try {
    const names = JSON.parse(localStorage.getItem(RECENT) ?? "[]");
    return names.filter((name) => BY_NAME.has(name)).slice(0, 8);
  } catch {
    return [];
  }
}

function remember(name) {
  localStorage.setItem(RECENT, JSON.stringify([name, ...recentEmoji().filter((one) => one !== name)].slice(0, 8)));
}

/**
 * Let the person choose; `chosen(name)` is called once.
 * @param {HTMLElement} anchor @param {(name: string) => void} chosen
 */
export function pickEmoji(anchor, chosen) {
  const found = h("div", { class: "emoji-grid-area" });
  const field = h("input", {
    type: "search",
    class: "field",
    placeholder: "Search emoji",
    autocomplete: "off",
    aria: { label: "Search emoji" },
  });
  const name = h("div", { class: "emoji-name muted", aria: { hidden: "true" } }, "Choose an emoji");
  const box = h("div", { class: "emoji-picker" }, field, found, name);
  const close = openPopover(anchor, box, { label: "Emoji", focus: field });
  const choose = (one) => {
    remember(one);
    close();
    chosen(one);
  };
  const show = () => fill(found, ...sections(field.value, choose, (one) => (name.textContent = one)));
  field.addEventListener("input", show);
  field.addEventListener("keydown", (event) => fromField(event, found));
  found.addEventListener("keydown", (event) => moveInGrid(event, found, field));
  show();
}

function sections(words, choose, hint) {
  if (words.trim()) {
    const found = searchEmoji(words);
    return found.length
      ? [grid("Found", found, choose, hint)]
      : [h("p", { class: "muted empty" }, "Nothing of that name.")];
  }
  const recent = recentEmoji().map((name) => ({ name, glyph: BY_NAME.get(name) }));
  const groups = Object.keys(GROUPS).map((group) =>
    grid(
      group,
      EMOJI.filter((one) => one.group === group),
      choose,
      hint,
    ),
  );
  return recent.length ? [grid("Recent", recent, choose, hint), ...groups] : groups;
}

function grid(label, list, choose, hint) {
  const buttons = list.map((one) =>
    h(
      "button",
      {
        type: "button",
        class: "emoji-cell",
        title: `:${one.name}:`,
        aria: { label: one.name.replaceAll("_", " ") },
        on: {
          click: () => choose(one.name),
          pointerenter: () => hint(`:${one.name}:`),
          focus: () => hint(`:${one.name}:`),
        },
      },
      one.glyph,
    ),
  );
  return h(
    "section",
    { aria: { label } },
    h("h3", { class: "label" }, label),
    h("div", { class: "emoji-grid" }, buttons),
  );
}

function fromField(event, found) {
  const first = found.querySelector(".emoji-cell");
  if (event.key === "ArrowDown" && first) {
    event.preventDefault();
    first.focus();
  }
  if (event.key === "Enter" && first) {
    event.preventDefault();
    first.click();
  }
}

function moveInGrid(event, found, field) {
  const cells = [...found.querySelectorAll(".emoji-cell")];
  const at = cells.indexOf(document.activeElement);
  const row = Math.max(1, Math.round(found.clientWidth / (cells[0]?.offsetWidth || 36)));
  const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: row, ArrowUp: -row }[event.key];
  if (at < 0 || !step) return;
  event.preventDefault();
  (cells[at + step] ?? (step < 0 ? field : cells.at(-1))).focus();
}

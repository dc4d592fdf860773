/** Completion of @people, @groups, #channels and :emoji: in a text field, and Slack's form of what was typed. */

import { aria, fill, h } from "./dom.js";
import { glyph, searchEmoji } from "./emoji.js";
import { avatar, badge, channelIcon, mayRead } from "./person.js";
import { store } from "./store.js";

const MOST = 8;
const BEFORE = /(?:^|[\s([{"'])([@#:])([\w.+'-]*)$/;
const BROADCASTS = [
  ["here", "Everybody who is active here"],
  ["channel", "Everybody in this channel"],
];
let count = 0;

/** Slack's form of typed groups and channels; people's names are left to the server. */
export function toSlack(text) {
  const groups = new Map(
    [...store.state.groups.values()].filter((one) => !one.disabled).map((one) => [one.handle, one.id]),
  );
  const channels = new Map(
    [...store.state.channels.values()]
      .filter((one) => one.kind === "channel" || one.kind === "group")
      .map((one) => [one.name, one.id]),
  );
  return text
    .replace(/(?<![\w<])@([a-z][\w.-]*)/g, (whole, name) =>
      groups.has(name) ? `<!subteam^${groups.get(name)}>` : whole,
    )
    .replace(/(?<![\w<&])#([a-z0-9][\w-]*)/g, (whole, name) =>
      channels.has(name) ? `<#${channels.get(name)}>` : whole,
    );
}

/** What a person would have typed to get this text. */
export function fromSlack(text) {
  const { users, channels, groups } = store.state;
  return text
    .replace(/<@(\w+)(?:\|[^>]*)?>/g, (whole, id) => (users.has(id) ? `@${users.get(id).name}` : whole))
    .replace(/<#(\w+)(?:\|[^>]*)?>/g, (whole, id) => (channels.has(id) ? `#${channels.get(id).name}` : whole))
    .replace(/<!subteam\^(\w+)(?:\|[^>]*)?>/g, (whole, id) => (groups.has(id) ? `@${groups.get(id).handle}` : whole))
    .replace(/<!(here|channel|everyone)(?:\|[^>]*)?>/g, "@$1")
    .replaceAll("&lt;", "<")
    .replaceAll("&gt;", ">")
    .replaceAll("&amp;", "&");
}

/**
 * Complete names in this field.
 * @param {HTMLTextAreaElement} area @param {{channel: string}} where `channel` may change later
 */
export function attachMentions(area, where) {
  const list = h("div", {
    class: "completion",
    role: "listbox",
    id: `completion-${(count += 1)}`,
    hidden: true,
    aria: { label: "Suggestions" },
  });
  const state = { options: [], at: 0, from: 0 };
  aria(area, { autocomplete: "list" });

  function close() {
    list.hidden = true;
    state.options = [];
    list.remove();
    aria(area, { activedescendant: null, controls: null });
  }

  function choose(option) {
    const after = area.value.slice(area.selectionStart);
    const insert = option.insert + (/^\s/.test(after) ? "" : " ");
    area.setRangeText(insert, state.from, area.selectionStart, "end");
    if (insert === option.insert) area.selectionStart = area.selectionEnd = area.selectionStart + 1;
    close();
    area.dispatchEvent(new Event("input", { bubbles: true }));
    area.focus();
  }

  function point(at) {
    state.at = (at + state.options.length) % state.options.length;
    [...list.children].forEach((one, place) => one.setAttribute("aria-selected", String(place === state.at)));
    const chosen = list.children[state.at];
    aria(area, { activedescendant: chosen.id });
    chosen.scrollIntoView({ block: "nearest" });
  }

  function look() {
    const found = area.selectionStart === area.selectionEnd && BEFORE.exec(area.value.slice(0, area.selectionStart));
    const options = found ? optionsFor(found[1], found[2], where.channel) : [];
    if (!options.length) return close();
    Object.assign(state, { options, from: area.selectionStart - found[2].length - 1 });
    if (!list.isConnected) area.before(list);
    aria(area, { controls: list.id });
    fill(
      list,
      options.map((one, at) => optionNode(one, `${list.id}-${at}`, () => choose(one))),
    );
    list.hidden = false;
    return point(0);
  }

  area.addEventListener("input", look);
  area.addEventListener("click", look);
  area.addEventListener("blur", () => setTimeout(() => document.activeElement !== area && close(), 120));
  area.addEventListener(
    "keydown",
    (event) => {
      if (list.hidden || event.isComposing) return;
      const act = {
        ArrowDown: () => point(state.at + 1),
        ArrowUp: () => point(state.at - 1),
        Enter: () => choose(state.options[state.at]),
        Tab: () => choose(state.options[state.at]),
        Escape: close,
      }[event.key];
      if (!act || (event.key === "Enter" && event.shiftKey)) return;
      event.preventDefault();
      event.stopPropagation();
      act();
    },
    { capture: true },
  );
}

function optionNode(one, id, choose) {
  const press = (event) => {
    event.preventDefault(); // the field keeps the focus
    choose();
  };
  return h(
    "div",
    { class: "option", role: "option", id, aria: { selected: false }, on: { pointerdown: press } },
    one.node,
    h("span", { class: "option-name" }, one.label),
    one.note && h("span", { class: "muted option-note" }, one.note),
    one.tag,
  );
}

function optionsFor(sign, typed, channelId) {
  const words = typed.toLowerCase();
  if (sign === ":") return words.length < 2 ? [] : emojiOptions(words);
  if (sign === "#") return channelOptions(words);
  return peopleOptions(words, store.state.channels.get(channelId));
}

function emojiOptions(words) {
  return searchEmoji(words, MOST).map((one) => ({
    insert: glyph(one.name),
    label: `:${one.name}:`,
    node: h("span", { class: "glyph" }, one.glyph),
  }));
}

function channelOptions(words) {
  const named = [...store.state.channels.values()].filter(
    (one) => (one.kind === "channel" || one.kind === "group") && mayRead(one),
  );
  return named
    .filter((one) => one.name.includes(words))
    .slice(0, MOST)
    .map((one) => ({ insert: `#${one.name}`, label: one.name, node: channelIcon(one) }));
}

function peopleOptions(words, channel) {
  const inside = new Set(channel?.members ?? []);
  const people = [...store.state.users.values()].filter(
    (one) => !one.deleted && (matches(one.name, words) || matches(one.real_name, words)),
  );
  people.sort((a, b) => rank(a, words, inside) - rank(b, words, inside) || a.name.localeCompare(b.name));
  const options = people.map((one) => ({
    insert: `@${one.name}`,
    label: one.real_name || one.name,
    note: `@${one.name}${inside.has(one.id) ? "" : " · not in this channel"}`,
    node: avatar(one, "small"),
    tag: badge(one),
  }));
  const groups = [...store.state.groups.values()].filter(
    (one) => !one.disabled && (matches(one.handle, words) || matches(one.name, words)),
  );
  options.push(
    ...groups.map((one) => ({
      insert: `@${one.handle}`,
      label: `@${one.handle}`,
      note: `${one.name} · ${one.users.length} people`,
      node: h("span", { class: "avatar small group", aria: { hidden: "true" } }, "@"),
    })),
  );
  if (channel?.kind !== "im")
    options.push(
      ...BROADCASTS.filter(([name]) => name.startsWith(words)).map(([name, note]) => ({
        insert: `@${name}`,
        label: `@${name}`,
        note,
        node: h("span", { class: "avatar small group", aria: { hidden: "true" } }, "!"),
      })),
    );
  return options.slice(0, MOST);
}

function matches(name, words) {
  return (
    (name ?? "")
      .toLowerCase()
      .split(/[\s._-]+/)
      .some((one) => one.startsWith(words)) || (name ?? "").toLowerCase().startsWith(words)
  );
}

function rank(user, words, inside) {
  const exact = user.name.startsWith(words) ? 0 : 1;
  return (user.kind === "app" ? 0 : 4) + (inside.has(user.id) ? 0 : 8) + exact;
}

/** The reactions under a message. */

import { act } from "./api.js";
import { h, svg } from "./dom.js";
import { glyph, pickEmoji } from "./emoji.js";
import { namesOf } from "./person.js";
import { store } from "./store.js";

/** React as the acting person, or take it away when it is there. */
export async function react(message, name) {
  const mine = (message.reactions ?? []).some((one) => one.name === name && one.users.includes(store.me));
  // A refusal has been shown by then, and leaves the message as it was.
  await act("react", { user: store.me, channel: message.channel, ts: message.ts, name, away: mine }).catch(() => null);
}

/** Let the acting person choose a reaction. */
export function chooseReaction(anchor, message) {
  pickEmoji(anchor, (name) => react(store.message(message.channel, message.ts) ?? message, name));
}

/** All reactions of a message; null when it has none. */
export function reactionRow(message) {
  const all = message.reactions ?? [];
  if (!all.length) return null;
  const more = h(
    "button",
    {
      type: "button",
      class: "reaction add",
      title: "Add reaction",
      aria: { label: "Add reaction", haspopup: "dialog" },
      on: { click: (event) => chooseReaction(event.currentTarget, message) },
    },
    svg("smile", 16),
  );
  return h(
    "div",
    { class: "reactions", role: "group", aria: { label: "Reactions" } },
    all.map((one) => chip(message, one)),
    more,
  );
}

function chip(message, one) {
  const mine = one.users.includes(store.me);
  const who = `${namesOf(one.users)} reacted with :${one.name}:`;
  const shown = glyph(one.name);
  return h(
    "button",
    {
      type: "button",
      class: ["reaction", mine && "mine"],
      title: who,
      aria: { pressed: mine, label: `${one.name.replaceAll("_", " ")}, ${one.count}: ${who}` },
      on: { click: () => react(message, one.name) },
    },
    h("span", { class: shown ? "glyph" : "glyph named" }, shown ?? `:${one.name}:`),
    h("span", { class: "count" }, one.count),
  );
}

/** New messages for those who listen to the page: whole messages only, never a stream word by word. */

import { h } from "./dom.js";
import { authorName } from "./person.js";
import { store } from "./store.js";

const LONGEST = 240;

/** The live region; put it into the page. */
export function announcer() {
  const region = h("div", {
    class: "sr-only",
    aria: { live: "polite", atomic: "false", relevant: "additions" },
    role: "log",
    "aria-label": "New messages",
  });
  const seen = new Map(); // ts: "whole" or "streaming", of what has been announced
  const say = (text) => {
    region.append(h("p", null, text));
    while (region.children.length > 5) region.firstElementChild.remove();
  };
  store.on("hello", () => seen.clear());
  store.on("messages", ({ messages }) => {
    for (const one of messages) announce(one, seen, say);
    for (const ts of seen.keys()) if (seen.size > 200) seen.delete(ts);
  });
  store.on("me", () => store.person && say(`You act as ${store.person.real_name} now.`));
  return region;
}

function announce(message, seen, say) {
  const { channel, thread_ts: thread } = store.place;
  const here =
    message.channel === channel &&
    (!message.thread_ts || message.thread_ts === thread || message.subtype === "thread_broadcast");
  const state = message.streaming_state === "in_progress" ? "streaming" : "whole";
  const before = seen.get(message.ts);
  seen.set(message.ts, state);
  if (!here || message.user === store.me || before === state || (before === undefined && message.ts < store.opened))
    return;
  if (before === "whole") return;
  const name = authorName(message);
  if (state === "streaming") return say(`${name} is writing`);
  const text = message.text || (message.parts ?? []).map((part) => part.text ?? "").join(" ");
  if (text.trim()) say(`${name}: ${text.slice(0, LONGEST)}`);
}

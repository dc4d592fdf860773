/** What a thread shows of its agent: "Working…", waiting, or nothing. */

import { act } from "./api.js";
import { store } from "./store.js";

const QUIET = new Set(["", "active", "closed"]);
const WORDS = { processing: "Working…", suspended: "Waiting for a person" };

/** @returns {{text: string, busy: boolean, kind: string}|null} */
export function statusOf(channel, threadTs) {
  const session = store.session(channel, threadTs);
  const shown = session?.shown ?? "";
  if (QUIET.has(shown)) return null;
  const busy = session.status === "processing";
  return { text: WORDS[shown] ?? shown, busy, kind: busy ? "busy" : "waiting" };
}

/** Whether there is something to stop in this thread. */
export function canStop(channel, threadTs) {
  if (store.session(channel, threadTs)?.status === "processing" && statusOf(channel, threadTs)) return true;
  return streamIn(channel, threadTs) !== null;
}

/** The message that is growing in this thread, or null. */
export function streamIn(channel, threadTs) {
  for (const one of store.streams.values()) if (one.channel === channel && one.thread_ts === threadTs) return one;
  return null;
}

/** Go to a thread and write there; not at once on a phone, where the keyboard would cover it. */
export function openThread(channel, threadTs) {
  store.go({ channel, thread_ts: threadTs });
  if (!matchMedia("(width <= 720px)").matches) store.emit("write");
}

/** Press the Stop button of this thread as the acting person. */
export function stop(channel, threadTs) {
  return act("stop", { user: store.me, channel, thread_ts: threadTs });
}

/** Give this thread's session another title. */
export function rename(channel, threadTs, title) {
  return act("rename", { user: store.me, channel, thread_ts: threadTs, title });
}

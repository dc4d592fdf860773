/** From messages to the rows of a list: day separators, the "new" line, and who follows whom. */

import { byTs } from "./store.js";
import { dayKey, dayName } from "./time.js";

const TOGETHER_SECONDS = 300;

/**
 * @param {object[]} messages oldest first @param {object[]} ephemerals oldest first
 * @param {{newAfter?: string|null, me: string, root?: string|null, replies?: number}} how
 * @returns {{key: string, kind: "day"|"new"|"replies"|"message"|"ephemeral", message?: object, compact?: boolean, label?: string}[]}
 */
export function rowsOf(messages, ephemerals, how) {
  const rows = [];
  let before = null;
  let fresh = how.newAfter ?? null;
  for (const { message, ephemeral } of mixed(messages, ephemerals)) {
    const newDay = !before || dayKey(before.ts) !== dayKey(message.ts);
    const newHere =
      fresh !== null && !ephemeral && message.ts > fresh && message.user !== how.me && message.ts !== how.root;
    if (newDay) rows.push({ key: `day-${dayKey(message.ts)}`, kind: "day", label: dayName(message.ts) });
    if (newHere) {
      rows.push({ key: "new", kind: "new" });
      fresh = null;
    }
    const compact = !ephemeral && !newDay && !newHere && follows(before, message, how.root);
    rows.push({
      key: ephemeral ? `e-${message.ts}` : message.ts,
      kind: ephemeral ? "ephemeral" : "message",
      message,
      compact,
    });
    if (message.ts === how.root && how.replies) rows.push({ key: "replies", kind: "replies", label: how.replies });
    before = ephemeral ? null : message;
    if (ephemeral) before = { ts: message.ts };
  }
  return rows;
}

function mixed(messages, ephemerals) {
  const all = messages.map((message) => ({ message, ephemeral: false }));
  for (const one of ephemerals) all.push({ message: one, ephemeral: true });
  return ephemerals.length ? all.sort((a, b) => byTs(a.message.ts, b.message.ts)) : all;
}

// One author's messages within five minutes share one head.
function follows(before, message, root) {
  if (!before || before.ts === root || message.subtype === "thread_broadcast") return false;
  const same = before.user === message.user && before.bot_id === message.bot_id && before.username === message.username;
  return same && Boolean(message.user || message.bot_id) && Number(message.ts) - Number(before.ts) < TOGETHER_SECONDS;
}

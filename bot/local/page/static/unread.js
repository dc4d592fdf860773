/** What the acting person has not seen yet. */

import { act } from "./api.js";
import { store } from "./store.js";

/** @returns {Map<string, {unread: boolean, count: number}>} by channel id; only channels with something unread */
export function unreadChannels() {
  const counts = new Map();
  const { channels, messages } = store.state;
  for (const one of messages.values()) {
    const read = channels.get(one.channel)?.read?.[store.me] ?? "";
    if (one.ts > read && one.user !== store.me) counts.set(one.channel, (counts.get(one.channel) ?? 0) + 1);
  }
  const found = new Map();
  for (const channel of channels.values()) {
    const count = counts.get(channel.id) ?? 0;
    const latest = channel.latest;
    if (!channel.members.includes(store.me) || !latest || latest <= (channel.read?.[store.me] ?? "")) continue;
    const own = store.message(channel.id, latest)?.user === store.me;
    if (count || !own) found.set(channel.id, { unread: true, count });
  }
  return found;
}

/** Up to where the acting person has read this channel. */
export function readUpTo(channel) {
  return channel?.read?.[store.me] ?? "";
}

/** Mark this channel read up to its newest message. */
export async function markRead(channel) {
  if (!channel?.latest || channel.latest <= readUpTo(channel) || !channel.members.includes(store.me)) return;
  // A mark that is lost is set again with the next message that is seen.
  await act("mark", { user: store.me, channel: channel.id, ts: channel.latest }, { quiet: true }).catch(() => null);
}

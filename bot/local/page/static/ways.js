/** Slack's own links that lead somewhere on this page: messages, channels, the app and its home. */

import { act } from "./api.js";
import { hashOf } from "./place.js";
import { store } from "./store.js";

const PERMALINK = /^\/archives\/([CDG][A-Z0-9_]+)(?:\/p(\d{10})(\d{6}))?\/?$/;

/**
 * Where a link leads on this page; null where it leads out of it.
 * @param {string} url
 * @returns {{href: string, go: () => void} | null}
 */
export function wayTo(url) {
  let read;
  try {
    read = new URL(url);
  } catch {
    return null;
  }
  if (read.protocol === "slack:") return inSlack(read.host || read.pathname.replace(/^\/+/, ""), read.searchParams);
  if (!/(?:^|\.)slack\.com$/.test(read.hostname)) return null;
  if (read.pathname === "/app_redirect") return toApp(read.searchParams.get("app"), "messages");
  const found = PERMALINK.exec(read.pathname);
  return found && store.state.channels.has(found[1]) ? toMessage(found, read.searchParams.get("thread_ts")) : null;
}

function inSlack(kind, query) {
  const id = query.get("id");
  if (kind === "channel" && store.state.channels.has(id)) return to({ channel: id });
  if (kind === "app") return toApp(id, query.get("tab") ?? "home");
  return kind === "user" && id === store.state.who.bot_user_id ? toApp(store.state.who.api_app_id, "messages") : null;
}

function toMessage([, channel, seconds, rest], threadTs) {
  if (!seconds) return to({ channel });
  const ts = `${seconds}.${rest}`;
  if (threadTs) return to({ channel, thread_ts: threadTs, message: ts });
  const isThread = store.session(channel, ts) || store.message(channel, ts)?.reply_count;
  return isThread ? to({ channel, thread_ts: ts }) : to({ channel, message: ts });
}

function toApp(app, tab) {
  if (app !== store.state.who.api_app_id) return null;
  if (tab === "home") return { href: hashOf({ view: "home" }), go: () => store.go({ view: "home" }) };
  const dm = ownDm();
  return { href: hashOf({ view: "channel", channel: dm }), go: goToApp };
}

function to(place) {
  const whole = { view: "channel", thread_ts: null, message: null, ...place };
  return { href: hashOf(whole), go: () => store.go(whole) };
}

function ownDm() {
  const all = [...store.state.channels.values()];
  return all.find((one) => one.kind === "im" && one.members?.includes(store.me) && one.members.includes(store.state.who.bot_user_id))?.id ?? null;
}

/** Opens the acting person's conversation with the app; a toast says what was wrong. */
export async function goToApp() {
  const channel = ownDm() ?? (await act("open_dm", { user: store.me }).catch(() => null))?.channel;
  if (channel) store.go({ view: "channel", channel, thread_ts: null });
}

/** How people, our app and other bots look: name, badge, picture. */

import { h, svg } from "./dom.js";
import { store } from "./store.js";

const BADGE = {
  guest: ["Guest", "guest", "A guest: a member of some channels only"],
  solo_guest: ["Single-channel guest", "guest", "A guest of one channel only"],
  connect: ["Other organisation", "outside", "Somebody of another organisation, here through Slack Connect"],
  app: ["App", "app", "Our app"],
  bot: ["Bot", "app", "Another app's bot"],
  admin: ["Admin", "", "An administrator of the workspace"],
  owner: ["Owner", "", "The owner of the workspace"],
};
const HUES = 8;

/** The account that wrote this message; null when it is not known. */
export function authorOf(message) {
  const { users } = store.state;
  if (message.user && users.has(message.user)) return users.get(message.user);
  return message.bot_id ? ([...users.values()].find((one) => one.bot_id === message.bot_id) ?? null) : null;
}

/** The name to show for this message. */
export function authorName(message) {
  return message.username || nameOf(authorOf(message)) || message.user || message.bot_id || "Unknown";
}

/** The name to show for this account (or its id). */
export function nameOf(user) {
  const known = typeof user === "string" ? store.state.users.get(user) : user;
  return known ? known.real_name || known.name : typeof user === "string" ? user : "";
}

/** Whether our own app wrote it. */
export function isOurs(message) {
  return Boolean(message.bot_id) && message.bot_id === store.state.who.bot_id;
}

/** A small label: guest, other organisation, app …; null for plain members. */
export function badge(user, { rank = false } = {}) {
  if (!user) return null;
  if (user.deleted) return h("span", { class: "badge", title: "This account is deactivated" }, "Deactivated");
  if (!rank && (user.kind === "admin" || user.kind === "owner")) return null;
  const [label, kind, title] = BADGE[user.kind] ?? [];
  return label ? h("span", { class: ["badge", kind], title }, label) : null;
}

/** A square with initials, or our app's sign; a decoration, since the name stands beside it. */
export function avatar(user, size = "") {
  const app = user?.kind === "app";
  const sign = { small: 13, large: 32 }[size] ?? 20;
  const shape = {
    class: ["avatar", size, app && "ours", user?.deleted && "gone"],
    aria: { hidden: "true" },
    data: { hue: hueOf(user) },
  };
  return h("span", shape, app ? svg("spark", sign) : user?.kind === "bot" ? svg("bolt", sign) : initials(nameOf(user)));
}

function initials(name) {
  const words = name.split(/\s+/).filter(Boolean);
  const letters = words.length > 1 ? words[0][0] + words.at(-1)[0] : name.slice(0, 2);
  return (letters || "?").toUpperCase();
}

// By their place in the workspace, so that neighbours differ.
function hueOf(user) {
  if (!user) return HUES - 1;
  if (user.kind === "app") return 0;
  return 1 + ([...store.state.users.keys()].indexOf(user.id) % (HUES - 1));
}

/** What a conversation is called for the acting person. */
export function channelName(channel) {
  if (!channel) return "";
  const others = channel.members.filter((id) => id !== store.me);
  if (channel.kind === "im") return nameOf(others.find((id) => id === store.state.who.bot_user_id) ?? others[0]);
  if (channel.kind === "mpim") return others.map((id) => nameOf(id).split(" ")[0]).join(", ");
  return channel.name;
}

/** As `channelName`, with the # of a channel. */
export function channelLabel(channel) {
  const name = channelName(channel);
  return channel && (channel.kind === "channel" || channel.kind === "group") ? `#${name}` : name;
}

/** The icon before a conversation's name. */
export function channelIcon(channel, size = 16) {
  if (channel.kind === "im")
    return avatar(store.state.users.get(channel.members.find((id) => id !== store.me)), "small");
  const name = { group: "lock", mpim: "people" }[channel.kind] ?? (channel.archived ? "archive" : "hash");
  return svg(channel.shared_with?.length ? "globe" : name, size);
}

/** Whether the acting person may read this conversation. */
export function mayRead(channel) {
  return (
    Boolean(channel) && (channel.members.includes(store.me) || (channel.kind === "channel" && isInside(store.person)))
  );
}

/** Guests and people of other organisations see only the channels that they are in. */
function isInside(user) {
  return Boolean(user) && !["guest", "solo_guest", "connect"].includes(user.kind);
}

/** "Ada", "Ada and Grace", "Ada, Grace and 3 others". */
export function namesOf(ids, most = 4) {
  const names = ids.map((id) => (id === store.me ? "You" : nameOf(id)));
  if (names.length <= 1) return names[0] ?? "";
  const shown = names.slice(0, names.length > most ? most - 1 : names.length);
  const left = names.length - shown.length;
  return left ? `${shown.join(", ")} and ${left} others` : `${shown.slice(0, -1).join(", ")} and ${shown.at(-1)}`;
}

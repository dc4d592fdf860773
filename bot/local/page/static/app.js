/** The page: puts its parts together, follows the address bar, hears the keys that hold everywhere. */

import { announcer } from "./announce.js";
import { ChannelPane, isAppDm } from "./channel.js";
import { h, iconButton } from "./dom.js";
import { connect } from "./feed.js";
import { mountHome } from "./home.js";
import { mountInspector } from "./inspector/panel.js";
import { isPhone, mountLayout, restoreTheme } from "./layout.js";
import { closeMenu, menuOpen } from "./menu.js";
import { mountModals } from "./modal.js";
import { appDm, openDm } from "./people.js";
import { channelLabel, mayRead } from "./person.js";
import { openHelp, openQuick } from "./quick.js";
import { sidebar, stepChannel } from "./sidebar.js";
import { store } from "./store.js";
import { ThreadPane } from "./thread.js";
import { unreadChannels } from "./unread.js";

const MINUTE = 60_000;

restoreTheme();

const channel = new ChannelPane();
const thread = new ThreadPane();
const homeBox = h("div", { class: "home-box" });
const home = h(
  "section",
  { class: "pane home-pane", hidden: true, aria: { label: "App home" } },
  h("h1", { class: "sr-only" }, "App home"),
  h(
    "div",
    { class: "home-back" },
    iconButton("back", "Back to the list", () => store.go({ channel: null }), { class: "back" }),
  ),
  homeBox,
);
const layout = mountLayout({
  sidebar: sidebar(),
  channel: channel.el,
  thread: thread.el,
  home,
  onQuick: openQuick,
  onHelp: openHelp,
  mountInspector,
});
document.body.append(announcer());
mountHome(homeBox);
mountModals();

const toMessages = () => channel.list?.focus();
const PLAIN = { "/": openQuick, "?": openHelp, i: layout.toggleInspector, j: toMessages, k: toMessages };

store.on("place", show);
store.on("me", follow);
store.on("hello", ({ sameStart }) => {
  channel.refresh(sameStart);
  thread.refresh(sameStart);
  show();
});
store.on("channels", () => !store.place.channel && store.place.view === "channel" && show());
for (const topic of ["hello", "place", "me", "channels"]) store.on(topic, title);
addEventListener("keydown", keys);
matchMedia("(width > 720px)").addEventListener("change", show); // a wider page has room for a conversation beside the list
// A file dropped beside the panes must not take the place of the page.
for (const type of ["dragover", "drop"]) {
  addEventListener(type, (event) => event.dataTransfer?.types.includes("Files") && event.preventDefault());
}
// "5 min ago" and "Today" go on with the time.
setInterval(() => channel.list?.later(), MINUTE);
connect();

/** The tab's title says where the page is and whether something waits. */
function title() {
  const here = store.state.channels.get(store.place.channel);
  const name = store.place.view === "home" ? "App home" : here ? channelLabel(here) : "Conversations";
  document.title = `${unreadChannels().size ? "• " : ""}${name} | Threadline`;
}

/** Show what the address bar names; with nothing named, a wide page shows the conversation with our app. */
function show() {
  if (!store.state.ready) return;
  const { view, channel: id, thread_ts: ts, message } = store.place;
  if (view === "channel" && !store.state.channels.has(id)) {
    if (id || !isPhone()) goSomewhere();
    if (!store.place.channel) closeMenu();
    if (id || !isPhone()) return;
  }
  home.hidden = view !== "home";
  channel.el.hidden = view === "home";
  if (view === "channel" && id) channel.show(id, ts ? null : message);
  thread.show(view === "channel" ? id : null, view === "channel" ? ts : null, ts ? message : null);
}

function goSomewhere() {
  const all = [...store.state.channels.values()];
  const there = isPhone() ? null : (appDm() ?? all.find(mayRead))?.id;
  if ((there ?? null) !== store.place.channel) store.go({ channel: there ?? null }, { replace: true });
}

/** Somebody else: their own conversation with our app takes the place of the one before. */
function follow() {
  const here = store.state.channels.get(store.place.channel);
  if (store.place.view === "channel" && isAppDm(here) && !mayRead(here)) openDm();
}

function keys(event) {
  if (event.defaultPrevented || event.isComposing || menuOpen() || document.querySelector("dialog[open]")) return;
  const run = bound(event);
  if (!run) return;
  event.preventDefault();
  run();
}

/** What this key does wherever the focus is; undefined for nothing. */
function bound(event) {
  const { key } = event;
  if (event.ctrlKey || event.metaKey) return key.toLowerCase() === "k" ? openQuick : undefined;
  if (event.altKey) return { ArrowDown: () => stepChannel(1), ArrowUp: () => stepChannel(-1) }[key];
  if (key === "F6") return () => nextPane(event.shiftKey ? -1 : 1);
  const field = event.target.closest?.("input, textarea, select, [contenteditable]");
  if (key === "Escape") return escape(field);
  return field ? undefined : PLAIN[key];
}

function escape(typing) {
  if (store.place.thread_ts) return () => store.go({ channel: store.place.channel });
  return typing && !typing.value ? () => typing.blur() : null;
}

function nextPane(step) {
  const panes = [...document.querySelectorAll(".sidebar, .pane")].filter((one) => one.offsetParent && !one.hidden);
  const at = panes.findIndex((one) => one.contains(document.activeElement));
  const to = panes.at((at + step + panes.length) % panes.length);
  (
    to.querySelector(".composer textarea") ??
    to.querySelector("[aria-current=page], article[tabindex='0'], button, [tabindex='0']")
  )?.focus();
}

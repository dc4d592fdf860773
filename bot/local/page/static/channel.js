/** The pane of one conversation: its head, its messages, its composer. */

import { act, get } from "./api.js";
import { Composer, dropInto } from "./composer.js";
import { fill, h, iconButton, svg } from "./dom.js";
import { MessageList } from "./list.js";
import { authorOf, avatar, badge, channelIcon, channelLabel, channelName, mayRead, nameOf } from "./person.js";
import { openMembers } from "./people.js";
import { isPhone, openBeside } from "./layout.js";
import { openThread } from "./sessions.js";
import { byTs, store } from "./store.js";
import { justBefore } from "./time.js";
import { markRead, readUpTo } from "./unread.js";
import { remove } from "./actions.js";

const PAGE = 50;
const MARK_AFTER = 250;

/** Whether this conversation is the person's own with our app. */
export function isAppDm(channel) {
  return channel?.kind === "im" && channel.members.includes(store.state.who.bot_user_id);
}

export class ChannelPane {
  #timer = null;

  constructor() {
    this.head = h("header", { class: "pane-head" });
    this.body = h("div", { class: "pane-body" });
    this.composer = new Composer({ onSent: (sent) => this.#sent(sent), onUp: () => editLast(this.list) });
    this.el = h(
      "section",
      { class: "pane channel", aria: { label: "Conversation" } },
      this.head,
      this.body,
      this.composer.el,
    );
    dropInto(this.el, this.composer);
    this.list = null;
    this.id = null;
    this.#listen();
  }

  get channel() {
    return store.state.channels.get(this.id) ?? null;
  }

  #listen() {
    store.on("messages", (changed) => this.list?.changed(changed));
    store.on("ephemerals", () => this.list?.later());
    store.on("sessions", () => this.list?.later());
    store.on("users", () => (this.#head(), this.list?.later()));
    store.on("channels", () => (this.#head(), this.#write(), this.#seen()));
    store.on("prompts", () => this.#write());
    store.on("me", () => this.#anew());
    store.on("unread", (message) => message.channel === this.id && this.#unread(message));
    store.on("compose", () => this.composer.focus());
    document.addEventListener("visibilitychange", () => this.#visibility());
  }

  /** Show this conversation; around one message, when it is named. */
  show(id, at = null) {
    if (id === this.id && this.me === store.me) return at && this.list ? this.#goTo(at) : this.#seen();
    this.id = id;
    this.#anew(at);
    return undefined;
  }

  /** Everything may have changed: fetch again. */
  refresh(sameStart) {
    if (!sameStart) return (this.id = null);
    this.#head();
    this.#write();
    return this.list?.refresh().catch(() => null);
  }

  #anew(at = null) {
    this.me = store.me;
    this.list?.close();
    this.list = null;
    this.held = false;
    this.#head();
    this.#write();
    const { channel } = this;
    if (!channel || !mayRead(channel)) return fill(this.body, this.#nothing());
    this.newAfter = channel.latest && channel.latest > readUpTo(channel) ? readUpTo(channel) : null;
    this.list = new MessageList(this.#source(channel));
    fill(this.body, this.list.el);
    this.list.open(at).catch(() => null);
    // Slack tells the app when somebody opens its conversation; it may then suggest what to say.
    if (isAppDm(channel)) act("home", { user: store.me, tab: "messages" }, { quiet: true }).catch(() => null);
    return undefined;
  }

  async #goTo(at) {
    if (!(await this.list.point(at))) await this.list.open(at).catch(() => null);
  }

  #source(channel) {
    const fetched = (query) =>
      get(`/_page/history?${new URLSearchParams({ channel: channel.id, limit: PAGE, ...query })}`);
    return {
      channel: channel.id,
      root: null,
      inThread: false,
      label: `Messages in ${channelLabel(channel)}`,
      older: (before) => fetched(before ? { before } : {}),
      newer: (after) => fetched({ after }),
      belongs: (one) =>
        one.channel === channel.id &&
        (!one.thread_ts || one.thread_ts === one.ts || one.subtype === "thread_broadcast"),
      ephemeral: (one) => one.channel === channel.id && !one.thread_ts,
      newAfter: () => this.newAfter,
      start: () => beginning(this.channel ?? channel, this.composer),
      drawn: () => this.#seen(),
      scrolled: () => this.#seen(),
      key: (event, view) => messageKey(event, view, this.composer),
    };
  }

  #nothing() {
    if (!store.state.ready) return null;
    const { channel } = this;
    const text = channel ? `${nameOf(store.person)} is not in this conversation.` : "There is no such conversation.";
    return h(
      "div",
      { class: "empty-state" },
      svg("lock", 30),
      h("h1", null, "Nothing to see here"),
      h("p", null, text, " Choose another on the left, or act as somebody else."),
    );
  }

  // -------------------------------------------------------------------- reading

  #seen() {
    if (
      this.#timer ||
      !this.list?.stuck ||
      !this.list.loaded ||
      this.held ||
      document.visibilityState !== "visible" ||
      this.el.closest("[hidden]")
    )
      return;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      if (this.list?.stuck && !this.held && this.el.offsetParent) markRead(this.channel);
    }, MARK_AFTER);
  }

  #visibility() {
    if (document.visibilityState === "hidden") this.newAfter = this.channel?.latest ?? null;
    else this.#seen();
  }

  #unread(message) {
    this.held = true;
    this.newAfter = justBefore(message.ts);
    this.list?.later();
  }

  // ----------------------------------------------------------------- head, foot

  #head() {
    const { channel } = this;
    if (!channel || !mayRead(channel)) return fill(this.head, back());
    const people = channel.members.map((id) => store.state.users.get(id)).filter(Boolean);
    const shown = people.slice(0, 3).map((one) => avatar(one, "small"));
    const members = h(
      "button",
      {
        type: "button",
        class: "members",
        title: "Who is here",
        aria: { label: `${people.length} members`, haspopup: "dialog" },
        on: { click: (event) => openMembers(channel, event.currentTarget) },
      },
      h("span", { class: "faces" }, shown),
      h("span", null, people.length),
    );
    const app = isAppDm(channel) ? store.state.users.get(store.state.who.bot_user_id) : null;
    return fill(
      this.head,
      back(),
      h("span", { class: "pane-icon" }, app ? avatar(app) : channelIcon(channel, 20)),
      h("h1", null, channelName(channel)),
      app ? badge(app) : null,
      channel.shared_with?.length
        ? h("span", { class: "badge outside", title: "People of other organisations are in this channel" }, "Shared")
        : null,
      channel.archived ? h("span", { class: "badge" }, "Archived") : null,
      app ? tabs("channel", channel) : null,
      h("span", { class: "grow" }),
      app ? null : members,
    );
  }

  #write() {
    if (this.channel && mayRead(this.channel)) this.composer.show(this.channel, null);
    this.composer.el.hidden = !this.channel || !mayRead(this.channel);
  }

  #sent({ ts, text, channel }) {
    this.newAfter = null;
    this.held = false;
    this.list?.newest();
    const app = store.state.who.bot_user_id;
    const direct = isAppDm(this.channel);
    const called = text.includes(`<@${app}>`) || new RegExp(`@${store.state.users.get(app)?.name}\\b`).test(text);
    if (direct || (called && openBeside())) store.go({ channel, thread_ts: ts });
    if (direct && !isPhone()) store.emit("write"); // on a phone the keyboard would cover the answer
  }
}

function back() {
  return iconButton("back", "Back to the list", () => store.go({ channel: null }), { class: "back" });
}

/** The two sides of our app: what one says to it, and its home. */
export function tabs(view, channel) {
  const tab = (name, label, icon, go) =>
    h(
      "button",
      { type: "button", class: "tab", aria: { current: view === name ? "page" : null }, on: { click: go } },
      svg(icon, 16),
      label,
    );
  return h(
    "nav",
    { class: "tabs", aria: { label: "Threadline" } },
    tab("channel", "Chat", "chat", () => channel && store.go({ channel: channel.id })),
    tab("home", "Home", "home", () => store.go({ view: "home" })),
  );
}

/** Edit the acting person's last message on the page; false when there is none. */
export function editLast(list) {
  const view = list?.views
    .filter((one) => one.message.user === store.me && !one.message.bot_id && !one.opts.ephemeral)
    .sort((a, b) => byTs(a.message.ts, b.message.ts))
    .at(-1);
  view?.el.scrollIntoView({ block: "nearest" });
  view?.edit();
  return Boolean(view);
}

/** What a key does on a message that has the focus. */
export function messageKey(event, view, composer) {
  const { message, opts } = view;
  const own = message.user === store.me && !message.bot_id && !opts.ephemeral;
  const press = (label) => view.el.querySelector(`.message-actions [aria-label="${label}"]`)?.click();
  const open = () => !opts.inThread && openThread(message.channel, message.thread_ts ?? message.ts);
  const run = {
    Enter: open,
    t: open,
    e: () => own && view.edit(),
    "+": () => press("Add reaction"),
    r: () => press("Add reaction"),
    m: () => press("More actions"),
    Delete: () => own && remove(message),
    Escape: () => composer.focus(),
  }[event.key];
  if (!run) return;
  event.preventDefault();
  event.stopPropagation();
  run();
}

// ------------------------------------------------------------------- beginnings

function beginning(channel, composer) {
  if (isAppDm(channel)) return introduction(channel);
  const hello = inside(channel) ? mentionHint(composer) : null;
  const kind = { group: "private channel", mpim: "group conversation", im: "conversation" }[channel.kind] ?? "channel";
  return h(
    "div",
    { class: "beginning" },
    h("div", { class: "beginning-icon" }, channelIcon(channel, 26)),
    h("h2", null, channelLabel(channel)),
    h("p", { class: "muted" }, `This is the beginning of this ${kind}.`),
    hello,
  );
}

function inside(channel) {
  return (
    channel.members.includes(store.state.who.bot_user_id) && channel.members.includes(store.me) && !channel.archived
  );
}

function mentionHint(composer) {
  const app = store.state.users.get(store.state.who.bot_user_id);
  if (!app) return null;
  const start = (words) => {
    composer.area.value = `@${app.name} ${words}`;
    composer.area.dispatchEvent(new Event("input"));
    composer.focus();
  };
  const examples = ["what can you do?", "summarise the last week for us"];
  return h(
    "div",
    { class: "newcomer" },
    h(
      "p",
      null,
      "Mention ",
      h("span", { class: "mention" }, `@${app.name}`),
      " to put a question to the agent. It answers in a thread; there you need no mention.",
    ),
    h(
      "div",
      { class: "newcomer-tries" },
      examples.map((words) =>
        h(
          "button",
          { type: "button", class: "prompt", on: { click: () => start(words) } },
          svg("spark", 15),
          h("span", null, `@${app.name} ${words}`),
        ),
      ),
    ),
  );
}

function introduction(channel) {
  const app = authorOf({ user: store.state.who.bot_user_id });
  return h(
    "div",
    { class: "beginning" },
    avatar(app, "large"),
    h("h2", null, nameOf(app)),
    h(
      "p",
      { class: "muted" },
      "Just write: each message starts a conversation of its own, and the answer comes in its thread.",
    ),
    channel.members.includes(store.me) ? null : h("p", { class: "muted" }, "This is somebody else's conversation."),
  );
}

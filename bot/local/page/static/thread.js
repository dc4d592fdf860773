/** The pane of one thread: its session's title, its messages, what the agent does now, the Stop button. */

import { get } from "./api.js";
import { editLast, messageKey } from "./channel.js";
import { Composer, dropInto, whyNot } from "./composer.js";
import { fill, h, iconButton, plural, svg } from "./dom.js";
import { isPhone } from "./layout.js";
import { MessageList } from "./list.js";
import { channelLabel, mayRead } from "./person.js";
import { canStop, rename, statusOf, stop } from "./sessions.js";
import { store } from "./store.js";
import { markRead, readUpTo } from "./unread.js";

const PAGE = 100;
const LONGEST_TITLE = 200;

export class ThreadPane {
  constructor() {
    this.head = h("header", { class: "pane-head" });
    this.body = h("div", { class: "pane-body" });
    this.stop = h(
      "button",
      { type: "button", class: "stop", data: { testid: "stop" }, on: { click: () => this.#stop() } },
      svg("stop", 14),
      "Stop",
    );
    this.words = h("span", { class: "status-words", role: "status", data: { testid: "status" } });
    this.bar = h(
      "div",
      { class: "status-bar", hidden: true },
      h("span", { class: "spinner", aria: { hidden: "true" } }),
      this.words,
      h("span", { class: "grow" }),
      this.stop,
    );
    this.composer = new Composer({ inThread: true, onUp: () => editLast(this.list), onSent: () => this.#sent() });
    this.el = h(
      "aside",
      { class: "pane thread", hidden: true, aria: { label: "Thread" }, data: { testid: "thread" } },
      this.head,
      this.body,
      this.bar,
      this.composer.el,
    );
    dropInto(this.el, this.composer);
    this.el.addEventListener("keydown", (event) => this.#keys(event));
    this.list = null;
    this.key = "";
    this.#listen();
  }

  get channel() {
    return store.state.channels.get(this.id) ?? null;
  }

  #listen() {
    store.on("messages", (changed) => (this.list?.changed(changed), this.#status()));
    store.on("ephemerals", () => this.list?.later());
    store.on("sessions", () => (this.#drawHead(), this.#status()));
    store.on("channels", () => this.#write());
    store.on("prompts", () => this.#write());
    store.on("users", () => this.list?.later());
    store.on("me", () => this.key && this.#anew());
    store.on("write", () => this.composer.focus());
  }

  /** Show this thread, or none. */
  show(id, ts, at = null) {
    const key = ts ? `${id}/${ts}` : "";
    this.el.hidden = !ts;
    if (key === this.key) return at && this.list?.point(at);
    Object.assign(this, { key, id, ts });
    if (!ts) {
      this.list?.close();
      this.list = null;
      return undefined;
    }
    this.#anew(at);
    return undefined;
  }

  /** Everything may have changed: fetch again. */
  refresh(sameStart) {
    if (!this.key) return undefined;
    if (!sameStart) return (this.key = "");
    this.#drawHead();
    this.#write();
    this.#status();
    return this.list?.refresh().catch(() => null);
  }

  #anew(at = null) {
    this.list?.close();
    this.list = null;
    this.title = null;
    this.#drawHead();
    this.#write();
    this.#status();
    if (!this.channel || !mayRead(this.channel)) {
      fill(
        this.body,
        h(
          "div",
          { class: "empty-state" },
          svg("lock", 28),
          h("p", null, "This thread cannot be read by the person you act as."),
        ),
      );
      return;
    }
    this.newAfter = this.#unreadFrom();
    this.list = new MessageList(this.#source());
    fill(this.body, this.list.el);
    this.list.open(null).then(
      () => at && this.list?.point(at),
      () => null,
    );
  }

  #unreadFrom() {
    const read = readUpTo(this.channel);
    const latest = store.message(this.id, this.ts)?.latest_reply;
    return latest && read && latest > read ? read : null;
  }

  #source() {
    const { id, ts } = this;
    const older = async (before) => {
      const page = await get(
        `/_page/thread?${new URLSearchParams({ channel: id, ts, limit: PAGE, ...(before && { before }) })}`,
      );
      const root = page.root && !page.more ? [page.root] : [];
      this.gone = !page.root;
      return { more: page.more, messages: [...root, ...page.messages.filter((one) => one.ts !== ts)] };
    };
    return {
      channel: id,
      root: ts,
      inThread: true,
      label: "Thread",
      older,
      newer: null,
      belongs: (one) => one.channel === id && (one.ts === ts || one.thread_ts === ts),
      ephemeral: (one) => one.channel === id && one.thread_ts === ts,
      newAfter: () => this.newAfter,
      replies: () => this.#replies(),
      start: () =>
        this.gone ? h("p", { class: "muted root-gone" }, "The first message of this thread was deleted.") : null,
      drawn: () => this.#seen(),
      scrolled: () => this.#seen(),
      key: (event, view) => messageKey(event, view, this.composer),
    };
  }

  #replies() {
    const count = store.message(this.id, this.ts)?.reply_count ?? 0;
    return count ? plural(count, "reply", "replies") : null;
  }

  #seen() {
    if (!this.list?.stuck || !this.list.loaded || document.visibilityState !== "visible") return;
    const latest = this.list.items.at(-1);
    if (!latest || latest <= (store.threadSeen.get(this.key) ?? "")) return;
    store.threadSeen.set(this.key, latest);
    store.emit("sessions");
    // On a phone the channel is behind the thread, so the thread says what was read.
    if (this.channel?.latest === latest) markRead(this.channel);
  }

  #sent() {
    this.newAfter = null;
    this.list?.newest();
  }

  #stop() {
    this.stop.disabled = true;
    const again = () => (this.stop.disabled = false);
    stop(this.id, this.ts).then(again, again);
  }

  #keys(event) {
    if (event.key !== "Escape" || event.defaultPrevented) return;
    event.preventDefault();
    this.#close();
  }

  #close() {
    const root = this.ts;
    store.go({ channel: this.id });
    document.querySelector(`.channel article[data-ts="${root}"]`)?.focus({ preventScroll: true });
  }

  // ----------------------------------------------------------------- head, foot

  #drawHead() {
    if (!this.key || this.title?.open) return;
    const session = store.session(this.id, this.ts);
    const words = [
      h(isPhone() ? "h1" : "h2", null, session?.title || "Thread"),
      h("p", { class: "muted pane-sub" }, channelLabel(this.channel)),
    ];
    const mayRename = session && this.channel && !whyNot(this.channel);
    fill(
      this.head,
      iconButton("back", "Back to the conversation", () => this.#close(), { class: "back" }),
      h("div", { class: "pane-titles" }, words),
      mayRename && iconButton("edit", "Rename this session", () => this.#rename(session), { class: "quiet" }),
      h("span", { class: "grow" }),
      iconButton("close", "Close thread", () => this.#close(), { class: "close-pane" }),
    );
  }

  #rename(session) {
    const field = h("input", {
      class: "field",
      value: session.title ?? "",
      maxLength: LONGEST_TITLE,
      aria: { label: "Title of this session" },
    });
    this.title = { open: true };
    const end = () => {
      this.title = null;
      this.#drawHead();
      this.head.querySelector("[aria-label='Rename this session']")?.focus();
    };
    const save = () => {
      const title = field.value.trim();
      if (!title || title === session.title) return end();
      return rename(this.id, this.ts, title).then(end, () => field.focus());
    };
    field.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== "Escape") return;
      event.preventDefault();
      event.stopPropagation();
      if (event.key === "Enter") save();
      else end();
    });
    fill(
      this.head,
      h("div", { class: "rename" }, field, iconButton("check", "Save title", save), iconButton("close", "Cancel", end)),
    );
    field.select();
  }

  #status() {
    if (!this.key) return;
    const status = statusOf(this.id, this.ts);
    const stoppable = canStop(this.id, this.ts) && this.channel && !whyNot(this.channel);
    const text = status?.text ?? (stoppable ? "Writing…" : "");
    this.bar.hidden = !text;
    this.bar.dataset.kind = status?.kind ?? "busy";
    if (this.words.textContent !== text) this.words.textContent = text;
    this.stop.hidden = !stoppable;
  }

  #write() {
    if (!this.key) return;
    this.composer.show(this.channel, this.ts);
    this.composer.el.hidden = !this.channel || !mayRead(this.channel);
  }
}

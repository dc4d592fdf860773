/** One message: who, when, what, and everything that hangs on it. It changes in place, so that a growing stream redraws nothing else. */

import { renderAttachments, renderBlocks } from "./blocks.js";
import { isDismissed } from "./dismissed.js";
import { fill, h, plural, svg } from "./dom.js";
import { Editor } from "./editor.js";
import { fileList } from "./files.js";
import { growMarkdown } from "./markdown.js";
import { authorName, authorOf, avatar, badge, isOurs, namesOf } from "./person.js";
import { openProfile } from "./people.js";
import { hashOf } from "./place.js";
import { reactionRow } from "./reactions.js";
import { openThread, statusOf } from "./sessions.js";
import { store } from "./store.js";
import { renderPlan, renderTask } from "./tasks.js";
import { renderMrkdwn } from "./text.js";
import { ago, clockTime, isoTime, shortTime, wholeTime } from "./time.js";

/**
 * A message's element, to be shown once; lists keep a MessageView instead.
 * @param {object} message a Shown @param {object} [opts] as MessageView has them
 */
export function renderMessage(message, opts = {}) {
  return new MessageView(message, opts).el;
}

export class MessageView {
  #drawn = {};
  #segments = [];
  #editor = null;
  #epoch = -1;

  /**
   * @param {object} message a Shown
   * @param {{compact?: boolean, inThread?: boolean, ephemeral?: boolean, onDismiss?: () => void}} opts
   */
  constructor(message, opts = {}) {
    this.gutter = h("div", { class: "gutter" });
    this.head = h("div", { class: "message-head" });
    this.content = h("div", { class: "message-content" });
    this.extra = h("div", { class: "message-extra" });
    this.el = h(
      "article",
      { class: "message", tabIndex: -1, data: { ts: message.ts, channel: message.channel } },
      this.gutter,
      h("div", { class: "message-main" }, this.head, this.content, this.extra),
    );
    this.el.view = this;
    this.update(message, opts);
  }

  /** Show this state of it; parts that stayed as they were are left alone. */
  update(message, opts = this.opts) {
    const known = message === this.message && store.epoch === this.#epoch && opts.compact === this.opts.compact;
    this.message = message;
    this.opts = opts;
    this.#epoch = store.epoch;
    if (!known) this.#draw();
    this.#part("extra", this.#extraKey(), () => fill(this.extra, this.#extras()));
  }

  #draw() {
    const { message, opts } = this;
    const streaming = message.streaming_state === "in_progress";
    this.el.dataset.state = streaming ? "streaming" : "whole";
    this.el.classList.toggle("compact", Boolean(opts.compact));
    this.el.classList.toggle("ephemeral", Boolean(opts.ephemeral));
    this.el.setAttribute(
      "aria-label",
      `${authorName(message)}, ${clockTime(message.ts)}${opts.ephemeral ? ", only visible to you" : ""}`,
    );
    this.#part(
      "head",
      [authorName(message), opts.compact, message.subtype, message.edited?.ts, store.me, opts.inThread],
      () => this.#drawHead(),
    );
    if (!this.#editor) this.#drawContent(streaming);
  }

  // Draws when what it is made of has changed.
  #part(name, key, draw) {
    const now = JSON.stringify(key);
    if (this.#drawn[name] === now) return;
    this.#drawn[name] = now;
    draw();
  }

  #drawHead() {
    const { message, opts } = this;
    const user = authorOf(message);
    const link = (label) =>
      h(
        "a",
        {
          class: "time",
          href: hashOf({ channel: message.channel, thread_ts: message.thread_ts, message: message.ts }),
          title: wholeTime(message.ts),
        },
        h("time", { dateTime: isoTime(message.ts) }, label),
      );
    if (opts.ephemeral) fill(this.gutter, h("span", { class: "avatar quiet", aria: { hidden: "true" } }, svg("eye")));
    else if (opts.compact) fill(this.gutter, link(shortTime(message.ts)));
    else fill(this.gutter, avatar(user));
    const name = h(
      "button",
      { type: "button", class: "author", on: { click: (event) => openProfile(user, event.currentTarget) } },
      authorName(message),
    );
    fill(
      this.head,
      opts.ephemeral && this.#onlyYou(),
      !opts.compact && [
        h("span", { class: "who" }, user ? name : h("span", { class: "author" }, authorName(message)), badge(user)),
        !opts.ephemeral && link(clockTime(message.ts)),
      ],
      !opts.inThread && message.subtype === "thread_broadcast" && this.#broadcastNote(),
    );
    this.head.hidden = !this.head.childNodes.length;
  }

  #onlyYou() {
    return h(
      "div",
      { class: "only-you" },
      svg("eye_off", 14),
      "Only visible to you",
      this.opts.onDismiss &&
        h("button", { type: "button", class: "link", on: { click: this.opts.onDismiss } }, "Dismiss"),
    );
  }

  #broadcastNote() {
    const { channel, thread_ts } = this.message;
    const open = () => openThread(channel, thread_ts);
    return h(
      "div",
      { class: "broadcast-note" },
      svg("thread", 14),
      "Replied to a ",
      h("button", { type: "button", class: "link", on: { click: open } }, "thread"),
    );
  }

  // ------------------------------------------------------------------ content

  #drawContent(streaming) {
    const { message } = this;
    const parts = message.parts ?? [];
    if (parts.length || streaming) return this.#drawStream(parts, streaming);
    this.#segments = [];
    const tail = message.edited && !isOurs(message);
    return this.#part(
      "content",
      [message.text, message.blocks, message.attachments, tail, store.state.boot, this.opts.ephemeral],
      () => {
        fill(
          this.content,
          this.#body(tail && h("span", { class: "edited", title: "Changed after it was sent" }, " (edited)")),
        );
      },
    );
  }

  #body(tail) {
    const { message } = this;
    const ctx = { on: "message", id: message.ts, channel: message.channel, ephemeral: Boolean(this.opts.ephemeral) };
    const typed = !message.bot_id && (message.blocks ?? []).every((block) => block.type === "rich_text");
    const blocks = message.blocks?.length && !typed;
    const said = blocks
      ? [renderBlocks(message.blocks, ctx), tail]
      : message.text || tail
        ? h("div", { class: "mrkdwn" }, renderMrkdwn(message.text ?? ""), tail)
        : null;
    return [said, message.attachments?.length ? renderAttachments(message.attachments, ctx) : null];
  }

  #drawStream(parts, streaming) {
    delete this.#drawn.content;
    const segments = merged(parts, this.message);
    const kept = segments.findIndex((one, at) => one.kind !== this.#segments[at]?.kind);
    const same = kept < 0 ? segments.length : kept;
    if (!this.#segments.length) this.content.replaceChildren();
    for (const one of this.#segments.splice(same)) one.node.remove();
    segments.forEach((segment, at) => {
      const node = this.#segments[at]?.node ?? this.content.appendChild(h("div", { class: ["segment", segment.kind] }));
      this.#drawSegment(node, segment, this.#segments[at], streaming && at === segments.length - 1);
      this.#segments[at] = { ...segment, node };
    });
    this.#foot(streaming, segments.length === 0);
  }

  #drawSegment(node, segment, before, open) {
    if (segment.kind === "text") return growMarkdown(node, segment.text, { streaming: open });
    const key = JSON.stringify(segment.data);
    if (before?.node && before.key === key) return (segment.key = key);
    segment.key = key;
    const ctx = { on: "message", id: this.message.ts, channel: this.message.channel };
    const made = {
      task: () => renderTask(segment.data),
      plan: () => renderPlan(segment.data.title, segment.data.tasks),
      blocks: () => renderBlocks(segment.data, ctx),
    };
    return fill(node, made[segment.kind]());
  }

  #foot(streaming, empty) {
    const { message } = this;
    const note = message.stopped_by
      ? `Stopped by ${namesOf([message.stopped_by])}`
      : message.streaming_state === "errored"
        ? "This answer broke off."
        : "";
    this.foot ??= h("div", { class: "stream-foot" });
    this.#part("foot", [streaming, empty, note], () => {
      fill(
        this.foot,
        streaming && h("span", { class: ["typing", empty && "alone"], title: "Still writing" }, h("i"), h("i"), h("i")),
        note && h("span", { class: "stream-note" }, svg(message.stopped_by ? "stop" : "warn", 14), note),
      );
    });
    if (this.content.lastChild !== this.foot) this.content.append(this.foot);
    this.foot.hidden = !this.foot.childNodes.length;
  }

  // ------------------------------------------------------------------ below it

  #extraKey() {
    const { message, opts } = this;
    const status = opts.inThread ? null : statusOf(message.channel, message.ts)?.text;
    return [
      message.files,
      message.reactions,
      message.reply_count,
      message.latest_reply && ago(message.latest_reply),
      status,
      store.me,
      store.epoch,
      opts.inThread,
      opts.ephemeral,
      this.#freshReplies(),
      !opts.inThread && this.#notes(),
    ];
  }

  #extras() {
    const { message, opts } = this;
    if (opts.ephemeral) return [];
    return [fileList(message.files ?? []), reactionRow(message), !opts.inThread && this.#replies()];
  }

  #freshReplies() {
    const { latest_reply: latest, channel, ts } = this.message;
    return Boolean(latest) && latest > (store.threadSeen.get(`${channel}/${ts}`) ?? store.opened);
  }

  // Ephemeral messages in its thread that the acting person has not dismissed.
  #notes() {
    let count = 0;
    for (const one of store.state.ephemerals.values())
      if (one.thread_ts === this.message.ts && one.user === store.me && !isDismissed(one.ts)) count += 1;
    return count;
  }

  #replies() {
    const { message } = this;
    const status = statusOf(message.channel, message.ts);
    const notes = this.#notes();
    if (!message.reply_count && !status && !notes) return null;
    const faces = (message.reply_users ?? [])
      .slice(0, 4)
      .map((id) => avatar(authorOf({ user: id, bot_id: id }), "small"));
    return h(
      "button",
      {
        type: "button",
        class: ["replies", this.#freshReplies() && "fresh"],
        on: { click: () => openThread(message.channel, message.ts) },
      },
      h("span", { class: "faces" }, faces),
      h(
        "span",
        { class: "replies-count" },
        message.reply_count
          ? plural(message.reply_count, "reply", "replies")
          : notes
            ? "A note for you alone"
            : "Open the thread",
      ),
      " ", // what is read aloud keeps its words apart
      status
        ? h(
            "span",
            { class: ["replies-status", status.kind] },
            status.busy && h("span", { class: "spinner" }),
            status.text,
          )
        : message.latest_reply && h("span", { class: "muted replies-when" }, `Last reply ${ago(message.latest_reply)}`),
      svg("right", 14),
    );
  }

  // ------------------------------------------------------------------- editing

  /** Whether it is being edited. */
  get editing() {
    return this.#editor !== null;
  }

  /** Put an editor in the place of the text. */
  edit() {
    if (this.#editor) return this.#editor.focus();
    this.#editor = new Editor(this.message, () => {
      this.#editor = null;
      this.#drawn = {};
      this.#epoch = -1;
      this.update(this.message);
      this.el.focus({ preventScroll: true });
    });
    fill(this.content, this.#editor.el);
    this.el.scrollIntoView({ block: "nearest" });
    return this.#editor.focus();
  }
}

/** Texts that follow each other become one; a plan is one thing, where its first task stands. */
function merged(parts, message) {
  const tasks = new Map((message.tasks ?? []).map((task) => [task.id ?? task.task_id, task]));
  const plan = message.display === "plan" || Boolean(message.plan);
  const made = [];
  for (const part of parts) {
    const last = made.at(-1);
    if (typeof part.text === "string") {
      if (last?.kind === "text") last.text += part.text;
      else made.push({ kind: "text", text: part.text });
    } else if (part.blocks) {
      made.push({ kind: "blocks", data: part.blocks });
    } else if (plan) {
      if (!made.some((one) => one.kind === "plan"))
        made.push({ kind: "plan", data: { title: message.plan, tasks: message.tasks } });
    } else if (tasks.has(part.task)) {
      made.push({ kind: "task", data: tasks.get(part.task) });
    }
  }
  return made;
}

/** What can be done with a message: one bar that moves to the message under the pointer or the focus. */

import { act } from "./api.js";
import { h, iconButton, plural } from "./dom.js";
import { confirmed, menuOpen, openMenu } from "./menu.js";
import { fromSlack } from "./mentions.js";
import { hashOf } from "./place.js";
import { chooseReaction, react } from "./reactions.js";
import { openThread } from "./sessions.js";
import { store } from "./store.js";
import { justBefore } from "./time.js";
import { toast } from "./toast.js";

const QUICK = [
  ["white_check_mark", "✅"],
  ["eyes", "👀"],
];

/** The bar of one list of messages. */
export class ActionBar {
  /** @param {HTMLElement} list @param {{inThread: boolean}} how */
  constructor(list, how) {
    this.how = how;
    this.view = null;
    this.el = h("div", { class: "message-actions", role: "toolbar", aria: { label: "Message actions" } });
    list.addEventListener(
      "pointerover",
      (event) => event.pointerType !== "touch" && !menuOpen() && this.#to(event.target.closest("article")),
    );
    list.addEventListener("pointerleave", (event) => event.pointerType !== "touch" && !this.#held() && this.away());
    list.addEventListener("focusin", (event) => this.#to(event.target.closest("article")));
    list.addEventListener("focusout", () =>
      setTimeout(() => !this.#held() && !this.el.matches(":hover") && this.away(), 0),
    );
  }

  /** Take it off the message. */
  away() {
    this.view = null;
    this.el.remove();
  }

  // While the keyboard is in this message, or one of its menus is open, it stays.
  #held() {
    return menuOpen() || Boolean(this.view?.el.contains(document.activeElement));
  }

  #to(article) {
    const view = article?.view;
    if (!view || view.opts.ephemeral || view === this.view) return;
    if (view.editing) return this.away();
    this.view = view;
    const { message } = view;
    const quick = QUICK.map(([name, glyph]) =>
      h(
        "button",
        {
          type: "button",
          class: "icon-button quick",
          title: `React with :${name}:`,
          aria: { label: `React with ${name.replaceAll("_", " ")}` },
          on: { click: () => react(message, name) },
        },
        glyph,
      ),
    );
    const more = iconButton("more", "More actions", () => moreMenu(more, view), {
      aria: { haspopup: "menu", expanded: false },
    });
    this.el.replaceChildren(
      ...quick,
      iconButton("smile", "Add reaction", (event) => chooseReaction(event.currentTarget, message), {
        aria: { haspopup: "dialog" },
      }),
      ...(this.how.inThread
        ? []
        : [
            iconButton("thread", "Reply in thread", () => openThread(message.channel, message.thread_ts ?? message.ts)),
          ]),
      more,
    );
    view.el.append(this.el);
  }
}

function moreMenu(anchor, view) {
  const message = store.message(view.message.channel, view.message.ts) ?? view.message;
  const own = message.user === store.me && !message.bot_id;
  const rank = store.person?.kind;
  const items = [
    own && { label: "Edit message", icon: "edit", run: () => view.edit() },
    {
      label: "Copy text",
      icon: "copy",
      run: () => copy(fromSlack(message.text || streamed(message)), "The text is copied."),
    },
    { label: "Copy link", icon: "link", run: () => copy(linkTo(message), "The link is copied.") },
    { label: "Mark unread from here", icon: "bell", run: () => markUnread(message) },
    ...shortcutItems(message),
    (own || rank === "admin" || rank === "owner") && "line",
    (own || rank === "admin" || rank === "owner") && {
      label: "Delete message…",
      icon: "trash",
      danger: true,
      run: () => remove(message),
    },
  ];
  openMenu(anchor, items.filter(Boolean), { label: "More actions" });
}

function shortcutItems(message) {
  const all = store.state.shortcuts;
  if (!all.length) return [];
  const run = (one) =>
    act("shortcut", { user: store.me, ts: message.ts, channel: message.channel, callback_id: one.callback_id });
  const app = [...store.state.users.values()].find((one) => one.kind === "app");
  return [
    "line",
    ...all.map((one) => ({
      label: one.name,
      icon: "bolt",
      note: app?.real_name,
      run: () => run(one).catch(() => null),
    })),
  ];
}

function streamed(message) {
  return (message.parts ?? []).map((part) => part.text ?? "").join("");
}

/** The address of a message on this page. */
export function linkTo(message) {
  const place = { channel: message.channel, thread_ts: message.thread_ts ?? null, message: message.ts };
  return new URL(hashOf(place), location.href).href;
}

async function copy(text, said) {
  try {
    await navigator.clipboard.writeText(text);
    toast(said, { kind: "ok" });
  } catch {
    toast("The browser does not let this page copy.", { kind: "error" });
  }
}

function markUnread(message) {
  store.emit("unread", message);
  act("mark", { user: store.me, channel: message.channel, ts: justBefore(message.ts) }).catch(() => null);
}

/** Delete a message, once the person has said so. */
export async function remove(message) {
  const replies = message.reply_count ? ` Its ${plural(message.reply_count, "reply", "replies")} will stay.` : "";
  const text = h(
    "div",
    null,
    h("p", null, `Delete this message for everybody?${replies}`),
    h("blockquote", { class: "ask-quote" }, fromSlack(message.text || streamed(message) || "(no text)").slice(0, 300)),
  );
  if (!(await confirmed({ title: "Delete message", text, confirm: "Delete", danger: true }))) return;
  await act("delete", { channel: message.channel, ts: message.ts }).catch(() => null);
}

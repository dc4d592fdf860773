/** Where a message is written: text, names, files; and why it cannot be written here, when it cannot. */

import { act } from "./api.js";
import { add, fill, h, iconButton, svg } from "./dom.js";
import { pickEmoji } from "./emoji.js";
import { Waiting } from "./files.js";
import { attachMentions, toSlack } from "./mentions.js";
import { avatar, channelLabel, nameOf } from "./person.js";
import { isPerson, store } from "./store.js";
import { toast } from "./toast.js";

const drafts = new Map();
const TALLEST = 240;

export class Composer {
  /**
   * @param {{onSent?: (sent: object) => void, onUp?: () => boolean, inThread?: boolean}} how
   *   onUp: ↑ in an empty field; true when there was something to edit
   */
  constructor(how) {
    this.how = how;
    this.where = { channel: null, threadTs: null };
    this.area = h("textarea", {
      rows: 1,
      class: "composer-area",
      spellcheck: true,
      on: { keydown: (event) => this.#keys(event), input: () => this.#typed(), paste: (event) => this.#pasted(event) },
    });
    this.files = new Waiting(() => this.#ready());
    this.send = iconButton("send", "Send message", () => this.submit(), { class: "send" });
    this.broadcast = h("input", { type: "checkbox" });
    this.also = h("label", { class: "also-send", hidden: true }, this.broadcast, (this.alsoText = h("span")));
    const input = h("input", {
      type: "file",
      multiple: true,
      hidden: true,
      tabIndex: -1,
      aria: { label: "Files" },
      on: { change: () => (this.files.add(input.files), (input.value = "")) },
    });
    const tools = h(
      "div",
      { class: "composer-tools", role: "toolbar", aria: { label: "Add to the message" } },
      iconButton("clip", "Attach files", () => input.click()),
      iconButton("smile", "Add emoji", (event) => pickEmoji(event.currentTarget, (name) => this.#emoji(name)), {
        aria: { haspopup: "dialog" },
      }),
      iconButton("at", "Mention somebody", () => this.#mention()),
    );
    this.prompts = h("div", { class: "prompts", hidden: true });
    this.box = h(
      "div",
      { class: "composer-box" },
      this.files.el,
      this.area,
      input,
      h(
        "div",
        { class: "composer-foot" },
        tools,
        how.inThread && this.also,
        (this.hint = h("span", { class: "hint muted" }, "Shift+Enter for a new line")),
        this.send,
      ),
    );
    this.reason = h("div", { class: "composer-reason", hidden: true });
    this.el = h("div", { class: "composer", data: { testid: "composer" } }, this.prompts, this.box, this.reason);
    attachMentions(this.area, this.where);
    this.#ready();
  }

  /** Write here from now on; what was begun elsewhere is kept for when the person comes back. */
  show(channel, threadTs = null) {
    const key = `${store.me}/${channel?.id}/${threadTs ?? ""}`;
    if (key !== this.key) {
      this.#keep();
      this.key = key;
      this.area.value = drafts.get(key) ?? "";
      this.broadcast.checked = false;
      if (this.files.count) this.files.clear();
    }
    Object.assign(this.where, { channel: channel?.id ?? null, threadTs });
    this.#words(channel, threadTs);
    this.#block(channel);
    this.#showPrompts(channel, threadTs);
    this.#fit();
    this.#ready();
  }

  #words(channel, threadTs) {
    const label = channelLabel(channel);
    const who = nameOf(store.person);
    this.area.placeholder = threadTs ? `Reply as ${who}` : `Message ${label} as ${who}`;
    this.area.setAttribute("aria-label", threadTs ? "Reply in thread" : `Message to ${label}`);
    this.also.hidden = !threadTs || channel?.kind === "im";
    fill(this.alsoText, `Also send to ${label}`);
  }

  #keep() {
    if (!this.key) return;
    if (this.area.value.trim()) drafts.set(this.key, this.area.value);
    else drafts.delete(this.key);
  }

  #block(channel) {
    const reason = channel && whyNot(channel);
    this.box.hidden = Boolean(reason);
    this.reason.hidden = !reason;
    if (reason) fill(this.reason, reason);
  }

  #showPrompts(channel, threadTs) {
    const known = channel && !whyNot(channel) ? store.state.prompts.get(channel.id) : null;
    const here = known?.prompts?.length && (known.thread_ts ?? null) === (threadTs ?? null);
    this.prompts.hidden = !here;
    const drawn = here && JSON.stringify([known.title, known.prompts]);
    if (!here || drawn === this.drawnPrompts) return; // one that is being pressed stays
    this.drawnPrompts = drawn;
    const use = (one) => this.#post(one.message, []);
    fill(
      this.prompts,
      h("p", { class: "prompts-title" }, known.title || "Try one of these"),
      h(
        "div",
        { class: "prompts-list" },
        known.prompts.map((one) =>
          h(
            "button",
            { type: "button", class: "prompt", title: one.message, on: { click: () => use(one) } },
            svg("spark", 15),
            h("span", null, one.title),
          ),
        ),
      ),
    );
  }

  /** Put the cursor into it. */
  focus() {
    if (!this.box.hidden) this.area.focus({ preventScroll: true });
  }

  /** Take these files in. */
  take(files) {
    if (!this.box.hidden && files.length) this.files.add(files);
  }

  #typed() {
    this.#fit();
    this.#ready();
  }

  #fit() {
    this.area.style.height = "auto";
    if (this.area.value) this.area.style.height = `${Math.min(this.area.scrollHeight, TALLEST)}px`;
  }

  #ready() {
    const some = this.area.value.trim() || this.files.ids.length;
    this.send.disabled = !some || this.files.busy;
  }

  #pasted(event) {
    const { files } = event.clipboardData;
    if (!files.length) return;
    event.preventDefault();
    this.take(files);
  }

  #emoji(name) {
    this.#insert(`:${name}: `);
  }

  #mention() {
    const before = this.area.value.slice(0, this.area.selectionStart);
    this.#insert(/(^|\s)$/.test(before) ? "@" : " @");
  }

  #insert(text) {
    this.area.focus();
    this.area.setRangeText(text, this.area.selectionStart, this.area.selectionEnd, "end");
    this.area.dispatchEvent(new Event("input", { bubbles: true }));
  }

  #keys(event) {
    if (event.defaultPrevented || event.isComposing) return;
    if (event.key === "Enter" && !event.shiftKey && !event.altKey) {
      event.preventDefault();
      this.submit();
    } else if (event.key === "ArrowUp" && !this.area.value && !event.shiftKey && this.how.onUp?.()) {
      event.preventDefault();
    }
  }

  /** Send what is written. */
  async submit() {
    const text = this.area.value.trim();
    const { ids } = this.files;
    if (this.files.busy) return toast("A file is still on its way.");
    if (!text && !ids.length) return undefined;
    const sentFrom = this.key;
    this.area.value = "";
    this.#typed();
    if (await this.#post(toSlack(text), ids)) return this.files.clear();
    // It stays to be sent again, unless something else has been begun.
    if (this.key !== sentFrom) drafts.set(sentFrom, text);
    else if (!this.area.value) this.area.value = text;
    return this.#typed();
  }

  async #post(text, fileIds) {
    const { channel, threadTs } = this.where;
    const body = { channel, user: store.me, text };
    if (threadTs) Object.assign(body, { thread_ts: threadTs, broadcast: this.broadcast.checked });
    if (fileIds.length) body.file_ids = fileIds;
    try {
      const sent = await act("message", body);
      this.broadcast.checked = false;
      this.how.onSent?.({ ...sent, text, channel, threadTs });
      return true;
    } catch {
      return false; // the notice has said why
    }
  }
}

/** Why the acting person cannot write here, with a way out; null when they can. */
export function whyNot(channel) {
  const person = store.person;
  if (channel.archived)
    return h("p", null, svg("archive", 16), `#${channel.name} is archived: it can be read, not written to.`);
  if (!person || channel.members.includes(person.id)) return null;
  const inside = channel.members.map((id) => store.state.users.get(id)).filter(isPerson);
  const become = (user) =>
    h(
      "button",
      { type: "button", class: "button small", on: { click: () => (store.me = user.id) } },
      avatar(user, "small"),
      nameOf(user),
    );
  const made = h(
    "div",
    { class: "not-inside" },
    h(
      "p",
      null,
      svg("info", 16),
      `${nameOf(person)} is not in ${channelLabel(channel)}, and can read it but not write here.`,
    ),
  );
  if (inside.length)
    add(made, h("div", { class: "become" }, h("span", { class: "muted" }, "Act as"), inside.slice(0, 4).map(become)));
  return made;
}

/**
 * Files dropped on a pane go to its composer.
 * @param {HTMLElement} pane @param {Composer} composer
 */
export function dropInto(pane, composer) {
  const veil = h(
    "div",
    { class: "drop-veil", hidden: true },
    h("div", null, svg("clip", 28), h("strong", null, "Drop files to attach them")),
  );
  const carries = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  pane.append(veil);
  pane.addEventListener("dragenter", (event) => carries(event) && (veil.hidden = composer.box.hidden));
  pane.addEventListener("dragover", (event) => carries(event) && event.preventDefault());
  pane.addEventListener("dragleave", (event) => !pane.contains(event.relatedTarget) && (veil.hidden = true));
  pane.addEventListener("drop", (event) => {
    if (!carries(event)) return;
    event.preventDefault();
    veil.hidden = true;
    composer.take(event.dataTransfer.files);
    composer.focus();
  });
}

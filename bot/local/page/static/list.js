/** A long list of messages of which few are on the page, and whose place on the screen holds still. */

import { ActionBar } from "./actions.js";
import { dismiss, isDismissed } from "./dismissed.js";
import { h, plural, svg } from "./dom.js";
import { Hold } from "./hold.js";
import { MessageView } from "./message.js";
import { undisturbed } from "./pointer.js";
import { articles, ensureOne, rove } from "./roving.js";
import { rowsOf } from "./rows.js";
import { byTs, store } from "./store.js";

const SPAN = 120; // messages on the page at once
const STEP = 40;
const NEAR = 700; // pixels from an end at which more is shown
const MOST_PAGES = 20; // fetched in one go to come back to a place
const BOTTOM = 48; // pixels from the foot that count as being there

/**
 * `source`: { older(before) → {messages, more}, newer(after) → {messages, more}|null, belongs(message),
 *   ephemeral(one), root: ts|null, newAfter(): ts|null, start(): Node, replies(): string|null, inThread, label }
 */
export class MessageList {
  constructor(source) {
    this.source = source;
    this.rows = h("div", { class: "rows", role: "log", aria: { label: source.label, live: "off" } });
    this.head = h("div", { class: "list-head" });
    this.scroller = h("div", { class: "scroller" }, h("div", { class: "list-space" }), this.head, this.rows);
    this.pill = h("button", { type: "button", class: "newest", hidden: true, on: { click: () => this.newest() } });
    this.el = h("div", { class: "list" }, this.scroller, this.pill);
    this.actions = new ActionBar(this.rows, { inThread: source.inThread });
    this.nodes = new Map();
    this.due = () => this.frame && this.render();
    this.scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    this.hold = new Hold(this.scroller, this.rows);
    rove(this.rows, (event, article) => source.key?.(event, article.view));
    this.watch = new ResizeObserver(() => this.#settle());
    this.watch.observe(this.rows);
    this.watch.observe(this.scroller);
    this.#empty();
  }

  #empty() {
    Object.assign(this, {
      items: [],
      start: 0,
      end: 0,
      older: true,
      newer: false,
      stuck: true,
      unseen: 0,
      loading: false,
      loaded: false,
      meanwhile: null,
      turn: (this.turn ?? 0) + 1,
    });
    this.hold.clear();
  }

  /** Load from the server: the newest, or around one message, which is then shown and pointed at. */
  async open(at = null) {
    this.#empty();
    const turn = this.turn;
    this.render();
    const [[before, after], meanwhile] = await this.#hearing(async () => [
      await this.#page("older", at ? next(at) : null),
      at && this.source.newer ? await this.#page("newer", at) : null,
    ]);
    if (turn !== this.turn) return;
    this.older = before.more;
    this.newer = after?.more ?? false;
    this.loaded = true;
    for (const page of [before, after]) if (page) this.#merge(page);
    this.end = this.items.length;
    this.start = Math.max(0, this.end - SPAN);
    for (const change of meanwhile) this.changed(change);
    this.render();
    if (at) await this.point(at, turn);
    else await this.#fillScreen(turn);
  }

  // A tall screen wants more than one page of short messages, and cannot be scrolled to ask for it.
  async #fillScreen(turn) {
    this.hold.toBottom();
    const { scroller } = this;
    for (
      let page = 0;
      page < MOST_PAGES &&
      this.older &&
      this.items.length < SPAN &&
      scroller.scrollHeight < scroller.clientHeight + NEAR;
      page += 1
    ) {
      await this.#further(turn);
      if (turn !== this.turn) return;
      this.end = this.items.length;
      this.start = Math.max(0, this.end - SPAN);
      this.render();
    }
  }

  /** Load again without losing the place, after the connection was lost. */
  async refresh() {
    if (!this.loaded) return this.open();
    const turn = this.turn;
    const from = this.stuck ? null : (this.items[this.start] ?? null);
    const [pages, meanwhile] = await this.#hearing(() => this.#pagesBackTo(from));
    if (turn !== this.turn) return undefined;
    this.items = [];
    this.older = pages[0].more;
    this.newer = false;
    for (const page of pages) this.#merge(page);
    const at = from ? this.items.findIndex((ts) => ts >= from) : -1;
    this.start = at < 0 ? Math.max(0, this.items.length - SPAN) : at;
    this.end = Math.min(this.items.length, this.start + SPAN);
    for (const change of meanwhile) this.changed(change);
    return this.render();
  }

  // A page of the server's, and when it was asked for.
  async #page(way, ts) {
    const asked = store.tick;
    return { ...(await this.source[way](ts)), asked };
  }

  #merge({ messages, asked }) {
    store.keep(messages, asked);
    const all = new Set(this.items);
    const stands = (one) => this.source.belongs(one) && store.message(one.channel, one.ts);
    for (const one of messages) if (stands(one)) all.add(one.ts);
    this.items = [...all].sort(byTs);
  }

  // What comes of a fetch, and what was told meanwhile, of which the server may not have known.
  async #hearing(fetch) {
    const meanwhile = (this.meanwhile = []);
    try {
      return [await fetch(), meanwhile];
    } finally {
      if (this.meanwhile === meanwhile) this.meanwhile = null;
    }
  }

  async #pagesBackTo(from) {
    const pages = [await this.#page("older", null)];
    while (from && pages[0].more && (pages[0].messages[0]?.ts ?? "") > from && pages.length < MOST_PAGES)
      pages.unshift(await this.#page("older", pages[0].messages[0].ts));
    return pages;
  }

  /** Messages came, changed or went. */
  changed({ messages, gone }) {
    this.meanwhile?.push({ messages, gone });
    if (!this.loaded) return;
    let touched = false;
    for (const one of messages) if (this.source.belongs(one)) touched = this.#arrived(one) || touched;
    for (const one of gone) touched = this.#left(one) || touched;
    if (touched) this.later();
  }

  #arrived(message) {
    const { items } = this;
    if (items.includes(message.ts)) return true;
    const last = items.at(-1);
    if (this.newer && last && message.ts > last) return this.#unseen(message);
    if (items.length && message.ts < items[0] && this.older) return false;
    const tail = this.end === items.length;
    items.push(message.ts);
    if (last && message.ts < last) items.sort(byTs);
    const own = message.user === store.me;
    if (own && tail) this.stuck = true;
    if (tail && (this.stuck || this.end - this.start < SPAN)) this.end = items.length;
    if (this.stuck) this.start = Math.max(this.start, this.end - SPAN);
    if (!this.stuck && !own) this.#unseen(message);
    return true;
  }

  #unseen(message) {
    if (message.user !== store.me) this.unseen += 1;
    this.#pill();
    return false;
  }

  #left({ channel, ts }) {
    const at = this.source.channel === channel ? this.items.indexOf(ts) : -1;
    if (at < 0) return false;
    this.items.splice(at, 1);
    if (at < this.start) this.start -= 1;
    if (at < this.end) this.end -= 1;
    return true;
  }

  /** Draw at the next frame, once for all that changed until then. */
  later() {
    this.frame ??= requestAnimationFrame(() => undisturbed(this.due));
  }

  /** Draw now. */
  render() {
    cancelAnimationFrame(this.frame);
    this.frame = null;
    if (!this.stuck) this.hold.mark();
    const shown = this.items
      .slice(this.start, this.end)
      .map((ts) => store.message(this.source.channel, ts))
      .filter(Boolean);
    const rows = this.loaded
      ? rowsOf(shown, this.#ephemerals(), {
          newAfter: this.source.newAfter(),
          me: store.me,
          root: this.source.root,
          replies: this.source.replies?.(),
        })
      : [];
    this.#reconcile(rows);
    ensureOne(this.rows);
    this.#drawHead();
    this.#settle();
    this.#pill();
    this.source.drawn?.();
  }

  #ephemerals() {
    const first = this.start === 0 && !this.older ? "" : this.items[this.start];
    const last = this.end === this.items.length && !this.newer ? null : this.items[this.end - 1];
    const fits = (one) =>
      one.user === store.me &&
      !isDismissed(one.ts) &&
      this.source.ephemeral(one) &&
      one.ts >= (first ?? "") &&
      (last === null || one.ts <= last);
    // What an ephemeral message names as its user is who sees it; only our app writes them.
    return [...store.state.ephemerals.values()]
      .filter(fits)
      .map((one) => ({ ...one, user: store.state.who.bot_user_id }));
  }

  #drawHead() {
    const beginning = this.loaded && this.start === 0 && !this.older;
    const kind = !this.loaded ? "loading" : beginning ? "start" : "more";
    if (kind === this.headKind) return;
    this.headKind = kind;
    if (kind === "start") this.head.replaceChildren(...[this.source.start()].filter(Boolean));
    else
      this.head.replaceChildren(
        h(
          "div",
          { class: "loading", role: "status" },
          h("span", { class: "spinner" }),
          kind === "loading" ? "Loading…" : "Loading older messages…",
        ),
      );
  }

  #reconcile(rows) {
    const wanted = new Set(rows.map((row) => row.key));
    for (const [key, node] of this.nodes) {
      if (wanted.has(key)) continue;
      node.remove();
      this.nodes.delete(key);
    }
    let at = this.rows.firstChild;
    for (const row of rows) {
      const node = this.#node(row);
      if (node === at) at = at.nextSibling;
      else this.rows.insertBefore(node, at);
    }
  }

  #node(row) {
    const known = this.nodes.get(row.key);
    if (row.message) return this.#messageNode(row, known);
    const label = row.label ?? "New";
    const node = known ?? h("div", { class: ["separator", row.kind], role: "separator" }, h("span"));
    if (node.firstChild.textContent !== label) {
      node.firstChild.textContent = label;
      node.setAttribute("aria-label", row.kind === "new" ? "New messages" : label);
    }
    this.nodes.set(row.key, node);
    return node;
  }

  #messageNode(row, known) {
    const ephemeral = row.kind === "ephemeral";
    const opts = {
      compact: row.compact,
      inThread: this.source.inThread,
      ephemeral,
      onDismiss: ephemeral ? () => this.#dismiss(row.message.ts) : undefined,
    };
    if (known) {
      known.view.update(row.message, opts);
      return known;
    }
    const { el } = new MessageView(row.message, opts);
    this.nodes.set(row.key, el);
    return el;
  }

  #dismiss(ts) {
    dismiss(ts);
    this.render();
    store.emit("ephemerals");
  }

  // ------------------------------------------------------------------ scrolling

  #scrolled() {
    const tail = this.end === this.items.length && !this.newer;
    const up = this.hold.scrolledUp();
    if (this.hold.left <= BOTTOM && tail) this.stuck = true;
    else if (up) this.stuck = false;
    if (this.stuck) this.unseen = 0;
    this.hold.mark();
    this.#pill();
    if (this.loaded && this.#near()) this.#more();
    this.source.scrolled?.();
  }

  async #more() {
    if (this.loading) return;
    const turn = this.turn;
    const shown = `${this.start} ${this.end}`;
    this.loading = true;
    try {
      if (this.scroller.scrollTop < NEAR && !this.stuck) await this.#up(turn);
      else if (this.hold.left < NEAR) await this.#down(turn);
    } catch {
      return; // the notice has said why; the next scroll tries again
    } finally {
      if (turn === this.turn) this.loading = false;
    }
    if (turn === this.turn && `${this.start} ${this.end}` !== shown)
      requestAnimationFrame(() => this.#near() && this.#more());
  }

  #near() {
    return !this.stuck && (this.scroller.scrollTop < NEAR || this.hold.left < NEAR);
  }

  async #up(turn) {
    if (this.start === 0) {
      if (!this.older) return;
      const page = await this.#page("older", this.items[0] ?? null);
      if (turn !== this.turn) return;
      const before = this.items.length;
      this.#merge(page);
      this.older = page.more;
      this.start = this.items.length - before;
      this.end += this.start;
    }
    this.start = Math.max(0, this.start - STEP);
    this.end = Math.min(this.end, this.start + SPAN);
    this.render();
  }

  async #down(turn) {
    if (this.end === this.items.length) {
      if (!this.newer) return;
      const page = await this.#page("newer", this.items.at(-1) ?? "0");
      if (turn !== this.turn) return;
      this.#merge(page);
      this.newer = page.more;
    }
    if (this.end === this.items.length) return;
    this.end = Math.min(this.items.length, this.end + STEP);
    this.start = Math.max(this.start, this.end - SPAN);
    this.render();
  }

  /** Go to the newest message. */
  async newest() {
    if (this.newer) return this.open();
    this.end = this.items.length;
    this.start = Math.max(0, this.end - SPAN);
    this.stuck = true;
    this.unseen = 0;
    this.render();
    return this.hold.toBottom();
  }

  /** Show one message in the middle and point at it. */
  async point(ts, turn = this.turn) {
    for (let page = 0; page < MOST_PAGES && this.older && !this.items.includes(ts); page += 1)
      await this.#further(turn);
    const at = this.items.indexOf(ts);
    if (at < 0 || turn !== this.turn) return false;
    this.start = Math.max(0, at - SPAN / 2);
    this.end = Math.min(this.items.length, this.start + SPAN);
    this.stuck = false;
    this.render();
    const node = this.nodes.get(ts);
    node?.scrollIntoView({ block: "center" });
    this.hold.top = this.scroller.scrollTop;
    this.hold.mark();
    node?.classList.add("pointed");
    node?.focus({ preventScroll: true });
    setTimeout(() => node?.classList.remove("pointed"), 2500);
    return true;
  }

  async #further(turn) {
    const page = await this.#page("older", this.items[0] ?? null);
    if (turn !== this.turn) return;
    this.#merge(page);
    this.older = page.more;
  }

  #settle() {
    if (this.stuck) this.hold.toBottom();
    else this.hold.restore();
  }

  #pill() {
    const far = this.newer || this.end < this.items.length || this.hold.left > this.scroller.clientHeight;
    this.pill.hidden = this.stuck || !(far || this.unseen);
    const label = this.unseen ? plural(this.unseen, "new message") : "Jump to newest";
    if (this.pill.dataset.label === label) return;
    this.pill.dataset.label = label;
    this.pill.replaceChildren(svg("arrow_down", 15), label);
    this.pill.classList.toggle("fresh", this.unseen > 0);
  }

  // ------------------------------------------------------------------- keyboard

  /** Put the focus on the last message, or on the one that had it. */
  focus() {
    (this.rows.querySelector("article[tabindex='0']") ?? articles(this.rows).at(-1))?.focus();
  }

  /** The views of what is on the page, the newest last. */
  get views() {
    return articles(this.rows).map((one) => one.view);
  }

  /** Stop listening. */
  close() {
    this.turn += 1;
    this.watch.disconnect();
    cancelAnimationFrame(this.frame);
    this.frame = null;
  }
}

// Just after this timestamp: `before` leaves its own message out.
function next(ts) {
  const [seconds, micro] = ts.split(".");
  return `${seconds}.${String(Number(micro) + 1).padStart(micro.length, "0")}`;
}

// Everything that happened on one axis of time, newest at the bottom.

import { h, svg } from "../dom.js";
import { copyEntry, renderDetail } from "./detail.js";
import { LANES } from "./entries.js";
import { clockText, count } from "./format.js";
import { makeRow, paintRow } from "./row.js";
import { WindowList } from "./window.js";

const LANES_OFF = "threadline.inspector.lanes-off";

// A click is a person's deed too, though it comes as a delivery.
const isClick = (entry) => entry.kind === "event" && !entry.subject.event_id;

/** The first tab. `how`: {store, book, say}. */
export class Timeline {
  #how;
  #scope = "here";
  #off = new Set((localStorage.getItem(LANES_OFF) ?? "").split(",").filter(Boolean));
  #words = [];
  #clock = false;
  #frozen = null; // the entries as they were when paused
  #cleared = -Infinity;
  #items = [];
  #shown = ""; // which place's rows these are

  constructor(how) {
    this.#how = how;
    this.#scroller = h("div", { class: "ins-scroll" });
    this.element = h("div", { class: "ins-timeline" }, this.#tools(), this.#stage());
    this.list = new WindowList(this.#scroller, {
      make: (item) => makeRow(item, {
        toggle: (key) => this.toggle(key), copy: (key) => this.#copy(key), focus: (key) => this.#focused(key),
      }),
      paint: (row, item) => paintRow(row, this.#related(item)),
      detail: (item) => renderDetail(item.entry, { ...how, reveal: (key) => this.reveal(key) }),
      onScroll: () => this.#tellEnd(),
    });
  }

  // ------------------------------------------------------------------- parts

  #scroller;
  #copying = h("div", { class: "ins-copying" });
  #nothing = h("div", { class: "ins-empty" });
  #told = 0;
  #end = h("button", { type: "button", class: "ins-to-end", hidden: true, on: { click: () => this.list.toEnd() } });
  #scopes = [];
  #pause = h("button", { type: "button", class: "ins-tool", on: { click: () => this.#togglePause() } });

  #stage() {
    return h("div", { class: "ins-stage" }, this.#copying, this.#scroller, this.#nothing, this.#end);
  }

  #tools() {
    const scope = (id) => h("button", { type: "button", class: "ins-seg", data: { scope: id }, on: { click: () => this.#setScope(id) } });
    this.#scopes = [scope("here"), scope("all")];
    const clear = h("button", { type: "button", class: "ins-tool", title: "Clear what is shown", on: { click: () => this.clear() } }, svg("trash", 15), h("span", { class: "ins-word" }, "Clear"));
    const clock = h("button", {
      type: "button", class: "ins-tool", title: "Show the time of day instead of the time since the person's message",
      aria: { pressed: "false" }, on: { click: () => this.#toggleClock(clock) },
    }, svg("clock", 15), h("span", { class: "ins-word" }, "Clock"));
    const filter = h("input", {
      type: "search", class: "ins-filter", placeholder: "Filter", autocomplete: "off", spellcheck: false, aria: { label: "Filter the timeline by text" },
      on: {
        input: () => this.#setWords(filter.value),
        keydown: (event) => {
          if (event.key !== "Escape" || filter.value === "") return;
          // The first Escape empties the field; only the next one is the pane's.
          event.stopPropagation();
          filter.value = "";
          this.#setWords("");
        },
      },
    });
    return h("div", { class: "ins-tools" },
      h("div", { class: "ins-segs", role: "group", aria: { label: "What is shown" } }, this.#scopes),
      filter,
      h("div", { class: "ins-verbs" }, clock, this.#pause, clear),
      h("div", { class: "ins-lanes", role: "group", aria: { label: "Lanes" } }, LANES.map((lane) => this.#laneChip(lane))),
    );
  }

  #laneChip(lane) {
    const chip = h("button", {
      type: "button", class: "ins-lane", title: lane.help, data: { lane: lane.id }, aria: { pressed: String(!this.#off.has(lane.id)) },
      on: {
        click: () => {
          if (!this.#off.delete(lane.id)) this.#off.add(lane.id);
          chip.setAttribute("aria-pressed", String(!this.#off.has(lane.id)));
          localStorage.setItem(LANES_OFF, [...this.#off].join(","));
          this.refresh();
        },
      },
    }, lane.name);
    return chip;
  }

  // ------------------------------------------------------------------ gestures

  /** Opens or closes a row. */
  toggle(key) {
    this.list.toggle(key);
    this.refresh();
    if (this.list.isOpen(key)) this.list.focus(key);
  }

  /** Goes to a row; where a filter hides it, the filters go. */
  reveal(key) {
    if (this.list.focus(key)) return;
    this.#off.clear();
    this.#words = [];
    this.#scope = "all";
    this.#cleared = -Infinity;
    this.element.querySelector(".ins-filter").value = "";
    for (const chip of this.element.querySelectorAll(".ins-lane")) chip.setAttribute("aria-pressed", "true");
    this.refresh();
    this.list.focus(key);
  }

  /** Leaves out what has happened so far. */
  clear() {
    this.#cleared = this.#how.book.entries.at(-1)?.at ?? -Infinity;
    this.#frozen &&= [];
    this.list.toEnd();
    this.refresh();
  }

  #copy(key) {
    const entry = this.#how.book.entry(key);
    if (entry) copyEntry(entry, this.#how, this.#copying);
  }

  #focused(key) {
    this.list.activate(key);
    this.refresh();
  }

  #setScope(id) {
    this.#scope = id;
    this.list.toEnd();
    this.refresh();
  }

  #setWords(text) {
    this.#words = text.toLowerCase().split(/\s+/).filter(Boolean);
    this.refresh();
  }

  #toggleClock(button) {
    this.#clock = !this.#clock;
    button.setAttribute("aria-pressed", String(this.#clock));
    this.element.classList.toggle("ins-clock", this.#clock);
    this.refresh();
  }

  #togglePause() {
    this.#frozen = this.#frozen ? null : [...this.#how.book.entries];
    if (!this.#frozen) this.list.toEnd();
    this.refresh();
  }

  // ------------------------------------------------------------------- content

  /** Shows what the book holds now. */
  refresh() {
    const { store, book } = this.#how;
    const { channel = null, thread_ts: thread = null, view } = store.place;
    const here = this.#scope === "here" && view === "channel" && channel;
    const shown = here ? `${channel}/${thread}` : "all";
    if (shown !== this.#shown && this.#shown !== "") this.list.toEnd();
    this.#shown = shown;
    const entries = (this.#frozen ?? book.entries).filter((one) =>
      one.at > this.#cleared && !this.#off.has(one.lane) && (!here || book.places.holds(one, channel, thread ?? null))
      && this.#words.every((word) => one.text.includes(word)));
    // What happened to all of them before the first of these is no part of their story.
    const first = entries.findIndex((one) => !one.everywhere);
    this.#items = this.#laidOut(first > 0 ? entries.slice(first) : entries);
    this.list.set(this.#items);
    this.#tellScope(channel, thread, view);
    this.#tellPause();
    this.#tellEnd();
    this.#tellNothing();
  }

  #laidOut(entries) {
    let anchor = null;
    return entries.map((entry, index) => {
      if (entry.kind === "said" || isClick(entry)) anchor = entry;
      const before = entries[index - 1];
      // The line to the row above, unless an open row is in its way.
      const from = before && entry.cause === before.key && !this.list.isOpen(before.key) ? before.lane : null;
      const cause = entry.cause && this.#how.book.entry(entry.cause);
      return { key: entry.key, entry, from, offset: this.#time(entry, anchor), causeTitle: cause ? cause.title : null, related: null };
    });
  }

  #time(entry, anchor) {
    if (this.#clock) return clockText(entry.at);
    if (anchor === null || entry === anchor) return clockText(entry.at).slice(0, 8);
    const seconds = Math.max(0, entry.at - anchor.at) / 1000;
    if (seconds < 100) return `+${seconds.toFixed(seconds < 10 ? 3 : 2)}`;
    return `+${Math.floor(seconds / 60)}m${String(Math.floor(seconds % 60)).padStart(2, "0")}`;
  }

  // What led to the row with the focus, and what followed from it.
  #related(item) {
    const active = this.list?.active?.entry;
    if (!active || active === item.entry) item.related = null;
    else if (active.cause === item.key) item.related = "cause";
    else item.related = item.entry.cause === active.key ? "effect" : null;
    return item;
  }

  // --------------------------------------------------------------------- telling

  #tellScope(channel, thread, view) {
    const [here, all] = this.#scopes;
    here.textContent = thread ? "This thread" : "This channel";
    all.textContent = "Everything";
    here.disabled = view !== "channel" || !channel;
    const chosen = here.disabled ? "all" : this.#scope;
    for (const one of this.#scopes) one.setAttribute("aria-pressed", String(one.dataset.scope === chosen));
  }

  #tellPause() {
    const missed = this.#frozen ? this.#how.book.entries.length - this.#frozen.length : 0;
    const words = this.#frozen ? (missed > 0 ? `Resume · ${missed.toLocaleString("en")} new` : "Resume") : "Pause";
    if (this.#pause.dataset.words === words) return;
    this.#pause.dataset.words = words;
    this.#pause.setAttribute("aria-pressed", String(this.#frozen !== null));
    this.#pause.replaceChildren(this.#frozen ? svg("play", 15) : h("span", { class: "ins-pause", aria: { hidden: "true" } }), h("span", { class: "ins-word" }, words));
    this.#pause.title = words;
  }

  #tellEnd() {
    const { list } = this;
    const there = !list || list.stuck || list.newestSeen;
    if (there) this.#told = this.#items.length;
    this.#end.hidden = there;
    const fresh = Math.max(0, this.#items.length - this.#told);
    const words = fresh > 0 ? `${count(fresh, "new row")}` : "To the newest";
    if (this.#end.dataset.words === words) return;
    this.#end.dataset.words = words;
    this.#end.replaceChildren(svg("arrow_down", 14), words);
  }

  #tellNothing() {
    const nothing = this.#items.length === 0;
    this.#nothing.hidden = !nothing;
    if (!nothing) return;
    const why = this.#why();
    if (this.#nothing.dataset.why === why) return;
    this.#nothing.dataset.why = why;
    const back = this.#cleared > -Infinity && h("button", { type: "button", class: "ins-button", on: { click: () => this.#unclear() } }, "Show what was cleared");
    this.#nothing.replaceChildren(h("p", {}, why), ...(back ? [back] : []));
  }

  #why() {
    if (this.#words.length > 0) return "No row has these words.";
    if (this.#off.size === LANES.length) return "All lanes are off.";
    if (this.#cleared > -Infinity) return "Cleared. What happens next shows here.";
    if (this.#how.book.entries.length > 0 && this.#scope === "here") return "Nothing has happened here yet. Say something to the agent, or look at everything.";
    return "Nothing has happened yet. Mention the agent in a channel, and watch what Slack, the bot and the runtime say to each other.";
  }

  #unclear() {
    this.#cleared = -Infinity;
    delete this.#nothing.dataset.why;
    this.refresh();
  }
}

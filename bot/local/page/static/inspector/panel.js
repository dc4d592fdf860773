// The inspector: what Slack, the bot and the runtime say to each other, in step with the page.

import { h } from "../dom.js";
import { store } from "../store.js";
import { Book } from "./book.js";
import { Clicks } from "./clicks.js";
import { Faults } from "./faults.js";
import { Rows } from "./rows.js";
import { Timeline } from "./timeline.js";
import { Watch } from "./watch.js";

const TAB = "threadline.inspector.tab";
const PACE_MS = 80; // how often at most the page is drawn anew
const HIDDEN_PACE_MS = 1_000; // and how often it listens while nobody looks
const SAID_MS = 6_000;
const TOPICS = ["hello", "messages", "deliveries", "calls", "faults", "behind", "place", "channels", "users"];

/** Builds the inspector in `container`; it works while that is shown. */
export function mountInspector(container) {
  new Panel(container);
}

class Panel {
  #book = new Book();
  #clicks = new Clicks(() => {
    this.#book.relink();
    this.#due();
  });
  #watch = new Watch(store);
  #said = h("p", { class: "ins-said", role: "status" });
  #tabs;
  #tab = "timeline";
  #visible = false;
  #timer = null;
  #last = 0;
  #silence = null;
  #retold = true; // messages have come or changed since the book was kept

  constructor(container) {
    const how = { store, book: this.#book, say: (text, tone) => this.#say(text, tone) };
    this.#tabs = [
      { id: "timeline", name: "Timeline", view: new Timeline(how) },
      { id: "rows", name: "Rows", view: new Rows(how) },
      { id: "faults", name: "Faults", view: new Faults(how) },
    ];
    if (!container.closest("[data-testid=inspector]")) container.dataset.testid = "inspector";
    container.append(h("div", { class: "ins" }, this.#bar(), this.#tabs.map((tab) => tab.panel), this.#said));
    this.#show(localStorage.getItem(TAB) ?? "timeline");
    for (const topic of TOPICS) store.on(topic, () => this.#due(topic));
    new ResizeObserver(([{ contentRect }]) => this.#seen(contentRect.width > 0 && contentRect.height > 0)).observe(container);
  }

  // --------------------------------------------------------------------- tabs

  #bar() {
    const list = h("div", { class: "ins-tabs", role: "tablist", aria: { label: "Inspector" }, on: { keydown: (event) => this.#arrow(event) } });
    for (const tab of this.#tabs) {
      tab.count = h("span", { class: "ins-count", hidden: true });
      tab.button = h("button", {
        type: "button", role: "tab", id: `ins-tab-${tab.id}`, aria: { controls: `ins-panel-${tab.id}` }, on: { click: () => this.#show(tab.id) },
      }, tab.name, tab.count);
      tab.panel = h("div", { class: "ins-panel", role: "tabpanel", id: `ins-panel-${tab.id}`, aria: { labelledby: `ins-tab-${tab.id}` } }, tab.view.element);
      list.append(tab.button);
    }
    return list;
  }

  #show(id) {
    this.#tab = this.#tabs.some((tab) => tab.id === id) ? id : "timeline";
    localStorage.setItem(TAB, this.#tab);
    for (const tab of this.#tabs) {
      const chosen = tab.id === this.#tab;
      tab.button.setAttribute("aria-selected", String(chosen));
      tab.button.tabIndex = chosen ? 0 : -1;
      tab.panel.hidden = !chosen;
    }
    this.#draw();
  }

  #arrow(event) {
    const step = { ArrowRight: 1, ArrowLeft: -1, Home: -Infinity, End: Infinity }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    const here = this.#tabs.findIndex((tab) => tab.id === this.#tab);
    const last = this.#tabs.length - 1;
    const to = Number.isFinite(step) ? (here + step + this.#tabs.length) % this.#tabs.length : step < 0 ? 0 : last;
    this.#show(this.#tabs[to].id);
    this.#tabs[to].button.focus();
  }

  // ------------------------------------------------------------------- drawing

  #seen(visible) {
    if (visible === this.#visible) return;
    this.#visible = visible;
    this.#watch.follow(visible);
    if (visible) this.#draw();
  }

  #due(topic) {
    if (topic === "hello" || topic === "messages" || topic === "users") this.#retold = true;
    if (topic === "hello") this.#watch.again();
    if (topic === "hello" || topic === "place") this.#watch.follow(this.#visible);
    const pace = this.#visible ? PACE_MS : HIDDEN_PACE_MS;
    this.#timer ??= setTimeout(() => this.#draw(), Math.max(0, this.#last + pace - performance.now()));
  }

  #draw() {
    clearTimeout(this.#timer);
    this.#timer = null;
    this.#last = performance.now();
    if (!store.state.ready) return;
    this.#book.take(store.state, this.#retold);
    this.#retold = false;
    if (!this.#visible) return;
    this.#watch.follow(true);
    this.#clicks.look(this.#book.entries);
    this.#tabs.find((tab) => tab.id === this.#tab).view.refresh();
    this.#count("faults", store.state.faults.length);
  }

  #count(id, number) {
    const tab = this.#tabs.find((one) => one.id === id);
    tab.count.hidden = number === 0;
    tab.count.textContent = String(number);
    tab.count.title = `${number} active`;
  }

  #say(text, tone = "ok") {
    this.#said.textContent = text;
    this.#said.dataset.tone = tone;
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => (this.#said.textContent = ""), SAID_MS);
  }
}

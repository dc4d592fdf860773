/** App Home: what the app shows one person alone, its messages, and what the app is. */

import { act } from "./api.js";
import { renderBlocks } from "./blocks.js";
import { fill, h, svg } from "./dom.js";
import { keepingFocus } from "./focus.js";
import { undisturbed } from "./pointer.js";
import { store } from "./store.js";
import { goToApp } from "./ways.js";

const TABS = [["home", "Home"], ["messages", "Messages"], ["about", "About"]];

/**
 * Shows App Home in the container whenever the place is there; opening it tells the app.
 * @param {HTMLElement} container
 */
export function mountHome(container) {
  const home = new Home(container);
  const refresh = () => home.refresh();
  for (const topic of ["hello", "homes", "place", "me", "users"]) store.on(topic, () => undisturbed(refresh));
  refresh();
}

class Home {
  tab = "home";
  told = ""; // the person whose opening the app was told of
  sign = "";

  constructor(container) {
    this.panel = h("div", { class: "home-panel", id: "home-panel", role: "tabpanel", tabIndex: 0 });
    this.tabs = TABS.map(([name, label]) => h("button", { type: "button", role: "tab", id: `home-tab-${name}`, class: "home-tab", on: { click: () => this.choose(name) } }, label));
    const list = h("div", { class: "home-tabs", role: "tablist", aria: { label: "App Home" }, on: { keydown: (event) => this.move(event) } }, this.tabs);
    this.name = h("h2", { class: "home-name" });
    container.dataset.testid = "home";
    container.classList.add("home");
    fill(container, h("header", { class: "home-head" }, this.name, list), this.panel);
  }

  refresh() {
    if (store.place.view !== "home" || !store.state.ready || !store.me) {
      if (store.place.view !== "home") Object.assign(this, { told: "", tab: "home" });
      return;
    }
    if (this.told !== store.me) {
      this.told = store.me;
      this.tell("home");
    }
    this.draw();
  }

  async tell(tab) {
    await act("home", { user: store.me, tab }).catch(() => {}); // a toast says what was wrong
  }

  choose(name) {
    if (name === "messages") {
      this.openMessages();
      return;
    }
    if (name === "home" && this.tab !== "home") this.tell("home");
    this.tab = name;
    this.draw();
  }

  move(event) {
    const at = this.tabs.indexOf(document.activeElement);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: TABS.length - 1 }[event.key];
    if (at < 0 || to === undefined) return;
    event.preventDefault();
    this.tabs.at(to % TABS.length).focus();
  }

  async openMessages() {
    await this.tell("messages");
    await goToApp();
  }

  draw() {
    this.name.textContent = store.state.who.app_name || "App Home";
    this.tabs.forEach((tab, place) => {
      const on = TABS[place][0] === this.tab;
      tab.setAttribute("aria-selected", String(on));
      tab.setAttribute("aria-controls", "home-panel");
      tab.tabIndex = on ? 0 : -1;
    });
    this.panel.setAttribute("aria-labelledby", `home-tab-${this.tab}`);
    const view = store.state.homes.get(store.me);
    const sign = `${this.tab} ${store.me} ${view?.id} ${view?.hash} ${store.state.boot}`;
    if (sign === this.sign) return;
    this.sign = sign;
    keepingFocus(this.panel, () => fill(this.panel, this.tab === "about" ? about() : view ? shown(view) : empty()));
  }
}

function shown(view) {
  const ctx = { on: "view", id: view.id, values: view.values ?? {}, errors: view.errors ?? {} };
  return h("div", { class: "home-blocks" }, renderBlocks(view.blocks, ctx));
}

function empty() {
  const who = store.person?.real_name || store.person?.name || "this person";
  return h("div", { class: "home-empty" }, svg("home", 40), h("h3", {}, "Nothing here yet"),
    h("p", {}, `The app has not published a home for ${who}. It is told that you opened it, and may do so now.`));
}

function about() {
  const { who, socketMode, requestUrl } = store.state;
  const facts = [
    ["App", who.app_name], ["App id", who.api_app_id], ["Bot user", who.bot_user_id], ["Bot id", who.bot_id],
    ["Workspace", `${who.team_name ?? ""} (${who.team_id ?? ""})`], ["Events go", socketMode ? "over a web socket" : requestUrl || "nowhere yet"],
  ];
  return h("dl", { class: "home-facts" }, facts.filter(([, value]) => value).map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
}

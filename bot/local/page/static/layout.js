/** The frame of the page: top bar, panes side by side or one at a time, their widths, the theme. */

import { fill, h, iconButton, svg } from "./dom.js";
import { openMenu } from "./menu.js";
import { peopleSwitch } from "./people.js";
import { store } from "./store.js";

const PHONE = matchMedia("(width <= 720px)");
const NARROW = matchMedia("(width <= 1100px)");
const WIDE = matchMedia("(width >= 1500px)");
const THEME = "threadline.theme";
const INSPECTOR = "threadline.inspector";
const WIDTHS = "threadline.widths";
const LIMITS = { sidebar: [200, 360], thread: [320, 760], inspector: [320, 900] };

/** Whether only one pane is shown at a time. */
export function isPhone() {
  return PHONE.matches;
}

/** Whether a thread opens beside its channel instead of over it. */
export function openBeside() {
  return !NARROW.matches;
}

/**
 * Build the frame.
 * @param {{sidebar: HTMLElement, channel: HTMLElement, thread: HTMLElement, home: HTMLElement, onQuick: () => void, onHelp: () => void, mountInspector: (box: HTMLElement) => void}} parts
 */
export function mountLayout(parts) {
  const inspector = inspectorPane(parts.mountInspector);
  // On a phone's list both panes are away; the page still has its main part and a heading.
  const main = h(
    "main",
    { class: "main", id: "main" },
    grip("sidebar", 1),
    h("h1", { class: "sr-only list-title" }, "Conversations"),
    parts.channel,
    parts.home,
  );
  parts.thread.prepend(grip("thread", -1));
  inspector.el.prepend(grip("inspector", -1));
  const panes = h("div", { class: "panes" }, parts.sidebar, main, parts.thread, inspector.el);
  const scrim = h("div", { class: "scrim", hidden: true, on: { click: () => inspector.toggle(false) } });
  fill(
    document.body,
    h(
      "a",
      { class: "skip", href: "#main", on: { click: (event) => (event.preventDefault(), focusIn(parts.channel)) } },
      "Skip to the conversation",
    ),
    topBar(parts, inspector),
    banner(),
    panes,
    scrim,
  );
  inspector.onChange = (open) => (scrim.hidden = !open);
  inspector.toggle(WIDE.matches ? localStorage.getItem(INSPECTOR) !== "closed" : false, { keep: false });
  restoreWidths();
  store.on("place", arrange);
  arrange();
  return { toggleInspector: () => inspector.toggle(), inspectorOpen: () => inspector.open };
}

function focusIn(pane) {
  (pane.querySelector("textarea:not([hidden])") ?? pane.querySelector("button"))?.focus();
}

/** Which pane a phone shows. */
function arrange() {
  const { view, channel, thread_ts: thread } = store.place;
  document.documentElement.dataset.pane = view === "home" ? "home" : thread ? "thread" : channel ? "channel" : "list";
}

// ---------------------------------------------------------------------- top bar

function topBar(parts, inspector) {
  const team = h("span", { class: "team" });
  store.on("hello", () => (team.textContent = store.state.who.team_name || "Local workspace"));
  const quick = h(
    "button",
    {
      type: "button",
      class: "quick-button",
      title: "Go to a conversation (Ctrl+K)",
      aria: { label: "Go to a conversation", keyshortcuts: "Control+K" },
      on: { click: parts.onQuick },
    },
    svg("search", 16),
    h("span", { class: "quick-words" }, "Go to…"),
    h("kbd", null, "Ctrl K"),
  );
  const theme = iconButton("contrast", "Theme", () => chooseTheme(theme), {
    class: "on-bar theme-button",
    aria: { haspopup: "menu", expanded: false },
  });
  const inspect = h(
    "button",
    {
      type: "button",
      class: "on-bar inspect-button",
      title: "Show what the platforms and the bot say to each other",
      aria: { pressed: false, label: "Inspector" },
      on: { click: () => inspector.toggle() },
    },
    svg("pulse", 18),
    h("span", { class: "inspect-words" }, "Inspector"),
  );
  inspector.button = inspect;
  const help = iconButton("info", "Keyboard shortcuts", parts.onHelp, { class: "on-bar help-button" });
  return h(
    "header",
    { class: "topbar" },
    h("div", { class: "brand" }, svg("spark", 20), team),
    quick,
    h("div", { class: "bar-tools" }, inspect, help, theme, peopleSwitch()),
  );
}

function banner() {
  const el = h("div", { class: "banner", role: "status", hidden: true });
  let timer = 0;
  const draw = () => {
    clearTimeout(timer);
    if (store.connected) el.hidden = true;
    else timer = setTimeout(show, 900); // a short break needs no words
  };
  const show = () => {
    fill(
      el,
      h("span", { class: "spinner" }),
      store.state.ready
        ? "Connection lost. What you see may be old; trying again…"
        : "The local Slack does not answer yet; trying again…",
      h("button", { type: "button", class: "button small", on: { click: () => store.retry() } }, "Try now"),
    );
    el.hidden = false;
  };
  store.on("connection", draw);
  draw();
  return el;
}

// ------------------------------------------------------------------------ theme

/** Set the theme that was chosen last; called before anything is drawn. */
export function restoreTheme() {
  const theme = localStorage.getItem(THEME);
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
}

function chooseTheme(button) {
  const now = document.documentElement.dataset.theme ?? "auto";
  const choose = (theme) => {
    if (theme === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    localStorage.setItem(THEME, theme);
  };
  const item = (theme, label, icon) => ({ label, icon, checked: theme === now, run: () => choose(theme) });
  openMenu(
    button,
    [item("auto", "As the system", "contrast"), item("light", "Light", "sun"), item("dark", "Dark", "moon")],
    { label: "Theme" },
  );
}

// -------------------------------------------------------------------- inspector

function inspectorPane(mount) {
  const box = h("div", { class: "inspector-box" });
  const pane = { open: false, button: null, onChange: () => {}, toggle };
  pane.el = h(
    "aside",
    { class: "pane inspector", hidden: true, aria: { label: "Inspector" }, data: { testid: "inspector" } },
    h(
      "header",
      { class: "pane-head" },
      svg("pulse", 18),
      h("h2", null, "Inspector"),
      h("span", { class: "grow" }),
      iconButton("close", "Close inspector", () => toggle(false)),
    ),
    box,
  );
  pane.el.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || event.defaultPrevented) return;
    toggle(false);
    pane.button?.focus();
  });

  function toggle(open = !pane.open, { keep = true } = {}) {
    pane.open = open;
    pane.el.hidden = !open;
    pane.button?.setAttribute("aria-pressed", String(open));
    document.documentElement.classList.toggle("inspecting", open);
    if (open && !box.childNodes.length) mount(box);
    if (keep) localStorage.setItem(INSPECTOR, open ? "open" : "closed");
    pane.onChange(open);
  }
  return pane;
}

// ----------------------------------------------------------------------- widths

function grip(name, sign) {
  const label = { sidebar: "Width of the list", thread: "Width of the thread", inspector: "Width of the inspector" }[
    name
  ];
  const [least, most] = LIMITS[name];
  const el = h("div", {
    class: ["grip", `grip-${name}`],
    role: "separator",
    tabIndex: 0,
    aria: { label, orientation: "vertical", valuemin: least, valuemax: most, valuenow: widthOf(name) },
  });
  const set = (width) => el.setAttribute("aria-valuenow", String(setWidth(name, width)));
  el.addEventListener("pointerdown", (event) => {
    event.preventDefault();
    el.setPointerCapture(event.pointerId);
    const from = widthOf(name);
    const move = (to) => set(from + (to.clientX - event.clientX) * sign);
    el.addEventListener("pointermove", move);
    el.addEventListener("lostpointercapture", () => (el.removeEventListener("pointermove", move), keepWidths()), {
      once: true,
    });
  });
  el.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -16, ArrowRight: 16 }[event.key];
    if (!step) return;
    event.preventDefault();
    set(widthOf(name) + step * sign);
    keepWidths();
  });
  return el;
}

function widthOf(name) {
  return Math.round(
    Number.parseFloat(getComputedStyle(document.documentElement).getPropertyValue(`--${name}`)) || LIMITS[name][0],
  );
}

function setWidth(name, width) {
  const [least, most] = LIMITS[name];
  const fits = Math.round(Math.min(most, Math.max(least, width)));
  document.documentElement.style.setProperty(`--${name}`, `${fits}px`);
  return fits;
}

function keepWidths() {
  localStorage.setItem(
    WIDTHS,
    JSON.stringify(Object.fromEntries(Object.keys(LIMITS).map((name) => [name, widthOf(name)]))),
  );
}

function restoreWidths() {
  const kept = localStorage.getItem(WIDTHS);
  if (!kept) return;
  for (const [name, width] of Object.entries(JSON.parse(kept))) if (name in LIMITS) setWidth(name, Number(width));
}

/** The people: who the page acts as, who is in a channel, who somebody is. */

import { act } from "./api.js";
import { fill, h, svg } from "./dom.js";
import { openMenu, openPopover } from "./menu.js";
import { avatar, badge, channelLabel, nameOf } from "./person.js";
import { isPerson, store } from "./store.js";

const ORDER = ["member", "admin", "owner", "guest", "solo_guest", "connect"];

/** The switch that says who one is, and lets one be somebody else. */
export function peopleSwitch() {
  const button = h("button", {
    type: "button",
    class: "people-switch",
    data: { testid: "people" },
    aria: { haspopup: "menu", expanded: false },
    on: { click: () => openSwitch(button) },
  });
  const draw = () => {
    const me = store.person;
    button.disabled = !me;
    button.setAttribute("aria-label", me ? `Acting as ${nameOf(me)}${kindWords(me)}. Change person` : "Nobody yet");
    fill(
      button,
      avatar(me),
      h(
        "span",
        { class: "people-words" },
        h("span", { class: "people-label" }, "Acting as"),
        h("span", { class: "people-name" }, nameOf(me)),
      ),
      badge(me, { rank: true }),
      svg("up_down", 15),
    );
  };
  for (const topic of ["hello", "users", "me"]) store.on(topic, draw);
  draw();
  return button;
}

function kindWords(user) {
  const label = badge(user, { rank: true })?.textContent;
  return label ? `, ${label.toLowerCase()}` : "";
}

function openSwitch(button) {
  const all = [...store.state.users.values()].filter((one) => one.kind !== "app" && one.kind !== "bot");
  all.sort((a, b) => Number(a.deleted) - Number(b.deleted) || ORDER.indexOf(a.kind) - ORDER.indexOf(b.kind));
  const items = all.map((one) => ({
    label: nameOf(one),
    note: `@${one.name}`,
    node: avatar(one),
    tag: badge(one, { rank: true }),
    checked: one.id === store.me,
    disabled: !isPerson(one),
    run: () => become(one),
  }));
  openMenu(button, [{ heading: true, label: "Act as" }, ...items], { label: "Act as", class: "people-menu" });
}

/** Act as this person from now on. */
export function become(user) {
  store.me = user.id;
}

/** Who is in a channel. */
export function openMembers(channel, anchor) {
  const people = channel.members.map((id) => store.state.users.get(id)).filter(Boolean);
  const rows = people.map((one) =>
    h(
      "li",
      null,
      h(
        "button",
        { type: "button", class: "member", on: { click: () => openProfile(one, anchor) } },
        avatar(one),
        h("span", { class: "grow" }, nameOf(one), one.id === store.me && h("span", { class: "muted" }, " (you)")),
        badge(one, { rank: true }),
      ),
    ),
  );
  openPopover(
    anchor,
    h("div", { class: "members-box" }, h("h2", null, `In ${channelLabel(channel)}`), h("ul", null, rows)),
    { label: `Members of ${channelLabel(channel)}` },
  );
}

/** Who somebody is, and what one can do about them. */
export function openProfile(user, anchor) {
  if (!user) return;
  const line =
    user.kind === "connect"
      ? "Of another organisation"
      : user.deleted
        ? "This account is deactivated"
        : store.state.who.team_name;
  const actions = [
    isPerson(user) &&
      user.id !== store.me &&
      h(
        "button",
        { type: "button", class: "button primary", on: { click: () => (close(), become(user)) } },
        svg("person", 16),
        `Act as ${nameOf(user).split(" ")[0]}`,
      ),
    user.kind === "app" &&
      h(
        "button",
        { type: "button", class: "button primary", on: { click: () => (close(), openDm()) } },
        svg("chat", 16),
        "Write to it",
      ),
    user.kind === "app" &&
      h(
        "button",
        { type: "button", class: "button", on: { click: () => (close(), store.go({ view: "home" })) } },
        svg("home", 16),
        "Its home",
      ),
  ].filter(Boolean);
  const card = h(
    "div",
    { class: "profile" },
    h(
      "div",
      { class: "profile-head" },
      avatar(user, "large"),
      h(
        "div",
        null,
        h("h2", null, nameOf(user)),
        h("p", { class: "muted" }, `@${user.name}`),
        badge(user, { rank: true }),
      ),
    ),
    line && h("p", { class: "muted" }, line),
    actions.length ? h("div", { class: "profile-actions" }, actions) : null,
  );
  const close = openPopover(anchor, card, { label: nameOf(user), class: "profile-box" });
}

/** The acting person's conversation with our app. */
export function appDm() {
  const app = store.state.who.bot_user_id;
  return (
    [...store.state.channels.values()].find(
      (one) => one.kind === "im" && one.members.includes(store.me) && one.members.includes(app),
    ) ?? null
  );
}

/** Go to the acting person's conversation with our app, which begins with this if there was none. */
export async function openDm() {
  const known = appDm();
  if (known) return store.go({ channel: known.id });
  try {
    const made = await act("open_dm", { user: store.me });
    const id = made.channel?.id ?? made.channel;
    await heardOf(id);
    return store.go({ channel: id });
  } catch {
    return undefined; // the notice has said why
  }
}

// The answer to a request may be here before the feed has told of what it made.
function heardOf(id) {
  return new Promise((resolve) => {
    const look = () => store.state.channels.has(id) && (off(), resolve());
    const off = store.on("channels", look);
    look();
  });
}

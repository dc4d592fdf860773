/** The list of conversations. */

import { fill, h, plural, svg } from "./dom.js";
import { avatar, badge, channelIcon, channelName, mayRead } from "./person.js";
import { appDm, openDm } from "./people.js";
import { undisturbed } from "./pointer.js";
import { store } from "./store.js";
import { unreadChannels } from "./unread.js";

/** The sidebar's element; it keeps itself up to date. */
export function sidebar() {
  const lists = h("div", { class: "sidebar-lists" });
  const el = h("nav", { class: "sidebar", data: { testid: "channels" }, aria: { label: "Conversations" } }, lists);
  let frame = 0;
  const draw = () => {
    frame = 0;
    const focused = el.contains(document.activeElement) ? document.activeElement.dataset.key : null;
    fill(lists, sections());
    if (focused) el.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
  };
  const later = () => (frame ||= requestAnimationFrame(() => undisturbed(draw)));
  for (const topic of ["hello", "users", "channels", "messages", "me", "place"]) store.on(topic, later);
  el.addEventListener("keydown", arrows);
  return el;
}

/** The conversations that the acting person sees, in the order of the list. */
export function listed() {
  const all = [...store.state.channels.values()].filter(mayRead);
  const named = all
    .filter((one) => one.kind === "channel" || one.kind === "group")
    .sort((a, b) => Number(a.archived) - Number(b.archived));
  const groups = all.filter((one) => one.kind === "mpim");
  return { named, groups, direct: appDm() };
}

function sections() {
  if (!store.state.ready) return h("div", { class: "loading" }, h("span", { class: "spinner" }), "Connecting…");
  const { named, groups, direct } = listed();
  const unread = unreadChannels();
  const app = store.state.users.get(store.state.who.bot_user_id);
  const home = store.place.view === "home";
  return [
    section("Agent", [
      item({
        key: "app",
        icon: avatar(app, "small"),
        name: app?.real_name ?? "App",
        tag: badge(app),
        current: !home && direct && store.place.channel === direct.id,
        news: direct && unread.get(direct.id),
        go: openDm,
      }),
      item({
        key: "home",
        icon: svg("home", 16),
        name: "App home",
        current: home,
        go: () => store.go({ view: "home" }),
      }),
    ]),
    section(
      "Channels",
      named.map((one) => channelItem(one, unread)),
    ),
    groups.length
      ? section(
          "Conversations",
          groups.map((one) => channelItem(one, unread)),
        )
      : null,
  ];
}

function section(label, items) {
  return h(
    "section",
    null,
    h("h2", { class: "label" }, label),
    h(
      "ul",
      null,
      items.map((one) => h("li", null, one)),
    ),
  );
}

function channelItem(channel, unread) {
  const outside = !channel.members.includes(store.me);
  return item({
    key: channel.id,
    icon: channelIcon(channel),
    name: channelName(channel),
    current: store.place.view === "channel" && store.place.channel === channel.id,
    news: unread.get(channel.id),
    faint: outside || channel.archived,
    note: channel.archived ? "archived" : outside ? "not a member" : "",
    go: () => store.go({ channel: channel.id }),
  });
}

function item(one) {
  const words = one.news ? `, ${one.news.count ? plural(one.news.count, "unread message") : "unread"}` : "";
  return h(
    "button",
    {
      type: "button",
      class: ["side-item", one.news && "unread", one.faint && "faint"],
      data: { key: one.key },
      aria: { current: one.current ? "page" : null, label: `${one.name}${one.note ? `, ${one.note}` : ""}${words}` },
      on: { click: one.go },
    },
    h("span", { class: "side-icon" }, one.icon),
    h("span", { class: "side-name" }, one.name),
    one.note && h("span", { class: "side-note", aria: { hidden: "true" } }, one.note),
    one.tag,
    one.news &&
      h(
        "span",
        { class: ["side-count", !one.news.count && "dot"], aria: { hidden: "true" } },
        one.news.count ? Math.min(one.news.count, 99) : "",
      ),
  );
}

function arrows(event) {
  if (event.altKey || !["ArrowDown", "ArrowUp"].includes(event.key)) return;
  const all = [...event.currentTarget.querySelectorAll(".side-item")];
  const at = all.indexOf(document.activeElement);
  if (at < 0) return;
  event.preventDefault();
  all[Math.max(0, Math.min(all.length - 1, at + (event.key === "ArrowDown" ? 1 : -1)))].focus();
}

/** Go to the conversation `step` further down the list. */
export function stepChannel(step) {
  const { named, groups, direct } = listed();
  const ids = [direct?.id, ...named.map((one) => one.id), ...groups.map((one) => one.id)].filter(Boolean);
  const at = ids.indexOf(store.place.channel);
  const to = ids[(at + step + ids.length) % ids.length];
  if (!to) return;
  store.go({ channel: to });
  store.emit("compose");
}

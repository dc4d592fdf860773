// One line of the timeline: made once, then painted with what has changed.

import { h } from "../dom.js";
import { LANES } from "./entries.js";
import { clockText, spanText } from "./format.js";
import { limitOf } from "./tiers.js";

const LANE_NAMES = Object.fromEntries(LANES.map((lane) => [lane.id, lane.name]));

/** An empty row; `on` has `toggle(key)`, `copy(key)` and `focus(key)`. */
export function makeRow(item, on) {
  const { key } = item;
  const at = h("span", { class: "ins-at" });
  const title = h("span", { class: "ins-title" });
  const note = h("span", { class: "ins-note" });
  const since = h("span", { class: "ins-since" });
  const badge = h("span", { class: "ins-badge" });
  const head = h("button", {
    type: "button", class: "ins-head",
    on: {
      click: () => on.toggle(key),
      focus: () => on.focus(key),
      keydown: (event) => {
        if (event.key === "c" && !event.ctrlKey && !event.metaKey && !event.altKey) on.copy(key);
        else if (event.key === "Escape" && head.getAttribute("aria-expanded") === "true") {
          event.stopPropagation();
          on.toggle(key);
        }
      },
    },
  }, at, title, note, since, badge);
  const element = h("li", { class: "ins-row" }, head);
  return { element, head, at, title, note, since, badge, detail: null, painted: "" };
}

/** Brings a row up to date; does nothing when it is. */
export function paintRow(row, item) {
  const { entry, from, offset, related } = item;
  const print = [entry.title, entry.note, entry.badge, entry.state, entry.since, entry.ms, from, offset, related].join("\u0001");
  if (row.painted === print) return;
  row.painted = print;
  Object.assign(row.element.dataset, { lane: entry.lane, kind: entry.kind, state: entry.state });
  mark(row.element, "from", from);
  mark(row.element, "turn", from && turn(from, entry.lane));
  mark(row.element, "related", related);
  mark(row.element, "minor", entry.minor ? "true" : null);
  row.at.textContent = offset;
  row.title.textContent = entry.title;
  row.note.textContent = entry.note;
  row.since.textContent = entry.since === null || entry.since < 0.05 ? "" : `+${spanText(entry.since)}`;
  paintBadge(row.badge, entry);
  row.head.title = hover(item);
  row.head.setAttribute("aria-label", spoken(item));
}

const PLACES = LANES.map((lane) => lane.id);

function turn(from, to) {
  const way = Math.sign(PLACES.indexOf(to) - PLACES.indexOf(from));
  return ["left", "straight", "right"][way + 1];
}

function mark(element, name, value) {
  if (value) element.dataset[name] = value;
  else delete element.dataset[name];
}

function paintBadge(badge, entry) {
  const timed = entry.ms !== null && (entry.kind === "event" || entry.kind === "call");
  badge.textContent = timed ? `${entry.badge} ${spanText(entry.ms)}` : entry.badge;
  const left = entry.subject.left;
  const gauged = entry.kind === "call" && typeof left === "number";
  badge.classList.toggle("ins-gauged", gauged);
  if (!gauged) return;
  const share = left / limitOf(entry.subject.method, left);
  badge.style.setProperty("--ins-left", share.toFixed(2));
  badge.dataset.left = share < 0.15 ? "few" : share < 0.4 ? "some" : "many";
}

function hover({ entry, causeTitle }) {
  const parts = [`${LANE_NAMES[entry.lane]} · ${clockText(entry.at)}`, `${entry.title} ${entry.note}`.trim()];
  if (causeTitle) parts.push(`${spanText(entry.since)} after ${causeTitle}`);
  if (entry.kind === "call" && typeof entry.subject.left === "number") {
    parts.push(`${entry.subject.left} of ${limitOf(entry.subject.method, entry.subject.left)} calls left this minute`);
  }
  return parts.join("\n");
}

function spoken({ entry, causeTitle }) {
  const took = entry.ms === null ? "" : `, took ${spanText(entry.ms)}`;
  const after = causeTitle ? `, ${spanText(entry.since)} after ${causeTitle}` : "";
  return `${LANE_NAMES[entry.lane]}: ${entry.title}, ${[entry.note, entry.badge].filter(Boolean).join(", ")}${took}${after}`;
}

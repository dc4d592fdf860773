// What opens below a row of the timeline: its facts, its JSON, and the ways to copy it.

import { h } from "../dom.js";
import { sent } from "./clicks.js";
import { callCurl, eventCurl, rowQuery, runtimeCurl } from "./curl.js";
import { copyText } from "./copy.js";
import { clockText, spanText } from "./format.js";
import { withoutSecrets } from "./secrets.js";
import { limitOf } from "./tiers.js";
import { renderTree } from "./tree.js";

const AS = { event: "a signed request", call: "curl", runtime: "curl", row: "a query" };
const LABEL = { event: "Copy as curl", call: "Copy as curl", runtime: "Copy as curl", row: "Copy as psql" };

/**
 * The detail of an entry. `how` has `store`, `book`, `say(text)` and `reveal(key)`, which goes to another row.
 */
export function renderDetail(one, how) {
  const copying = h("div", { class: "ins-copying" });
  const box = h("div", { class: "ins-detail" }, actions(one, how, copying), copying, facts(one, how));
  box.append(...bodies(one, how));
  return box;
}

/** Copies what `c` copies: the entry as something a shell can send again, else its JSON. */
export async function copyEntry(one, how, place) {
  const text = await asShell(one, how);
  if (text) await copyText(text, `as ${AS[one.kind]}`, { say: how.say, place });
  else await copyText(JSON.stringify(withoutSecrets(one.subject), null, 2), "as JSON", { say: how.say, place });
}

async function asShell(one, how) {
  if (one.kind === "call") return callCurl(one.subject);
  if (one.kind === "runtime") return runtimeCurl(one.subject.session_id, one.subject.type);
  if (one.kind === "row") return rowQuery(one.table, one.subject);
  if (one.kind !== "event") return null;
  const known = await sent(one.subject);
  return known && eventCurl(known.envelope, known.url ?? how.store.state.requestUrl, { form: !one.subject.event_id });
}

function actions(one, how, place) {
  const button = (label, click) => h("button", { type: "button", class: "ins-button", on: { click } }, label);
  const cause = how.book.entry(one.cause);
  return h("div", { class: "ins-actions" },
    LABEL[one.kind] && canShell(one) && button(LABEL[one.kind], () => copyEntry(one, how, place)),
    button("Copy JSON", () => copyText(JSON.stringify(withoutSecrets(one.subject), null, 2), "as JSON", { say: how.say, place })),
    cause && button(`↑ ${cause.title}`, () => how.reveal(cause.key)),
  );
}

function canShell(one) {
  return one.kind !== "call" || callCurl(one.subject) !== null;
}

// ------------------------------------------------------------------------ facts

function facts(one, how) {
  const cause = how.book.entry(one.cause);
  const pairs = [
    ["at", clockText(one.at)],
    one.ms !== null && ["took", spanText(one.ms)],
    cause && ["follows", `${cause.title}, ${spanText(one.since)} before`],
    ...(OWN[one.kind]?.(one.subject, how) ?? []),
  ].filter(Boolean);
  return h("dl", { class: "ins-facts" }, pairs.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
}

const OWN = {
  event: (delivery) => [
    delivery.event_id && ["event", delivery.event_id],
    delivery.ts && ["message", delivery.ts],
    delivery.failure && ["failure", delivery.failure],
  ],
  call: (call) => [
    ["HTTP", call.status ? String(call.status) : "connection cut, no answer"],
    call.fault && ["fault", call.fault],
    typeof call.left === "number" && ["left this minute", `${call.left} of ${limitOf(call.method, call.left)}`],
  ],
  said: (message) => [["message", message.ts]],
  runtime: (event) => [event.id && ["event", event.id], ["session", event.session_id]],
  row: () => [],
};

// ----------------------------------------------------------------------- bodies

function bodies(one, how) {
  const section = (title, ...content) => h("section", {}, h("h3", {}, title), ...content);
  const { subject } = one;
  switch (one.kind) {
    case "call":
      return [section("Arguments", renderTree(subject.args ?? {}, { open: 2 })), section("Answer", renderTree(subject.answer ?? {}, { open: 2 }))];
    case "event":
      return [section("Attempts", attempts(subject, how)), envelopeSection(subject, section)];
    case "said":
      return [section("Message", renderTree(subject, { open: 1 }))];
    case "runtime":
      return [section("Event", renderTree(subject, { open: 2 }))];
    default:
      return [section("Row", renderTree(subject, { open: 1 }))];
  }
}

function attempts(delivery, how) {
  const same = how.book.entries.filter((one) => one.kind === "event" && (delivery.event_id ? one.subject.event_id === delivery.event_id : one.subject === delivery));
  return h("ol", { class: "ins-attempts" }, same.map(({ subject, at, state }) => h("li", { data: { state } },
    h("span", {}, subject.retry_num ? `retry ${subject.retry_num}` : "first try"),
    h("span", {}, clockText(at)),
    h("span", {}, subject.status ? `HTTP ${subject.status}` : "no answer"),
    h("span", {}, spanText(subject.ms)),
    h("span", {}, [subject.retry_reason && `because of ${subject.retry_reason}`, subject.failure && `failed: ${subject.failure}`].filter(Boolean).join("; ")),
  )));
}

function envelopeSection(delivery, section) {
  const place = h("div", { class: "ins-wait" }, "Fetching…");
  sent(delivery).then((known) => {
    if (known) place.replaceWith(renderTree(known.envelope, { open: 2 }));
    else place.textContent = "The server does not know this event any more.";
  });
  return section(delivery.event_id ? "Envelope" : "Payload", place);
}

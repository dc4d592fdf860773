// One line of the timeline for each thing that happened, made from the records of the store.
//
// An entry: {key, lane: in|out|run|rows, kind, at (ms), ms, title, note, badge, state: ok|bad|warn|calm,
// channel, ts, thread, placeless, subject, text (to filter by)}.

import { bodyText, clip, moment, parsed } from "./format.js";

/** The lanes, in the order in which a message passes through them. */
export const LANES = [
  { id: "in", name: "Slack → app", help: "What people do and the events that Slack sends for it" },
  { id: "rows", name: "rows", help: "What the bot stored about this thread" },
  { id: "run", name: "runtime", help: "The events of the agent's session at the runtime" },
  { id: "out", name: "app → Slack", help: "The Web API calls that the bot makes" },
];

// Interactions say where they happened in a payload of their own.
const INTERACTIONS = new Set(["block_actions", "view_submission", "view_closed", "shortcut", "message_action"]);

function entry(fields) {
  const whole = {
    ms: null, note: "", badge: "", state: "calm", channel: null, ts: null, thread: null, placeless: false, cause: null,
    since: null, ...fields,
  };
  whole.text = `${whole.title} ${whole.note} ${whole.badge} ${whole.ts ?? ""}`.toLowerCase();
  return whole;
}

/** The key of a person's message, or of its newest edit. */
export function saidKey(message, edited) {
  return edited ? `e${message.channel}/${message.ts}/${message.edited.ts}` : `m${message.channel}/${message.ts}`;
}

/** A person's message, or its newest edit, with its text as people read it. */
export function saidEntry(message, name, edited, text) {
  return entry({
    key: saidKey(message, edited), lane: "in", kind: "said", at: moment(edited ? message.edited.ts : message.ts),
    title: edited ? `${name} edited` : name, note: clip(text), channel: message.channel, ts: message.ts,
    thread: message.thread_ts ?? message.ts, subject: message,
  });
}

/** One attempt to deliver an event. */
export function eventEntry(delivery) {
  const retry = delivery.retry_num ? `retry ${delivery.retry_num} · ${delivery.retry_reason ?? ""}` : "";
  const failed = Boolean(delivery.failure);
  return entry({
    key: `d${delivery.seq}`, lane: "in", kind: "event", at: moment(delivery.at), ms: delivery.ms,
    title: delivery.type, note: clip([retry, delivery.failure, delivery.no_retry ? "no more retries wanted" : ""].filter(Boolean).join(" · ")),
    badge: delivery.status ? String(delivery.status) : "no answer", state: failed ? "bad" : delivery.retry_num ? "warn" : "ok",
    channel: delivery.channel ?? null, ts: delivery.ts ?? null, thread: delivery.thread_ts ?? null,
    placeless: INTERACTIONS.has(delivery.type), subject: delivery,
  });
}

/** Adds whose message an event tells of; whether that is known. */
export function tellsOf(one, name) {
  if (!name) return false;
  one.note = clip([one.note, name].filter(Boolean).join(" · "));
  one.text += ` ${name.toLowerCase()}`;
  return true;
}

/** One Web API call; it is recorded when it is answered, so that it began `ms` before. */
export function callEntry(call) {
  const args = call.args ?? {};
  const answer = call.answer ?? {};
  const ms = call.ms ?? null;
  return entry({
    key: `c${call.seq}`, lane: "out", kind: "call", at: moment(call.at) - (ms ?? 0), ms,
    title: call.method, note: clip([answer.ok === false && answer.error, call.fault && `fault: ${call.fault}`, gist(args)].filter(Boolean).join(" · ")),
    badge: callBadge(call), state: callState(call), channel: args.channel ?? args.channel_id ?? null,
    ts: args.ts ?? args.message_ts ?? answer.ts ?? null, thread: args.thread_ts || null, subject: call,
  });
}

function callBadge({ status, answer, method }) {
  if (!status) return "cut off";
  if (status !== 200) return String(status);
  if (method === "response_url") return "200";
  return answer?.ok === false ? "refused" : "ok";
}

function callState({ status, answer, fault }) {
  if (status === 429 || answer?.error === "ratelimited") return "warn";
  if (status !== 200 || answer?.ok === false) return "bad";
  return fault ? "warn" : "ok";
}

// The few words of the arguments that tell one call from the next.
function gist(args) {
  const chunks = parsed(args.chunks);
  if (Array.isArray(chunks)) return chunks.map(chunkGist).join(" · ");
  return args.markdown_text || args.text || args.status || args.title || args.name || args.user || blocksGist(args);
}

function chunkGist(chunk) {
  if (chunk.type === "task_update") return `${chunk.title ?? chunk.id ?? "task"}: ${chunk.status ?? ""}`;
  return chunk.text ?? chunk.title ?? chunk.type ?? "";
}

function blocksGist(args) {
  const blocks = parsed(args.blocks ?? parsed(args.view)?.blocks);
  return Array.isArray(blocks) ? `${blocks.length} blocks` : "";
}

/** An event of the runtime's session; one that waits for its turn has no time yet and stands at `seen`. */
export function runtimeEntry(event, sessionId, place, seen) {
  const at = moment(event.processed_at ?? event.created_at);
  return entry({
    key: `r${sessionId}/${event.id || event.type}${at === null ? "/waits" : ""}`, lane: "run", kind: "runtime", at: at ?? seen,
    title: event.type, note: clip(runtimeGist(event)), badge: at === null ? "waits" : "",
    state: /error|terminated|exhausted/.test(event.type) || event.is_error ? "bad" : "calm",
    channel: place.channel, thread: place.thread_ts, minor: /^span\.|thread_status|session\.usage/.test(event.type),
    subject: { ...event, session_id: sessionId },
  });
}

function runtimeGist(event) {
  const texts = Array.isArray(event.content) ? event.content.filter((block) => block.type === "text").map((block) => block.text) : [];
  const spoken = texts.join(" ").replace(/<input [^>]*\/>/g, "").trim();
  const stop = event.stop_reason?.type ?? "";
  const error = event.error?.message ?? "";
  const tool = [event.name, event.input && JSON.stringify(event.input)].filter(Boolean).join(" ");
  return [tool, event.result, event.deny_message, spoken, stop, error].filter((part) => part && typeof part === "string").join(" · ");
}

// What each table tells of a row's life: the column of a moment, the state from then on, the words with it.
const LIVES = {
  session: { name: "session", id: "id", steps: [["created_at", () => "created", (row) => row.title], ["archived_at", () => "archived", (row) => row.title]] },
  turns: { name: "turn", id: "id", steps: [["started_at", () => "running", () => ""], ["ended_at", (row) => row.state, (row) => row.stop_reason]] },
  inputs: {
    name: "input", id: "id",
    steps: [["accepted_at", () => "queued", storedWords], ["sent_at", () => "sent", storedWords], ["ended_at", (row) => row.state, storedWords]],
  },
  outbox: {
    name: "outbox", id: "delivery_id",
    steps: [["created_at", () => "pending", storedWords], ["ended_at", (row) => row.state, (row) => row.error ?? bodyText(row.body)]],
  },
  approvals: {
    name: "approval", id: "id",
    steps: [
      ["asked_at", () => "pending", (row) => row.tool],
      ["decided_at", (row) => ({ allow: "allowed", deny: "denied" })[row.verdict] ?? row.state, (row) => [row.tool, row.reason].filter(Boolean).join(" · ")],
    ],
  },
  escalations: {
    name: "escalation", id: "id",
    steps: [["asked_at", () => "pending", (row) => row.question], ["decided_at", (row) => row.state, (row) => row.answer ?? row.question]],
  },
  replicas: {
    name: "process", id: "pid",
    steps: [["started_at", () => "started", (row) => (row.roles ?? []).join(", ")], ["ended_at", (row) => row.state, (row) => (row.roles ?? []).join(", ")]],
  },
};

function storedWords(row) {
  return bodyText(row.body);
}

/** The tables of a `behind` frame. */
export const TABLES = Object.keys(LIVES);

/** The id of a row of that table. */
export function rowId(table, row) {
  return row[LIVES[table].id];
}

/** The state of a row of that table, by whatever name it goes. */
export function rowState(row) {
  return row.state ?? row.status ?? "";
}

/** The moments of a row's life that its columns tell. */
export function rowEntries(table, row, place) {
  const life = LIVES[table];
  return life.steps
    .filter(([column]) => row[column])
    .map(([column, state, words]) => rowEntry(table, row, place, column, state(row), moment(row[column]), words(row)));
}

/** One change of a row; `step` tells it from the others of the same row. */
export function rowEntry(table, row, place, step, state, at, words = "") {
  const life = LIVES[table];
  const number = table === "turns" ? ` ${row.number}` : table === "replicas" ? ` ${row.pid}` : row.kind ? ` ${row.kind}` : "";
  return entry({
    key: `t${table}/${rowId(table, row)}/${step}`, lane: "rows", kind: "row", at, title: `${life.name}${number}`, step,
    note: clip(words), badge: String(state ?? ""), state: /dead|failed|refused|killed/.test(state) ? "bad" : "calm",
    channel: place.channel, thread: place.thread_ts, everywhere: table === "replicas", table, rowId: rowId(table, row), subject: row,
  });
}

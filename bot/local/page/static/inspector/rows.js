// Our own rows for the open thread, as they stand now; a state that changes flashes.

import { h, svg } from "../dom.js";
import { rowId, rowState } from "./entries.js";
import { agoText, bodyText, clip, count, moment, short, spanText } from "./format.js";
import { TableView } from "./table.js";

const took = (from, to) => (row) => {
  const [a, b] = [moment(row[from]), moment(row[to])];
  return a !== null && b !== null ? spanText(b - a) : "";
};

// What each table shows: the columns' names with what they say of a row.
const TABLES = [
  ["turns", "Turns", [["#", (row) => String(row.number)], ["reason", (row) => row.stop_reason ?? ""], ["took", took("started_at", "ended_at")]]],
  ["inputs", "Inputs", [["kind", (row) => row.kind], ["text", (row) => clip(bodyText(row.body), 80)], ["sent after", took("accepted_at", "sent_at")]]],
  ["outbox", "Outbox", [["kind", (row) => row.kind], ["what", outboxWords], ["took", took("created_at", "ended_at")]]],
  ["approvals", "Approvals", [["tool", (row) => row.tool], ["reason", (row) => row.reason ?? ""], ["took", took("asked_at", "decided_at")]]],
  ["escalations", "Escalations", [["question", (row) => clip(row.question, 80)], ["answer", (row) => row.answer ?? ""], ["took", took("asked_at", "decided_at")]]],
  ["replicas", "Processes", [["pid", (row) => String(row.pid)], ["roles", (row) => (row.roles ?? []).join(", ")], ["since", (row) => (row.started_at ? agoText(Date.now() - moment(row.started_at)) : "")]]],
];

function outboxWords(row) {
  const tries = row.attempts > 1 ? `${row.attempts} attempts` : "";
  return [row.error, row.unclear && row.state !== "sent" && "unclear", tries, clip(bodyText(row.body), 60) || row.slack_ts].filter(Boolean).join(" · ");
}

/** The second tab. `how`: {store, say}. */
export class Rows {
  #how;
  #nothing = h("div", { class: "ins-empty" });
  #head = h("div", { class: "ins-session" });
  #tables;
  #shown = null;
  #thread = "";

  constructor(how) {
    this.#how = how;
    this.#tables = TABLES.map(([name, title, columns]) => [name, new TableView({ name, title, columns, id: (row) => (name === "replicas" ? row.pid : rowId(name, row)), state: rowState, how })]);
    this.element = h("div", { class: "ins-tables" }, this.#nothing, this.#head, this.#tables.map(([, table]) => table.element));
  }

  /** Shows what is known of the open thread now. */
  refresh() {
    const { store } = this.#how;
    const { channel, thread_ts: thread } = store.place;
    const behind = store.state.behind;
    const mine = behind && behind.channel === channel && behind.thread_ts === thread ? behind : null;
    const why = this.#why(store, thread, mine);
    this.#nothing.hidden = why === "";
    this.#nothing.textContent = why;
    if (`${channel}/${thread}` !== this.#thread) this.#forget(`${channel}/${thread}`);
    if (mine === this.#shown) return;
    this.#shown = mine;
    this.#drawSession(mine);
    for (const [name, table] of this.#tables) table.show(mine?.[name] ?? []);
  }

  #forget(thread) {
    this.#thread = thread;
    for (const [, table] of this.#tables) table.forget();
  }

  #why(store, thread, mine) {
    if (!store.state.hasBehind) return "This local Slack runs alone: only a demo knows the rows and the runtime behind it.";
    if (!thread) return "Open a thread to see its session, turns, inputs and outbox.";
    if (!mine) return "Looking…";
    if (mine.failure) return `The database could not be asked (${mine.failure}). The next look comes by itself.`;
    return mine.session ? "" : "No session yet: nobody has addressed the agent in this thread.";
  }

  #drawSession(mine) {
    const { session, agent, runtime } = mine ?? {};
    if (!session) return this.#head.replaceChildren();
    const chip = h("span", { class: "ins-chip", data: { state: session.status } }, session.status);
    const facts = [
      ["agent", agent],
      ["session", short(session.id), session.id],
      ["runtime", runtime ? `${short(runtime.session_id)} · ${runtime.status}` : "no session yet", runtime?.session_id],
      ["tokens", usageWords(runtime?.usage)],
      ["worked by", session.lease_owner ? short(session.lease_owner) : "nobody now", session.lease_owner],
      ["failures", session.failures ? count(session.failures, "failure") : ""],
      ["changed", session.updated_at ? agoText(Date.now() - moment(session.updated_at)) : ""],
    ].filter(([, value]) => value);
    this.#head.replaceChildren(
      h("div", { class: "ins-session-head" }, svg("thread", 16), h("h3", {}, session.title || "Session"), chip),
      h("dl", { class: "ins-facts" }, facts.map(([name, value, whole]) => h("div", {}, h("dt", {}, name), h("dd", { title: whole }, value)))),
    );
    return undefined;
  }
}

function usageWords(usage) {
  if (!usage) return "";
  const [into, out] = [usage.input_tokens, usage.output_tokens];
  return [into != null && `${into.toLocaleString("en")} in`, out != null && `${out.toLocaleString("en")} out`].filter(Boolean).join(" · ");
}

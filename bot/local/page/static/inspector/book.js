// The one account of what happened, in the order in which it happened.

import { callEntry, eventEntry, rowEntries, rowEntry, rowId, rowState, runtimeEntry, saidEntry, saidKey, TABLES, tellsOf } from "./entries.js";
import { moment } from "./format.js";
import { link } from "./links.js";
import { Places } from "./places.js";

const KEPT = 4_000;
const DROPPED_AT_ONCE = 500;
const UNNAMED = 100; // events that wait for the message they tell of

/** Takes the store's state as it stands and keeps what it has told; more than the store does. */
export class Book {
  places = new Places();
  entries = [];
  #known = new Map();
  #boot = null;
  #lastCall = -1;
  #lastDelivery = -1;
  #from = Infinity; // the first thing that was logged: older messages are history, not cause
  #floor = -Infinity; // what is older was dropped and does not come back
  #states = new Map();
  #behind = null;
  #unnamed = new Set();
  #messagesSeen = -1;

  /** An entry by its key. */
  entry(key) {
    return this.#known.get(key);
  }

  /** Causes anew, once it is known where something happened. */
  relink() {
    link(this.entries, this.places);
  }

  /** Reads the news; whether there were any. `said`: messages have changed, beyond what their number shows. */
  take(state, said = true) {
    if (state.boot !== this.#boot) this.#begin(state.boot);
    const before = this.#known.size;
    const fresh = [];
    const note = (one) => {
      if (this.#known.has(one.key) || one.at === null || one.at < this.#floor) return;
      this.#known.set(one.key, one);
      fresh.push(one);
    };
    this.#calls(state, note);
    this.#deliveries(state, note);
    if (said || state.messages.size !== this.#messagesSeen) this.#messages(state, note);
    const changed = this.#takeBehind(state.behind, note);
    if (fresh.length > 0 || changed) this.#arrange(fresh);
    return changed || this.#known.size !== before;
  }

  #begin(boot) {
    this.#boot = boot;
    this.entries = [];
    this.#known.clear();
    this.#states.clear();
    this.#unnamed.clear();
    this.places.forget();
    this.#behind = null;
    [this.#lastCall, this.#lastDelivery, this.#from, this.#floor] = [-1, -1, Infinity, -Infinity];
  }

  #calls(state, note) {
    for (const call of newer(state.calls, this.#lastCall)) {
      const { args = {}, answer = {} } = call;
      if (answer?.ts) this.places.learn(args.channel ?? answer.channel, answer.ts, args.thread_ts);
      this.#log(callEntry(call), note);
    }
    this.#lastCall = state.calls.at(-1)?.seq ?? this.#lastCall;
  }

  #deliveries(state, note) {
    for (const delivery of newer(state.deliveries, this.#lastDelivery)) {
      const one = eventEntry(delivery);
      this.#unnamed.add(one);
      this.#log(one, note);
    }
    for (const one of this.#unnamed) {
      if (!tellsOf(one, whose(one.subject, state)) && this.#unnamed.size < UNNAMED) continue;
      this.#unnamed.delete(one);
    }
    this.#lastDelivery = state.deliveries.at(-1)?.seq ?? this.#lastDelivery;
  }

  #log(one, note) {
    this.#from = Math.min(this.#from, one.at);
    note(one);
  }

  #messages(state, note) {
    this.#messagesSeen = state.messages.size;
    for (const message of state.messages.values()) {
      this.places.learn(message.channel, message.ts, message.thread_ts);
      if (message.bot_id || !message.user || message.user === state.who.bot_user_id) continue;
      this.#said(message, false, state, note);
      if (message.edited?.ts) this.#said(message, true, state, note);
    }
  }

  #said(message, edited, state, note) {
    // A message comes a little before the first event about it.
    if (this.#known.has(saidKey(message, edited)) || moment(edited ? message.edited.ts : message.ts) < this.#from - 5_000) return;
    note(saidEntry(message, nameOf(message.user, state), edited, readable(message.text, state)));
  }

  #takeBehind(behind, note) {
    if (!behind || behind === this.#behind) return false;
    this.#behind = behind;
    for (const event of behind.runtime?.events ?? []) {
      const one = runtimeEntry(event, behind.runtime.session_id, behind, Date.now());
      const waited = `r${behind.runtime.session_id}/${event.id || event.type}/waits`;
      if (one.key !== waited) this.#forget(waited);
      this.#renew(one, note);
    }
    for (const table of TABLES) {
      const rows = table === "session" ? [behind.session].filter(Boolean) : behind[table] ?? [];
      for (const row of rows) this.#row(table, row, behind, note);
    }
    return true;
  }

  #row(table, row, behind, note) {
    const told = rowEntries(table, row, behind);
    for (const one of told) this.#renew(one, note);
    if (row.slack_ts) this.places.lend(row.channel_id, row.slack_ts, behind.channel, behind.thread_ts);
    const key = `${table}/${rowId(table, row)}`;
    const [state, before] = [rowState(row), this.#states.get(key)];
    this.#states.set(key, state);
    // A state that no column gives a time to is noted when it is seen.
    if (before === undefined || before === state || told.some((one) => one.badge === state)) return;
    note(rowEntry(table, row, behind, `${state}@${row.updated_at ?? Date.now()}`, state, Date.now(), "when the page saw it"));
  }

  // The same moment of the same row, with what is known of it now.
  #renew(one, note) {
    const known = this.#known.get(one.key);
    if (known) Object.assign(known, { ...one, cause: known.cause, since: known.since, at: known.at });
    else note(one);
  }

  #forget(key) {
    if (!this.#known.delete(key)) return;
    this.entries = this.entries.filter((one) => one.key !== key);
  }

  #arrange(fresh) {
    const last = this.entries.at(-1)?.at ?? -Infinity;
    fresh.sort((a, b) => a.at - b.at);
    this.entries.push(...fresh);
    if (fresh.length > 0 && fresh[0].at < last) this.entries.sort((a, b) => a.at - b.at);
    if (this.entries.length > KEPT) {
      for (const one of this.entries.splice(0, this.entries.length - KEPT + DROPPED_AT_ONCE)) this.#known.delete(one.key);
      this.#floor = this.entries[0].at;
    }
    link(this.entries, this.places);
  }
}

function nameOf(id, state) {
  const user = state.users.get(id);
  return user?.real_name || user?.name || id;
}

// Slack's marks for people, channels and links, as names.
function readable(text, state) {
  return String(text ?? "")
    .replace(/<@(\w+)(\|[^>]*)?>/g, (_, id) => `@${state.users.get(id)?.name ?? id}`)
    .replace(/<#(\w+)(?:\|([^>]*))?>/g, (_, id, name) => `#${name || state.channels.get(id)?.name || id}`)
    .replace(/<([a-z]+:[^|>]+)(?:\|([^>]*))?>/g, (_, url, label) => label || url)
    .replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&");
}

// Whose message an event is about, as far as the page knows.
function whose(delivery, state) {
  const message = delivery.ts && state.messages.get(`${delivery.channel}/${delivery.ts}`);
  if (!message?.user) return "";
  return message.user === state.who.bot_user_id ? "the app's own message" : nameOf(message.user, state);
}

// The logs are ordered by seq, newest last.
function newer(log, last) {
  let from = log.length;
  while (from > 0 && log[from - 1].seq > last) from -= 1;
  return log.slice(from);
}

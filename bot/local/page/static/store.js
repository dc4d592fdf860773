/** What the page knows, who it acts as and where it is; everything else listens to this. */

import { hashOf, placeOf } from "./place.js";

const ME = "threadline.me";
const KEPT_MESSAGES = 6000;
const KEPT_LOG = 300;
const KEPT_WARNINGS = 50;
const PEOPLE = new Set(["member", "admin", "owner", "guest", "solo_guest", "connect"]);

/** @returns the state before the first hello */
function nothing() {
  return {
    ready: false,
    boot: "",
    who: {},
    users: new Map(),
    groups: new Map(),
    channels: new Map(),
    sessions: new Map(),
    messages: new Map(),
    ephemerals: new Map(),
    views: new Map(),
    homes: new Map(),
    prompts: new Map(),
    warnings: [],
    deliveries: [],
    calls: [],
    faults: [],
    shortcuts: [],
    orders: [],
    hasBehind: false,
    behind: null,
    socketMode: false,
    requestUrl: null,
  };
}

/**
 * Topics: hello users groups channels messages sessions ephemerals views homes prompts warnings deliveries calls
 * faults behind me place connection. A listener gets what changed: `messages` gives {messages, gone}, the logs
 * give the new records, `behind` the frame; the others give nothing that matters and are read from `state`.
 */
class Store {
  state = nothing();
  connected = null; // null before the first connection, then true or false
  viewer = crypto.randomUUID?.() ?? String(Math.random()).slice(2);
  place = placeOf(location.hash);
  opened = (Date.now() / 1000).toFixed(6);
  threadSeen = new Map(); // "channel/ts of the root": the newest reply that was on the screen
  streams = new Map(); // the messages that are growing, as in `state.messages`
  tick = 0; // goes up when messages are told of
  epoch = 0; // goes up when names or the acting person may have changed, and with them all that is drawn
  retry = () => {}; // the feed puts "connect again at once" here
  #me = localStorage.getItem(ME) ?? "";
  #listeners = new Map();
  #toldAt = new Map(); // by message: the tick at which it was last told of

  constructor() {
    addEventListener("hashchange", () => this.#moved(placeOf(location.hash)));
  }

  /** The acting person's user id; "" before the first hello. */
  get me() {
    return this.#me;
  }

  set me(id) {
    if (id === this.#me || !this.state.users.has(id)) return;
    this.#me = id;
    localStorage.setItem(ME, id);
    this.epoch += 1;
    this.emit("me");
  }

  /** The acting person. */
  get person() {
    return this.state.users.get(this.#me) ?? null;
  }

  /** Hear of a topic; the function that comes back ends it. */
  on(topic, listener) {
    const all = this.#listeners.get(topic) ?? new Set();
    this.#listeners.set(topic, all.add(listener));
    return () => all.delete(listener);
  }

  /** Tell everybody who listens; one that fails does not stop the others. */
  emit(topic, payload) {
    for (const listener of [...(this.#listeners.get(topic) ?? [])]) {
      try {
        listener(payload);
      } catch (error) {
        reportError(error);
      }
    }
  }

  /** Go somewhere: {view, channel, thread_ts, message}; what is left out stays, except the thread and the message. */
  go(place, { replace = false } = {}) {
    const next = { view: "channel", channel: this.place.channel, thread_ts: null, message: null, ...place };
    const hash = hashOf(next);
    if (hash === location.hash) return this.#moved(next);
    if (replace) history.replaceState(null, "", hash);
    else history.pushState(null, "", hash);
    return this.#moved(next);
  }

  #moved(next) {
    this.place = next;
    this.emit("place");
  }

  /** Connected or not; the banner listens. */
  connection(connected) {
    if (this.connected === connected) return;
    this.connected = connected;
    this.emit("connection");
  }

  /** A whole snapshot: it replaces everything. */
  hello(data) {
    const state = { ...nothing(), ready: true, boot: data.boot, who: data.who, behind: this.state.behind };
    const sameStart = data.boot === this.state.boot;
    if (sameStart) state.messages = this.state.messages;
    else state.behind = null;
    this.streams.clear();
    state.shortcuts = data.shortcuts ?? [];
    state.orders = data.orders ?? [];
    state.hasBehind = Boolean(data.behind);
    state.socketMode = Boolean(data.socket_mode);
    state.requestUrl = data.request_url ?? null;
    this.state = state;
    const { behind: _, shortcuts: __, orders: ___, ...rest } = data;
    this.#apply(rest);
    if (!isPerson(state.users.get(this.#me))) this.#me = [...state.users.values()].find(isPerson)?.id ?? "";
    this.connection(true);
    this.emit("hello", { sameStart });
  }

  /** Part of the state changed. */
  changes(data) {
    for (const [topic, payload] of this.#apply(data)) this.emit(topic, payload);
  }

  /** What our rows and the runtime know of the watched thread. */
  behind(frame) {
    this.state.behind = frame;
    this.emit("behind", frame);
  }

  #apply(data) {
    const { state } = this;
    const told = new Map();
    if (data.users || data.groups || data.channels) this.epoch += 1;
    const keep = (topic, map, list, key) => {
      if (!list) return;
      for (const one of list) map.set(key(one), one);
      told.set(topic, list);
    };
    keep("users", state.users, data.users, (one) => one.id);
    if (data.groups) state.groups.clear();
    keep("groups", state.groups, data.groups, (one) => one.id);
    keep("channels", state.channels, data.channels, (one) => one.id);
    keep("sessions", state.sessions, data.sessions, (one) => `${one.channel}/${one.thread_ts}`);
    keep("ephemerals", state.ephemerals, data.ephemerals, (one) => one.ts);
    for (const ts of data.ephemerals_gone ?? []) {
      state.ephemerals.delete(ts);
      told.set("ephemerals", data.ephemerals ?? []);
    }
    for (const topic of ["views", "homes", "prompts"]) {
      if (!data[topic]) continue;
      for (const [key, one] of Object.entries(data[topic])) state[topic].set(key, one);
      told.set(topic, data[topic]);
    }
    this.#applyLogs(data, told);
    if (data.messages || data.gone) told.set("messages", this.#applyMessages(data.messages ?? [], data.gone ?? []));
    return told;
  }

  #applyLogs(data, told) {
    for (const [topic, most] of [
      ["deliveries", KEPT_LOG],
      ["calls", KEPT_LOG],
      ["warnings", KEPT_WARNINGS],
    ]) {
      if (!data[topic]) continue;
      this.state[topic] = logged(this.state[topic], data[topic], most);
      told.set(topic, data[topic]);
    }
    if (data.faults) {
      this.state.faults = data.faults;
      told.set("faults", data.faults);
    }
  }

  #applyMessages(messages, gone) {
    this.tick += 1;
    for (const one of messages) this.#set(one);
    for (const one of gone) {
      this.state.messages.delete(keyOf(one));
      this.streams.delete(keyOf(one));
    }
    for (const one of [...messages, ...gone]) this.#toldAt.set(keyOf(one), this.tick);
    this.#forget();
    return { messages, gone };
  }

  /** Remember messages that were asked for at that tick: what was told of since is newer than they are. */
  keep(messages, asked) {
    for (const one of messages) if ((this.#toldAt.get(keyOf(one)) ?? 0) <= asked) this.#set(one);
    this.#forget();
  }

  #set(message) {
    const key = keyOf(message);
    this.state.messages.set(key, message);
    if (message.streaming_state === "in_progress") this.streams.set(key, message);
    else this.streams.delete(key);
  }

  // The oldest known go when there are too many.
  #forget() {
    const known = this.state.messages;
    if (known.size <= KEPT_MESSAGES) return;
    for (const [key, one] of known) {
      if (known.size <= KEPT_MESSAGES) break;
      if (one.channel !== this.place.channel) known.delete(key);
    }
    if (this.#toldAt.size > KEPT_MESSAGES) this.#toldAt = new Map([...this.#toldAt].slice(-KEPT_MESSAGES));
  }

  /** One message, or undefined. */
  message(channel, ts) {
    return this.state.messages.get(`${channel}/${ts}`);
  }

  /** One thread's agent session, or undefined. */
  session(channel, threadTs) {
    return this.state.sessions.get(`${channel}/${threadTs}`);
  }
}

function keyOf(message) {
  return `${message.channel}/${message.ts}`;
}

// A record that came again (a retried delivery's answer) takes the place of the one before.
function logged(before, fresh, most) {
  const seen = new Set(fresh.map((one) => one.seq ?? one.id));
  return [...before.filter((one) => !seen.has(one.seq ?? one.id)), ...fresh].slice(-most);
}

/** Whether the page may act as this account. */
export function isPerson(user) {
  return Boolean(user) && !user.deleted && PEOPLE.has(user.kind);
}

/** Compare two Slack timestamps. */
export function byTs(a, b) {
  return a.length === b.length ? (a < b ? -1 : a > b ? 1 : 0) : Number(a) - Number(b);
}

export const store = new Store();

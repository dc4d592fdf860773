// What people pressed: an interaction says where and what only in its payload, which is fetched once.

import { get } from "../api.js";
import { clip } from "./format.js";

const MOST_AT_ONCE = 4;
const known = new Map(); // query → promise of {envelope, url}; what was sent does not change
const KEPT = 200;

/** What was sent in a delivery, {envelope, url}; null once the server has forgotten it. */
export function sent(delivery) {
  const query = delivery.event_id ? `event_id=${encodeURIComponent(delivery.event_id)}` : `seq=${delivery.seq}`;
  const mark = `${delivery.at}?${query}`;
  if (known.has(mark)) return known.get(mark);
  const asked = get(`/_page/envelope?${query}`, { quiet: true }).catch(() => {
    known.delete(mark);
    return null;
  });
  known.set(mark, asked);
  if (known.size > KEPT) known.delete(known.keys().next().value);
  return asked;
}

/** Completes the entries of interactions; `done` is called when one has got its place. */
export class Clicks {
  #looked = new WeakSet();
  #busy = 0;

  constructor(done) {
    this.done = done;
  }

  /** Asks for the newest of those that are not known yet. */
  look(entries) {
    for (let index = entries.length - 1; index >= 0 && this.#busy < MOST_AT_ONCE; index -= 1) {
      const one = entries[index];
      if (one.kind === "event" && !one.subject.event_id && !this.#looked.has(one)) this.#ask(one);
    }
  }

  async #ask(one) {
    this.#looked.add(one);
    this.#busy += 1;
    const found = await sent(one.subject);
    this.#busy -= 1;
    if (found) place(one, found.envelope);
    this.done();
  }
}

function place(one, payload) {
  const { container = {}, user = {}, actions = [], view } = payload;
  const ts = container.message_ts ?? payload.message?.ts ?? null;
  one.placeless = one.placeless && ts === null;
  one.channel ??= container.channel_id ?? payload.channel?.id ?? null;
  one.ts = ts;
  one.thread = container.thread_ts ?? payload.message?.thread_ts ?? ts;
  const pressed = actions.map((action) => action.text?.text ?? action.selected_option?.text?.text ?? action.action_id).join(", ");
  const what = pressed || (view && (view.callback_id || view.title?.text)) || payload.callback_id || "";
  one.note = clip([user.name, what, one.note].filter(Boolean).join(" · "));
  one.text = `${one.title} ${one.note} ${one.badge} ${ts ?? ""}`.toLowerCase();
}

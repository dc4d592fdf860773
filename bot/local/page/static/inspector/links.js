// What led to what: for each entry the one that it follows from, and how long after.

const MOST_BEFORE_MS = 50; // clocks of two processes differ a little; more is no cause

/** Sets `cause` and `since` of all entries, which are ordered by time. */
export function link(entries, places) {
  const seen = new Seen(places);
  for (const one of entries) {
    const cause = seen.causeOf(one);
    const since = cause ? one.at - cause.at : null;
    const holds = cause !== null && cause !== one && since > -MOST_BEFORE_MS;
    one.cause = holds ? cause.key : null;
    one.since = holds ? Math.max(0, since) : null;
    seen.add(one);
  }
}

class Seen {
  #places;
  #said = new Map(); // channel/ts → the message or its newest edit
  #events = new Map(); // event_id → the newest attempt
  #onTs = new Map(); // channel/ts → the newest call on that message
  #rows = new Map(); // table/id → the newest change of that row
  #turns = new Map(); // turn id → the first input of it
  #runtime = new Map(); // session → its newest event
  #byId = new Map(); // runtime event id → its entry
  #sent = new Map(); // runtime event id, or input id → the input
  #steps = new Map(); // thread → its newest step, whatever it was

  constructor(places) {
    this.#places = places;
  }

  #thread(one) {
    return `${one.channel}/${one.thread ?? this.#places.root(one.channel, one.ts)}`;
  }

  add(one) {
    const { subject } = one;
    const place = `${one.channel}/${one.ts}`;
    if (one.kind === "said") this.#said.set(place, one);
    if (one.kind === "event" && subject.event_id) this.#events.set(subject.event_id, one);
    const ts = one.kind === "call" && (subject.answer?.ts ?? one.ts);
    if (ts) this.#onTs.set(`${one.channel}/${ts}`, one);
    if (one.kind === "row") this.#addRow(one, subject);
    if (one.kind === "runtime") {
      this.#runtime.set(subject.session_id, one);
      if (subject.id) this.#byId.set(subject.id, one);
    }
    if (one.channel && !one.everywhere && (one.ts || one.thread)) this.#steps.set(this.#thread(one), one);
  }

  #addRow(one, row) {
    this.#rows.set(`${one.table}/${one.rowId}`, one);
    if (one.table !== "inputs") return;
    this.#sent.set(row.id, one);
    if (row.runtime_event_id) this.#sent.set(row.runtime_event_id, one);
    if (row.turn_id && !this.#turns.has(row.turn_id)) this.#turns.set(row.turn_id, one);
  }

  causeOf(one) {
    const rules = { event: this.#ofEvent, call: this.#ofCall, runtime: this.#ofRuntime, row: this.#ofRow };
    return rules[one.kind]?.call(this, one, one.subject) ?? null;
  }

  #ofEvent(one, delivery) {
    const place = `${one.channel}/${one.ts}`;
    if (!one.ts) return null;
    if (delivery.retry_num && this.#events.has(delivery.event_id)) return this.#events.get(delivery.event_id);
    const [said, called] = [this.#said.get(place), this.#onTs.get(place)];
    return called && (!said || called.at > said.at) ? called : said;
  }

  #ofCall(one, call) {
    const before = call.args?.ts && this.#onTs.get(`${one.channel}/${call.args.ts}`);
    const sent = call.args?.client_msg_id ?? call.args?.metadata?.event_payload?.delivery_id;
    return before || this.#rows.get(`outbox/${sent}`) || this.#steps.get(this.#thread(one));
  }

  #ofRuntime(_one, event) {
    const named = event.type === "user.message" && this.#sent.get(inputId(event));
    return this.#sent.get(event.id) ?? (named || this.#byId.get(event.tool_use_id)) ?? this.#runtime.get(event.session_id);
  }

  #ofRow(one, row) {
    const before = this.#rows.get(`${one.table}/${one.rowId}`);
    if (one.everywhere) return before;
    if (one.table === "inputs" && one.step === "accepted_at") return this.#events.get(row.slack_event_id);
    if (one.table === "turns" && one.step === "started_at") return this.#turns.get(one.rowId) ?? this.#steps.get(this.#thread(one));
    if (one.table === "outbox") return this.#ofOutbox(one, row, before);
    return before ?? this.#byId.get(row.runtime_event_id) ?? this.#steps.get(this.#thread(one));
  }

  #ofOutbox(one, row, before) {
    if (one.step !== "created_at") return (row.slack_ts ? this.#onTs.get(`${row.channel_id}/${row.slack_ts}`) : null) ?? before;
    return this.#byId.get(String(row.effect_key).split(":")[0]) ?? this.#steps.get(this.#thread(one));
  }
}

// Our messages to the runtime begin with the id of their input.
function inputId(event) {
  const first = Array.isArray(event.content) ? event.content[0]?.text : "";
  return /<input id="([^"]+)"/.exec(first ?? "")?.[1];
}

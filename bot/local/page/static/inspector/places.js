// Which thread a message is in, also after it was deleted or before the page has loaded it.

const KEPT = 20_000;

/** Remembers the thread of each message that was seen, in messages, calls and our own rows. */
export class Places {
  #roots = new Map();
  #lent = new Map();

  /** The message `ts` stands in the thread of `root`. */
  learn(channel, ts, root) {
    if (!channel || !ts) return;
    const key = `${channel}/${ts}`;
    if (this.#roots.get(key) === (root || ts)) return;
    this.#roots.delete(key);
    this.#roots.set(key, root || ts);
    if (this.#roots.size > KEPT) this.#roots.delete(this.#roots.keys().next().value);
  }

  /** A message elsewhere (an escalation in its own channel) that belongs to the session of a thread. */
  lend(channel, ts, toChannel, toRoot) {
    if (channel && ts) this.#lent.set(`${channel}/${ts}`, `${toChannel}/${toRoot}`);
  }

  forget() {
    this.#roots.clear();
    this.#lent.clear();
  }

  /** The thread of a message; its own ts when nothing else is known. */
  root(channel, ts) {
    return this.#roots.get(`${channel}/${ts}`) ?? ts;
  }

  /** Whether an entry happened in a thread, or with `root` null, anywhere in the channel. */
  holds(entry, channel, root) {
    if (entry.everywhere) return true;
    if (!channel || !entry.channel) return false;
    if (root === null) return entry.channel === channel;
    if (!entry.ts && !entry.thread) return entry.channel === channel && entry.placeless;
    const own = entry.thread ?? this.root(entry.channel, entry.ts);
    if (entry.channel === channel && (own === root || entry.ts === root)) return true;
    const lent = this.#lent.get(`${entry.channel}/${own}`) ?? this.#lent.get(`${entry.channel}/${entry.ts}`);
    return lent === `${channel}/${root}`;
  }
}

// Tells the server which thread is looked at, so that it looks at its rows only then.

import { page } from "../api.js";

/** Follows the open thread while the panel shows. */
export class Watch {
  #store;
  #told = "null";
  #asking = false;
  #visible = false;

  constructor(store) {
    this.#store = store;
  }

  /** The server has forgotten what it was told, as after a reconnect. */
  again() {
    this.#told = "";
  }

  /** Says which thread is wanted now, when that is another than before. */
  async follow(visible) {
    this.#visible = visible;
    if (this.#asking || !this.#store.state.ready || !this.#store.state.hasBehind) return;
    const wanted = this.#wanted();
    if (wanted === this.#told || (wanted === "null" && this.#told === "")) return;
    this.#asking = true;
    try {
      await page("watch", { viewer: this.#store.viewer, channel: this.#store.place.channel, thread_ts: null, ...JSON.parse(wanted) }, { quiet: true });
      this.#told = wanted;
    } catch {
      // The connection is away or begins anew; the next hello asks again.
      this.#told = "";
      return;
    } finally {
      this.#asking = false;
    }
    this.follow(this.#visible);
  }

  #wanted() {
    const { channel, thread_ts: thread, view } = this.#store.place;
    if (!this.#visible || view !== "channel" || !channel || !thread) return "null";
    return JSON.stringify({ channel, thread_ts: thread });
  }
}

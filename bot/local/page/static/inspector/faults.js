// The tab of faults: what misbehaves now, and the switches.

import { act, page } from "../api.js";
import { h, svg } from "../dom.js";
import { faultWords, GROUPS } from "./switches.js";

const ENDED = new Set(["token_revoked", "account_inactive"]);
const OPPOSITE = { revoke_token: "restore_token", disable_agent_features: "enable_agent_features" };

/** The third tab. `how`: {store, say}. */
export class Faults {
  #how;
  #standing = new Set(); // what was switched on here and lasts until it is switched off
  #boot = null;
  #active = h("div", { class: "ins-active" });
  #groups = h("div", {});
  #drawn = "";

  constructor(how) {
    this.#how = how;
    this.element = h("div", { class: "ins-faults" }, this.#active, this.#groups);
  }

  /** Shows the switches as they stand now. */
  refresh() {
    const { state, place } = this.#how.store;
    if (state.boot !== this.#boot) this.#standing.clear();
    this.#boot = state.boot;
    const channel = state.channels.get(place.channel);
    const context = { channel, bot: state.who.bot_user_id, standing: this.#lasting(state), socketMode: state.socketMode };
    const print = JSON.stringify([state.faults, state.orders, channel?.id, channel?.archived, channel?.members, [...context.standing], state.socketMode]);
    if (print === this.#drawn) return;
    this.#drawn = print;
    // The buttons are made anew: whoever has the focus on one keeps it.
    const focused = this.element.contains(document.activeElement) ? document.activeElement.dataset.at : null;
    this.#drawActive(state.faults, context);
    this.#groups.replaceChildren(this.#orders(state.orders), ...GROUPS.map((group) => this.#group(group, context)));
    if (focused) this.element.querySelector(`[data-at="${CSS.escape(focused)}"]`)?.focus();
  }

  #lasting(state) {
    const standing = new Set(this.#standing);
    if (ENDED.has(state.calls.at(-1)?.answer?.error)) standing.add("revoke_token");
    return standing;
  }

  // -------------------------------------------------------------------- active

  #drawActive(faults, context) {
    const lasting = [...context.standing].map((kind) => h("li", {}, h("b", {}, kind.replaceAll("_", " ")), h("span", { class: "ins-left" }, "until switched back")));
    const armed = faults.map((one) => {
      const { what, detail } = faultWords(one);
      return h("li", {}, h("b", {}, what), h("span", {}, detail), h("span", { class: "ins-left" }, one.left === null ? "for ever" : `${one.left ?? one.times} left`));
    });
    const all = [...armed, ...lasting];
    this.#active.dataset.any = String(all.length > 0);
    this.#active.replaceChildren(all.length === 0
      ? h("p", {}, svg("check", 16), "Nothing misbehaves. Switch something on and watch the bot recover.")
      : h("div", {},
        h("div", { class: "ins-active-head" }, h("h3", {}, "Faults that are on"),
          h("button", { type: "button", class: "ins-button", data: { at: "clear" }, on: { click: () => this.#clear(context) } }, "Clear all")),
        h("ul", {}, all)));
  }

  async #clear(context) {
    await this.#ordered("clear", async () => {
      await act("fault", { kind: "clear" });
      for (const kind of context.standing) await act("fault", { kind: OPPOSITE[kind] });
      this.#standing.clear();
      return "Everything behaves again.";
    });
  }

  // ------------------------------------------------------------------ switches

  #group(group, context) {
    const shown = group.switches.filter((one) => !one.socketMode || context.socketMode);
    return h("section", { class: "ins-group" }, h("h3", {}, group.title), shown.map((one) => this.#card(one, context)));
  }

  #card(one, context) {
    const dead = one.needsChannel && (!context.channel || context.channel.kind === "im");
    const label = one.needsChannel && context.channel?.name ? `${one.label} (#${context.channel.name})` : one.label;
    return h("div", { class: "ins-switch" },
      h("div", { class: "ins-switch-head" }, h("h4", {}, label), one.is && h("span", { class: "ins-chip", data: { tone: one.is(context) ? "bad" : "ok" } }, one.state[one.is(context) ? 1 : 0])),
      h("p", {}, one.will),
      h("p", { class: "ins-watch" }, h("span", {}, "Watch for: "), one.watch),
      h("div", { class: "ins-switch-buttons" }, dead
        ? h("span", { class: "ins-dim" }, "Open a channel to use this.")
        : one.is ? this.#pair(one, context) : one.buttons.map((button) => this.#button(one, button, context))));
  }

  #pair(one, context) {
    const on = one.is(context);
    return [this.#button(one, on ? one.off : one.on, context, { on: !on })];
  }

  #button(one, { label, body }, context, pair = null) {
    const at = `${one.id}/${body.method ?? body.seconds ?? ""}`;
    const armed = context && this.#how.store.state.faults.some((fault) => fault.kind === body.kind && (fault.method ?? null) === (body.method ?? null));
    const whole = one.needsChannel ? { ...body, channel: context.channel.id } : body;
    return h("button", {
      type: "button", class: "ins-button", data: { at, armed: armed ? "true" : null }, aria: { label: `${one.label}: ${label}` },
      on: {
        click: () => this.#ordered(at, async () => {
          await act("fault", whole);
          if (pair) this.#lasts(body.kind, pair.on);
          return one.now ?? (pair ? `${one.label}: ${label.toLowerCase()}, done.` : `Armed: ${one.label.toLowerCase()}, ${label}.`);
        }),
      },
    }, armed ? h("span", { class: "ins-armed", aria: { hidden: "true" } }) : null, label);
  }

  #lasts(kind, on) {
    if (on && OPPOSITE[kind]) this.#standing.add(kind);
    if (!on) for (const [bad, good] of Object.entries(OPPOSITE)) if (good === kind) this.#standing.delete(bad);
  }

  // -------------------------------------------------------------------- orders

  #orders(orders) {
    if (orders.length === 0) return h("div", {});
    return h("section", { class: "ins-group" }, h("h3", {}, "The runtime and the bot itself"), orders.map((order) => h("div", { class: "ins-switch ins-order" },
      h("h4", {}, order.label),
      h("p", {}, order.help),
      h("button", {
        type: "button", class: "ins-button", data: { at: `order/${order.kind}` }, aria: { label: `Do it: ${order.label}` },
        on: { click: () => this.#ordered(`order/${order.kind}`, async () => (await page("order", { kind: order.kind })).says || `${order.label}: done.`) },
      }, "Do it"))));
  }

  async #ordered(at, work) {
    const button = this.element.querySelector(`[data-at="${CSS.escape(at)}"]`);
    if (button?.getAttribute("aria-busy") === "true") return;
    button?.setAttribute("aria-busy", "true");
    try {
      this.#how.say(await work());
    } catch (error) {
      // The toast has said it to all; here it stays readable beside the switches.
      this.#how.say(error.said ?? String(error), "bad");
    } finally {
      button?.removeAttribute("aria-busy");
      this.#drawn = "";
      this.refresh();
    }
  }
}

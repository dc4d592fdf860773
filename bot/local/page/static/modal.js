/**
 * The modals that the acting person has before them: one dialog that shows the view on top of their
 * stack (docs.slack.dev/surfaces/modals). What is typed stays through updates and pushes.
 */

import { act } from "./api.js";
import { renderBlocks } from "./blocks.js";
import { h, iconButton, svg } from "./dom.js";
import { keepingFocus } from "./focus.js";
import { wrong } from "./inputs.js";
import { freshId } from "./naming.js";
import { store } from "./store.js";
import { renderText } from "./text.js";
import { forgetValues, holds, typedValues, valueOf } from "./typed.js";

const TROUBLE = "We had some trouble connecting. Try again?";
const WAIT_MS = 2_000; // for what the server tells of a submission that the app took

/** Shows modals from now on. */
export function mountModals() {
  const modals = new Modals();
  for (const topic of ["hello", "views", "me"]) store.on(topic, () => modals.refresh());
  modals.refresh();
}

class Modals {
  dialog = null;
  view = null;
  opener = null;
  pending = false;
  trouble = "";
  mine = {}; // what this page says against the fields
  mended = new Set(); // fields that were changed after the app spoke against them
  seen = new Set();
  sign = "";

  refresh() {
    const stack = (store.state.views.get(store.me) ?? []).filter((view) => view.type === "modal");
    const all = new Set([...store.state.views.values()].flat().map((view) => view.id));
    for (const id of [...this.seen].filter((one) => !all.has(one))) {
      forgetValues(id);
      this.seen.delete(id);
    }
    const top = stack.at(-1);
    if (!top) return this.close();
    this.seen.add(top.id);
    const sign = `${top.id} ${top.hash} ${stack.length} ${JSON.stringify(top.errors ?? {})}`;
    if (sign === this.sign && !this.answered) return undefined;
    const same = this.view?.id === top.id;
    Object.assign(this, { sign, view: top, depth: stack.length, pending: false, answered: false, mine: {}, mended: new Set() });
    if (!same) this.trouble = "";
    clearTimeout(this.timer);
    return this.draw(same);
  }

  // ------------------------------------------------------------------ drawing

  draw(same) {
    const opening = this.dialog === null;
    if (opening) this.open();
    const errors = this.errors();
    const kept = keepingFocus(this.dialog, () => this.fill(errors));
    if (Object.keys(errors).length) this.dialog.querySelector("[aria-invalid=true], .input.invalid :is(input, button, select, textarea)")?.focus();
    else if (!(same && kept)) this.focusFirst();
  }

  open() {
    this.opener = placeOfOpener();
    this.title = freshId("modal-title");
    this.dialog = h("dialog", { class: "modal", data: { testid: "modal" }, aria: { labelledby: this.title } });
    this.dialog.addEventListener("cancel", (event) => {
      event.preventDefault();
      this.dismiss(false);
    });
    this.dialog.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.metaKey || event.ctrlKey) && this.view.submit) this.submit();
    });
    document.body.append(this.dialog);
    this.dialog.showModal();
  }

  fill(errors) {
    const { view } = this;
    this.ctx = { on: "view", id: view.id, values: view.values ?? {}, errors, changed: (block) => this.mend(block) };
    const body = h("div", { class: "modal-body" }, this.trouble && h("div", { class: "modal-trouble", role: "alert" }, svg("warn"), this.trouble), renderBlocks(view.blocks, this.ctx));
    const form = h("form", { class: "modal-form", noValidate: true }, this.head(), body, this.foot());
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
    // Notices may stand in the dialog; they stay.
    this.dialog.querySelector(":scope > form")?.remove();
    this.dialog.prepend(form);
    this.form = form;
    this.wait(this.pending);
  }

  head() {
    const back = this.depth > 1 && iconButton("back", "Back", () => this.dismiss(false), { class: "modal-back" });
    return h("header", { class: "modal-head" }, back, h("h2", { id: this.title, tabIndex: -1 }, renderText(this.view.title, "plain_text")),
      iconButton("close", this.depth > 1 ? "Close all" : "Close", () => this.dismiss(this.depth > 1), { class: "modal-x" }));
  }

  foot() {
    const { view } = this;
    const close = h("button", { type: "button", class: "button", on: { click: () => this.dismiss(false) } }, view.close ? renderText(view.close, "plain_text") : view.submit ? "Cancel" : "Close");
    const submit = view.submit && h("button", { type: "submit", class: "button primary modal-submit", data: { action: "submit" } }, h("span", {}, renderText(view.submit, "plain_text")));
    return h("footer", { class: "modal-foot" }, close, submit);
  }

  focusFirst() {
    const first = this.form.querySelector("[autofocus]") ?? this.form.querySelector(".modal-body :is(input, textarea, select):not(:disabled)");
    (first ?? this.form.querySelector("h2")).focus({ preventScroll: !first });
  }

  errors() {
    const theirs = Object.entries(this.view.errors ?? {}).filter(([block]) => !this.mended.has(block));
    return { ...Object.fromEntries(theirs), ...this.mine };
  }

  /** Somebody changes a field: what was said against it counts no more. */
  mend(block) {
    if (!this.errors()[block]) return;
    delete this.mine[block];
    this.mended.add(block);
    const box = [...this.form.querySelectorAll("[data-block]")].find((one) => one.dataset.block === block)?.querySelector(".input.invalid");
    box?.classList.remove("invalid");
    box?.querySelector(".input-error")?.setAttribute("hidden", "");
    for (const one of box?.querySelectorAll("[aria-invalid]") ?? []) one.removeAttribute("aria-invalid");
  }

  wait(pending) {
    this.pending = pending;
    this.form.setAttribute("aria-busy", String(pending));
    const button = this.form.querySelector(".modal-submit");
    button?.classList.toggle("waiting", pending);
    button?.setAttribute("aria-disabled", String(pending));
  }

  // ------------------------------------------------------------------ sending

  async submit() {
    if (this.pending || !this.view.submit) return;
    this.mine = this.problems();
    if (Object.keys(this.mine).length) return void this.draw(true);
    const { view } = this;
    this.wait(true);
    const trouble = await this.sent(view);
    if (this.view?.id !== view.id) return;
    if (trouble === null) {
      this.answered = true;
      this.timer = setTimeout(() => this.wait(false), WAIT_MS);
      return;
    }
    this.trouble = trouble;
    this.pending = false;
    this.draw(true);
  }

  async sent(view) {
    try {
      const answer = await act("submit", { user: store.me, view: view.id, values: typedValues(this.ctx) }, { quiet: true });
      return answer.failure ? TROUBLE : null;
    } catch (error) {
      return REFUSED[error.name] ?? TROUBLE;
    }
  }

  problems() {
    const found = {};
    for (const block of this.view.blocks ?? []) {
      if (block?.type !== "input" || !holds(block.element)) continue;
      const problem = wrong(block, valueOf(this.ctx, block, block.element));
      if (problem) found[block.block_id] = problem;
    }
    return found;
  }

  async dismiss(everything) {
    const { view } = this;
    try {
      await act("close_view", { user: store.me, view: view.id, everything }, { quiet: true });
    } catch (error) {
      if (error.name !== "view_not_found") {
        this.trouble = TROUBLE;
        this.draw(true);
      }
    }
  }

  close() {
    if (!this.dialog) return;
    const { dialog, opener } = this;
    Object.assign(this, { dialog: null, view: null, opener: null, sign: "", trouble: "", pending: false, answered: false });
    clearTimeout(this.timer);
    dialog.close();
    dialog.remove();
    refocus(opener);
  }
}

const REFUSED = {
  input_required: "Please complete every required field.",
  input_too_long: "One of the answers is too long.",
  input_too_short: "One of the answers is too short.",
  option_not_found: "One of the choices is not offered any more.",
};

// ------------------------------------------------------------------ where the focus was

function placeOfOpener() {
  const node = document.activeElement;
  const article = node?.closest?.("article[data-ts]");
  return { node, key: node?.closest?.("[data-press]")?.dataset.press, ts: article?.dataset.ts, channel: article?.dataset.channel };
}

// The card may have been drawn anew meanwhile.
function refocus(opener) {
  if (!opener) return;
  const articles = [...document.querySelectorAll("article[data-ts]")];
  const article = articles.find((one) => one.dataset.ts === opener.ts && one.dataset.channel === opener.channel);
  const pressed = [...document.querySelectorAll("[data-press]")].find((one) => opener.key && one.dataset.press === opener.key)?.firstElementChild;
  const node = opener.node?.isConnected && opener.node !== document.body ? opener.node : (pressed ?? article);
  node?.focus?.({ preventScroll: true });
}

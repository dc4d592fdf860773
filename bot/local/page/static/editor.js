/** The field in which a message that was sent is changed. */

import { act } from "./api.js";
import { h } from "./dom.js";
import { attachMentions, fromSlack, toSlack } from "./mentions.js";

export class Editor {
  /**
   * @param {object} message a Shown
   * @param {() => void} done called when it is saved or given up
   */
  constructor(message, done) {
    this.message = message;
    this.done = done;
    this.area = h("textarea", {
      class: "field editor-area",
      value: fromSlack(message.text ?? ""),
      rows: 1,
      aria: { label: "Edit message" },
      on: { keydown: (event) => this.#keys(event), input: () => this.#fit() },
    });
    this.save = h(
      "button",
      { type: "button", class: "button primary small", on: { click: () => this.#save() } },
      "Save",
    );
    const cancel = h("button", { type: "button", class: "button small", on: { click: () => done() } }, "Cancel");
    this.el = h(
      "div",
      { class: "editor" },
      this.area,
      h(
        "div",
        { class: "editor-foot" },
        h("span", { class: "muted hint" }, "Enter saves, Esc cancels"),
        cancel,
        this.save,
      ),
    );
    attachMentions(this.area, { channel: message.channel });
  }

  focus() {
    this.area.focus();
    this.area.setSelectionRange(this.area.value.length, this.area.value.length);
    this.#fit();
  }

  #fit() {
    this.area.style.height = "auto";
    this.area.style.height = `${Math.min(this.area.scrollHeight + 2, 320)}px`;
  }

  #keys(event) {
    if (event.defaultPrevented || event.isComposing) return;
    if (event.key === "Escape") {
      event.preventDefault();
      event.stopPropagation();
      this.done();
    } else if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      this.#save();
    }
  }

  async #save() {
    const text = this.area.value.trim();
    const { channel, ts } = this.message;
    if (!text) return;
    if (text === fromSlack(this.message.text ?? "").trim()) return this.done();
    this.save.disabled = true;
    try {
      await act("edit", { channel, ts, text: toSlack(text) });
      this.done();
    } catch {
      this.save.disabled = false; // the notice has said why; what was typed stays
    }
  }
}

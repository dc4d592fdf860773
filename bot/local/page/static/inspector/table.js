// One compact table of rows that open to their JSON.

import { h } from "../dom.js";
import { copyText } from "./copy.js";
import { rowQuery } from "./curl.js";
import { count } from "./format.js";
import { renderTree } from "./tree.js";

const SHOWN = 30;
const FLASH_MS = 1_600;
const still = matchMedia("(prefers-reduced-motion: reduce)");

/** Rows of one table, newest last; those that are not new keep their elements, so that a change can be seen. */
export class TableView {
  #rows = new Map();
  #open = new Set();
  #all = false;
  #list = [];
  #body = h("tbody", {});
  #count = h("span", { class: "ins-dim" });
  #more = h("button", { type: "button", class: "ins-more", hidden: true, on: { click: () => this.#showAll() } });

  constructor({ name, title, columns, id, state, how }) {
    Object.assign(this, { name, columns, id, state, how });
    const heads = [columns[0][0], "state", ...columns.slice(1).map(([label]) => label)];
    this.element = h("section", { class: "ins-table", hidden: true, data: { table: name } },
      h("h3", {}, title, " ", this.#count), this.#more,
      h("table", { aria: { label: title } }, h("thead", {}, h("tr", {}, heads.map((label) => h("th", { scope: "col" }, label)))), this.#body));
  }

  /** Another thread: what is new there does not flash. */
  forget() {
    this.#rows.clear();
    this.#open.clear();
    this.#all = false;
    this.#body.replaceChildren();
  }

  /** Shows these rows. */
  show(rows) {
    this.#list = rows;
    this.element.hidden = rows.length === 0;
    this.#count.textContent = String(rows.length);
    const left = this.#all ? 0 : rows.length - SHOWN;
    this.#more.hidden = left <= 0;
    this.#more.textContent = count(left, "earlier row");
    const shown = left > 0 ? rows.slice(-SHOWN) : rows;
    const wanted = new Set(shown.map(this.id));
    for (const [key, row] of this.#rows) if (!wanted.has(key)) this.#drop(key, row);
    const first = this.#rows.size === 0;
    shown.forEach((record, index) => this.#put(record, index, first));
  }

  #showAll() {
    this.#all = true;
    this.show(this.#list);
  }

  #drop(key, row) {
    row.tr.remove();
    row.below?.remove();
    this.#rows.delete(key);
  }

  #put(record, index, first) {
    const key = this.id(record);
    const row = this.#rows.get(key) ?? this.#make(key);
    const before = row.state;
    row.record = record;
    row.state = this.state(record);
    row.cells.forEach((cell, at) => write(cell, this.columns[at][1](record)));
    write(row.chip, row.state);
    row.chip.dataset.state = row.state;
    if (!first && before !== row.state) flash(row.chip);
    if (row.below && JSON.stringify(record) !== row.json) this.#fill(row);
    this.#order(row, index);
  }

  #order(row, index) {
    const rows = [...this.#body.children].filter((one) => !one.classList.contains("ins-below"));
    if (rows[index] === row.tr) return;
    this.#body.insertBefore(row.tr, rows[index] ?? null);
    if (row.below) row.tr.after(row.below);
  }

  #make(key) {
    const name = h("button", { type: "button", class: "ins-cell", aria: { expanded: "false" }, on: { click: () => this.#toggle(key) } });
    const rest = this.columns.slice(1).map(() => h("td", {}));
    const chip = h("span", { class: "ins-chip" });
    const tr = h("tr", {}, h("th", { scope: "row" }, name), h("td", {}, chip), rest);
    const row = { tr, chip, cells: [name, ...rest], below: null, state: undefined, record: null, json: "" };
    this.#rows.set(key, row);
    return row;
  }

  #toggle(key) {
    const row = this.#rows.get(key);
    if (row.below) {
      row.below.remove();
      row.below = null;
    } else {
      row.below = h("tr", { class: "ins-below" }, h("td", { colSpan: this.columns.length + 1 }));
      row.tr.after(row.below);
      this.#fill(row);
    }
    row.cells[0].setAttribute("aria-expanded", String(row.below !== null));
  }

  #fill(row) {
    row.json = JSON.stringify(row.record);
    const place = h("div", { class: "ins-copying" });
    const query = rowQuery(this.name, row.record);
    const button = (label, text, what) => h("button", { type: "button", class: "ins-button", on: { click: () => copyText(text, what, { say: this.how.say, place }) } }, label);
    row.below.firstChild.replaceChildren(
      h("div", { class: "ins-actions" }, query && button("Copy as psql", query, "as a query"), button("Copy JSON", JSON.stringify(row.record, null, 2), "as JSON")),
      place, renderTree(row.record, { open: 1 }));
  }
}

function write(element, text) {
  if (element.textContent === text) return;
  element.textContent = text;
  if (element.tagName === "TD") element.title = text;
}

function flash(chip) {
  chip.classList.add("ins-changed");
  clearTimeout(chip.flashing);
  chip.flashing = setTimeout(() => chip.classList.remove("ins-changed"), FLASH_MS);
  if (still.matches) return;
  chip.animate([{ transform: "scale(1.18)" }, { transform: "scale(1)" }], { duration: 420, easing: "ease-out" });
}

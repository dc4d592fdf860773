// A long list of which only what is on the screen exists.

import { h } from "../dom.js";

const SPARE = 5;
const NEAR_END_PX = 24;
const UNFOLDING_MS = 800;

/**
 * Shows `items` ({key}) in a scroller: closed rows are all of one height (`--ins-row`), opened ones as tall as they are.
 * `make(item)` gives {element, head}, `paint(row, item, index)` brings it up to date, `detail(item)` what opens below.
 */
export class WindowList {
  #rows = new Map();
  #opened = new Map(); // key → {height}
  #items = [];
  #index = new Map();
  #height = 30;
  #active = null;
  #stuck = true;
  #fresh = { key: null, until: 0 };
  #sizes = new ResizeObserver((all) => this.#resized(all));

  constructor(scroller, { make, paint, detail, onScroll }) {
    Object.assign(this, { scroller, make, paint, detail, onScroll });
    this.body = h("ul", { class: "ins-rows", role: "list" });
    scroller.append(this.body);
    scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    for (const moved of ["wheel", "touchmove", "pointerdown"]) scroller.addEventListener(moved, () => (this.#fresh.until = 0), { passive: true });
    scroller.addEventListener("keydown", (event) => this.#key(event));
    new ResizeObserver(() => this.measure()).observe(scroller);
  }

  /** Whether the newest row is kept in sight. */
  get stuck() {
    return this.#stuck;
  }

  /** Whether the newest row is in sight, be it that what is open below it is not. */
  get newestSeen() {
    const top = this.#top(this.#items.length - 1);
    return top + this.#height <= this.scroller.scrollTop + this.scroller.clientHeight + 1;
  }

  /** The item that has the focus, or had it last. */
  get active() {
    return this.#items[this.#index.get(this.#active)] ?? null;
  }

  /** Reads the height of a row, which depends on the width. */
  measure() {
    const height = parseFloat(getComputedStyle(this.scroller).getPropertyValue("--ins-row"));
    if (height > 0) this.#height = height;
    this.#settle();
  }

  /** Other items; what is being looked at stays where it is. */
  set(items) {
    const anchor = this.#stuck ? null : this.#anchor();
    this.#items = items;
    this.#index = new Map(items.map((item, index) => [item.key, index]));
    if (this.#active !== null && !this.#index.has(this.#active)) this.#active = null;
    for (const key of this.#opened.keys()) if (!this.#index.has(key)) this.#shut(key);
    this.#settle(anchor);
  }

  /** Back to the newest. */
  toEnd() {
    this.#stick(true);
    this.#settle();
  }

  isOpen(key) {
    return this.#opened.has(key);
  }

  /** Opens or closes a row. */
  toggle(key) {
    if (this.#opened.has(key)) this.#shut(key);
    else this.#open(key);
    this.#settle();
  }

  /** Brings a row into sight and gives it the focus; false when it is not shown now. */
  focus(key) {
    const index = this.#index.get(key);
    if (index === undefined) return false;
    this.#active = key;
    const { scroller } = this;
    const [top, bottom] = [this.#top(index), this.#top(index) + this.#height];
    if (index < this.#items.length - 1) this.#stick(false);
    if (top < scroller.scrollTop) scroller.scrollTop = top - 8;
    else if (bottom > scroller.scrollTop + scroller.clientHeight) scroller.scrollTop = bottom - scroller.clientHeight + 8;
    this.#draw();
    this.#rows.get(key)?.head.focus({ preventScroll: true });
    return true;
  }

  /** Notes which row has the focus, without moving anything. */
  activate(key) {
    if (this.#active === key) return;
    this.#active = key;
    this.#draw();
  }

  #open(key) {
    const item = this.#items[this.#index.get(key)];
    const row = this.#row(item);
    row.detail = this.detail(item);
    row.element.append(row.detail);
    this.#opened.set(key, { height: 0 });
    this.#fresh = { key, until: performance.now() + UNFOLDING_MS };
    this.#sizes.observe(row.detail);
    this.#stick(false);
  }

  #shut(key) {
    const row = this.#rows.get(key);
    if (row?.detail) {
      this.#sizes.unobserve(row.detail);
      row.detail.remove();
      row.detail = null;
    }
    this.#opened.delete(key);
  }

  #resized(all) {
    for (const { target, borderBoxSize } of all) {
      const key = target.parentElement?.dataset.key;
      const size = borderBoxSize[0].blockSize;
      const opened = this.#opened.get(key);
      if (!target.isConnected || !opened || size <= 0) continue;
      opened.height = size;
    }
    this.#settle(this.#stuck ? null : this.#anchor());
    // What was just opened grows while it is fetched.
    if (performance.now() < this.#fresh.until && this.#opened.has(this.#fresh.key)) this.#unfold(this.#fresh.key);
  }

  // As much of what was just opened as there is room for, and its head in any case.
  #unfold(key) {
    const { scroller } = this;
    const top = this.#top(this.#index.get(key));
    const bottom = top + this.#height + this.#opened.get(key).height;
    if (bottom > scroller.scrollTop + scroller.clientHeight) scroller.scrollTop = Math.min(top - 4, bottom - scroller.clientHeight);
    this.#draw();
  }

  // ------------------------------------------------------------------ places

  #tall() {
    return [...this.#opened].map(([key, { height }]) => [this.#index.get(key), height]).sort((a, b) => a[0] - b[0]);
  }

  #top(index) {
    let top = index * this.#height;
    for (const [opened, height] of this.#opened) if (this.#index.get(opened) < index) top += height.height;
    return top;
  }

  #at(y) {
    let spare = 0;
    for (const [index, height] of this.#tall()) {
      if ((index + 1) * this.#height + spare >= y) break;
      if ((index + 1) * this.#height + spare + height > y) return index;
      spare += height;
    }
    return Math.max(0, Math.min(this.#items.length - 1, Math.floor((y - spare) / this.#height)));
  }

  #anchor() {
    if (this.#items.length === 0) return null;
    const index = this.#at(this.scroller.scrollTop);
    return { key: this.#items[index].key, below: this.scroller.scrollTop - this.#top(index) };
  }

  #settle(anchor = null) {
    const { scroller, body } = this;
    body.style.height = `${this.#top(this.#items.length)}px`;
    if (this.#stuck) scroller.scrollTop = scroller.scrollHeight;
    else if (anchor && this.#index.has(anchor.key)) {
      const top = this.#top(this.#index.get(anchor.key)) + anchor.below;
      if (Math.abs(scroller.scrollTop - top) > 1) scroller.scrollTop = top;
    }
    this.#draw();
  }

  #scrolled() {
    const { scroller } = this;
    this.#stick(scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < NEAR_END_PX);
    this.#draw();
    this.onScroll?.();
  }

  #stick(stuck) {
    this.#stuck = stuck;
  }

  // ----------------------------------------------------------------- drawing

  #draw() {
    const { scroller } = this;
    const height = scroller.clientHeight;
    const shown = new Set();
    if (this.#items.length > 0 && height > 0) {
      const first = Math.max(0, this.#at(scroller.scrollTop) - SPARE);
      const last = Math.min(this.#items.length - 1, this.#at(scroller.scrollTop + height) + SPARE);
      for (let index = first; index <= last; index += 1) shown.add(index);
      // The row with the focus stays, so that the keyboard keeps its place.
      const active = this.#index.get(this.#active);
      if (active !== undefined) shown.add(active);
    }
    this.#place([...shown].sort((a, b) => a - b));
  }

  #place(indices) {
    const wanted = new Set(indices.map((index) => this.#items[index].key));
    for (const [key, row] of this.#rows) {
      if (wanted.has(key)) continue;
      row.element.remove();
      if (!this.#opened.has(key)) this.#rows.delete(key);
    }
    let before = null;
    for (const index of indices) {
      const item = this.#items[index];
      const row = this.#row(item);
      row.element.style.transform = `translateY(${this.#top(index)}px)`;
      row.element.setAttribute("aria-posinset", String(index + 1));
      row.element.setAttribute("aria-setsize", String(this.#items.length));
      const active = this.#active === null ? index === this.#items.length - 1 : item.key === this.#active;
      row.head.tabIndex = active || indices.length === 1 ? 0 : -1;
      row.head.setAttribute("aria-expanded", String(this.#opened.has(item.key)));
      this.paint(row, item, index);
      // In the order of the list, for those who read it in the order of the document.
      const place = before ? before.nextSibling : this.body.firstChild;
      if (row.element !== place) this.body.insertBefore(row.element, place);
      before = row.element;
    }
  }

  #row(item) {
    let row = this.#rows.get(item.key);
    if (!row) {
      row = this.make(item);
      row.element.dataset.key = item.key;
      this.#rows.set(item.key, row);
    }
    return row;
  }

  // ---------------------------------------------------------------- keyboard

  #key(event) {
    const onHead = event.target.closest?.(".ins-head");
    if (!onHead || event.ctrlKey || event.metaKey || event.altKey) return;
    const here = this.#index.get(this.#active) ?? this.#items.length - 1;
    const page = Math.max(1, Math.floor(this.scroller.clientHeight / this.#height) - 1);
    const steps = { ArrowUp: -1, ArrowDown: 1, PageUp: -page, PageDown: page, Home: -Infinity, End: Infinity };
    const step = steps[event.key];
    if (step === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    const to = Math.max(0, Math.min(this.#items.length - 1, here + step));
    if (this.#items[to]) this.focus(this.#items[to].key);
  }
}

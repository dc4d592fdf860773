/** Keeps what is on the screen where it is while a list changes above, below and within. */

export class Hold {
  /** @param {HTMLElement} scroller @param {HTMLElement} rows */
  constructor(scroller, rows) {
    this.scroller = scroller;
    this.rows = rows;
    this.top = 0; // where the list was scrolled to when that was last known
    this.anchor = null;
  }

  /** How many pixels are left to the foot of the list. */
  get left() {
    const { scrollTop, scrollHeight, clientHeight } = this.scroller;
    return scrollHeight - scrollTop - clientHeight;
  }

  /** Forget the place. */
  clear() {
    this.top = 0;
    this.anchor = null;
  }

  /** Remember which row stands where. */
  mark() {
    const edge = this.scroller.getBoundingClientRect().top;
    this.anchor = null;
    for (const node of this.rows.children) {
      if (!node.view) continue; // a day's separator sticks, and moves when older messages come
      const box = node.getBoundingClientRect();
      if (box.bottom <= edge) continue;
      this.anchor = { node, offset: box.top - edge };
      return;
    }
  }

  /** Put that row there again. */
  restore() {
    if (!this.anchor?.node.isConnected) return;
    const edge = this.scroller.getBoundingClientRect().top;
    const moved = this.anchor.node.getBoundingClientRect().top - edge - this.anchor.offset;
    if (Math.abs(moved) >= 1) this.scroller.scrollTop += moved;
    this.top = this.scroller.scrollTop;
  }

  /** Go to the foot of the list. */
  toBottom() {
    this.scroller.scrollTop = this.scroller.scrollHeight;
    this.top = this.scroller.scrollTop;
  }

  /** Whether the person scrolled up since the last time that this was asked. */
  scrolledUp() {
    const before = this.top;
    this.top = this.scroller.scrollTop;
    return this.top < before - 1;
  }
}

/**
 * Markdown as Slack's `markdown` block and streams show it, as nodes. While a text grows, only its
 * last open block is made anew; that one is shown as it will look once it is whole.
 */

import { codeBlock, growCode } from "./code.js";
import { h } from "./dom.js";
import { renderInline } from "./inline.js";
import { definitionsOf, parseBlocks } from "./markdown_blocks.js";

const DEEPEST_HEADING = 6;
const FIRST_HEADING = 3; // the page has h1, a pane h2

/**
 * @param {string} text
 * @param {{streaming?: boolean}} [how]
 * @returns {DocumentFragment}
 */
export function renderMarkdown(text, how = {}) {
  const fragment = document.createDocumentFragment();
  const open = how.streaming ?? false;
  const lines = linesOf(text);
  const page = pageFor(definitionsOf(lines, open));
  draw(fragment, parseBlocks(lines, open), page, open);
  return fragment;
}

/**
 * Shows this text in the container. A text that goes on from the last one costs only what is new;
 * any other is shown afresh.
 * @param {Element} container holds nothing else
 * @param {string} text
 * @param {{streaming?: boolean}} [how] streaming: false once the text is whole
 */
export function growMarkdown(container, text, how = {}) {
  container.classList.add("markdown");
  const open = how.streaming ?? true;
  text = text.includes("\r") ? text.replace(/\r\n?/g, "\n") : text;
  let state = GROWING.get(container);
  if (!state || !text.startsWith(state.text)) {
    state = { text: "", from: 0, closed: 0, page: pageFor(new Map()), depth: FIRST_HEADING - 1 };
    container.replaceChildren();
  }
  GROWING.set(container, state);
  if (state.text === text && state.open === open && container.childNodes.length) return;
  state.text = text;
  state.open = open;
  if (text.includes("]:")) renewDefinitions(state, container, text, open);
  closeBlocks(state, container);
  drawOpen(state, container, open);
}

const GROWING = new WeakMap();

/** A definition reaches what stands before it: then everything is made anew. */
function renewDefinitions(state, container, text, open) {
  const found = definitionsOf(linesOf(text), open);
  if (found.size === state.page.definitions.size) return;
  state.page = pageFor(found);
  Object.assign(state, { from: 0, closed: 0, depth: FIRST_HEADING - 1 });
  container.replaceChildren();
}

/** Makes the blocks that no further text can change: all but the last one of the whole lines. */
function closeBlocks(state, container) {
  const end = state.text.lastIndexOf("\n") + 1;
  if (end <= state.from) return;
  const lines = linesOf(state.text.slice(state.from, end - 1));
  const blocks = parseBlocks(lines, false);
  if (blocks.length < 2) return;
  trim(container, state.closed);
  state.page.depth = state.depth;
  draw(container, blocks.slice(0, -1), state.page, false);
  state.depth = state.page.depth;
  state.closed = container.childNodes.length;
  state.from += lines.slice(0, blocks.at(-1).from).reduce((sum, line) => sum + line.length + 1, 0);
}

function drawOpen(state, container, open) {
  const blocks = parseBlocks(linesOf(state.text.slice(state.from)), open);
  const shown = container.childNodes[state.closed];
  const [only] = blocks;
  if (blocks.length === 1 && only.type === "code" && shown?.classList.contains("code-block")) {
    trim(container, state.closed + 1);
    growCode(shown, only.text, only.language);
    return;
  }
  if (blocks.length === 1 && PATCHERS[only.type]?.(only, shown, state.page, open)) {
    trim(container, state.closed + 1);
    return;
  }
  trim(container, state.closed);
  state.page.depth = state.depth;
  draw(container, blocks, state.page, open);
}

function trim(container, count) {
  while (container.childNodes.length > count) container.lastChild.remove();
}

function linesOf(text) {
  return text.replace(/\r\n?/g, "\n").split("\n");
}

function pageFor(definitions) {
  return { definitions, depth: FIRST_HEADING - 1 };
}

// ------------------------------------------------------------------ nodes

function draw(parent, blocks, page, open) {
  blocks.forEach((block, place) => {
    parent.append(DRAWERS[block.type](block, page, open && place === blocks.length - 1));
  });
}

const DRAWERS = {
  paragraph: (block, page, open) => h("p", {}, inline(block.text, page, open)),
  heading: drawHeading,
  code: (block) => codeBlock(block.text, block.language),
  rule: () => h("hr"),
  quote: (block, page, open) => {
    const quote = h("blockquote");
    draw(quote, block.blocks, page, open);
    return quote;
  },
  list: drawList,
  table: drawTable,
};

function inline(text, page, open) {
  return renderInline(text, { open, definitions: page.definitions });
}

// Screen readers want no level left out, whatever was written.
function drawHeading(block, page, open) {
  const level = Math.min(page.depth + 1, FIRST_HEADING - 1 + block.level, DEEPEST_HEADING);
  page.depth = level;
  return h(`h${level}`, { class: `md-h md-h${Math.min(block.level, 4)}` }, inline(block.text, page, open));
}

function drawList(block, page, open) {
  const list = h(block.ordered ? "ol" : "ul", { class: block.loose ? "loose" : "tight" });
  if (block.ordered && block.start !== 1) list.setAttribute("start", String(block.start));
  makeRoom(list, block);
  block.items.forEach((item, place) => list.append(drawItem(item, page, open && place === block.items.length - 1)));
  return list;
}

// Long numbers would stand outside of the text.
function makeRoom(list, block) {
  const digits = block.ordered ? String(block.start + block.items.length - 1).length : 0;
  if (digits > 2) list.style.paddingInlineStart = `${0.6 * digits + 0.5}em`;
}

function drawItem(item, page, open) {
  const row = h("li", { class: item.task === null ? null : "task" });
  if (item.task !== null) row.append(h("span", { class: item.task ? "task-box done" : "task-box", role: "img", aria: { label: item.task ? "Done:" : "To do:" } }));
  draw(row, item.blocks, page, open);
  SOURCES.set(row, open ? null : item.source);
  return row;
}

function drawTable(block, page, open) {
  const last = block.rows.length - 1;
  const head = block.head.map((text, column) => cell("th", block, text, column, page, open && last < 0));
  const rows = block.rows.map((row, place) => drawRow(block, row, page, open && place === last));
  const table = h("table", {}, h("thead", {}, h("tr", {}, head)), rows.length ? h("tbody", {}, rows) : null);
  SOURCES.set(table, headOf(block));
  return h("div", { class: "table-scroll", tabindex: "0", role: "group", aria: { label: "Table" } }, table);
}

function drawRow(block, row, page, open) {
  const made = h("tr", {}, row.map((text, column) => cell("td", block, text, column, page, open && column === block.growing)));
  SOURCES.set(made, open ? null : row.join("\n"));
  return made;
}

function cell(tag, block, text, column, page, open) {
  const align = block.aligns[column];
  return h(tag, { class: align ? `align-${align}` : null, scope: tag === "th" ? "col" : null }, inline(text, page, open));
}

function headOf(block) {
  return `${block.aligns.join("|")}\n${block.head.join("\n")}`;
}

// ------------------------------------------------------------------ items and rows that stay as they are

const SOURCES = new WeakMap(); // what an item or a row was made of, unless it was still growing

const PATCHERS = {
  list(block, shown, page, open) {
    if (!shown?.matches(block.ordered ? "ol" : "ul")) return false;
    shown.className = block.loose ? "loose" : "tight";
    makeRoom(shown, block);
    patch(shown, block.items, (item) => item.source, (item, growing) => drawItem(item, page, growing), open);
    return true;
  },
  table(block, shown, page, open) {
    const table = shown?.querySelector(":scope > table");
    if (!table?.tBodies.length || !block.rows.length || SOURCES.get(table) !== headOf(block)) return false;
    patch(table.tBodies[0], block.rows, (row) => row.join("\n"), (row, growing) => drawRow(block, row, page, growing), open);
    return true;
  },
};

function patch(parent, all, sourceOf, make, open) {
  trim(parent, all.length);
  all.forEach((one, place) => {
    const growing = open && place === all.length - 1;
    const before = parent.childNodes[place];
    if (before && !growing && SOURCES.get(before) === sourceOf(one)) return;
    const made = make(one, growing);
    if (before) before.replaceWith(made);
    else parent.append(made);
  });
}

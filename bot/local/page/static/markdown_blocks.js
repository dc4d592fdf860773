/**
 * The blocks of Markdown: lines in, a tree out. `open` says that the last line still grows, so that
 * half a mark is nothing yet. The time is linear in the text, since nesting ends at some depth.
 */

import { labelOf } from "./inline.js";

const DEEPEST = 12;
const MOST_COLUMNS = 60;
const HEADING = /^ {0,3}(#{1,6})(?:[ \t]+|$)/;
const FENCE = /^( {0,3})(`{3,}|~{3,})[ \t]*([^`]*)$/;
const TILDES = /^( {0,3})(~{3,})[ \t]*(.*)$/;
const RULE = /^ {0,3}(?:(?:\*[ \t]*){3,}|(?:-[ \t]*){3,}|(?:_[ \t]*){3,})$/;
const ITEM = /^( {0,3})([-+*]|(\d{1,9})([.)]))( +(?=\S)|[ ]*$)/;
const RULER = /^ {0,3}\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$/;
const DEFINITION = /^ {0,3}\[([^[\]]{1,300})\]:[ \t]*<?([^\s<>]{1,3000})>?(?:[ \t]+["'(].*)?[ \t]*$/;
const UNDERLINE = /^ {0,3}(?:=+|-+)[ \t]*$/;
const TASK = /^\[([ xX])\](?:[ \t]+|$)/;
// What may be the beginning of a mark, while nothing stands behind it.
const HALF = /^(?:`{1,2}|~{1,2}|#{1,6}|[-+*_]{1,2}|-+|=+|>|\d{1,9}[.)]?|\||[-+*] \[[ xX]?\]?|\d{1,9}[.)] \[[ xX]?\]?)$/;

/**
 * @typedef {object} Block `type`, and `from`: its first line
 * @param {string[]} lines
 * @param {boolean} open
 * @param {number} [depth]
 * @returns {Block[]}
 */
export function parseBlocks(lines, open, depth = 0) {
  return new Blocks(lines, open, depth).all();
}

/** The references that these lines define, by their labels. */
export function definitionsOf(lines, open) {
  const found = new Map();
  const last = lines.length - 1;
  lines.forEach((line, at) => {
    const one = line.includes("]:") && !(open && at === last) ? DEFINITION.exec(line) : null;
    if (one && !found.has(labelOf(one[1]))) found.set(labelOf(one[1]), one[2]);
  });
  return found;
}

class Blocks {
  constructor(lines, open, depth) {
    this.lines = lines;
    this.open = open;
    this.depth = depth;
    this.at = 0;
    this.found = [];
  }

  all() {
    while (this.at < this.lines.length) this.next();
    return this.found;
  }

  next() {
    const line = this.lines[this.at];
    if (!line.trim() || this.isHalf(this.at, line)) {
      this.at += 1;
      return;
    }
    const from = this.at;
    const block = this.code(line) ?? this.heading(line) ?? this.rule(line) ?? this.quote(line) ?? this.list(line) ?? this.table(line) ?? this.paragraph();
    if (block) this.found.push({ from, ...block });
  }

  isLast(at) {
    return this.open && at === this.lines.length - 1;
  }

  isHalf(at, line) {
    return this.isLast(at) && HALF.test(line.trim());
  }

  /** Lines from here on, as long as they are wanted. */
  take(wanted) {
    const taken = [];
    while (this.at < this.lines.length && wanted(this.lines[this.at], taken)) taken.push(this.lines[this.at++]);
    return taken;
  }

  code(line) {
    const fence = FENCE.exec(line) ?? TILDES.exec(line);
    if (fence) return this.fenced(fence);
    if (!/^(?: {4}|\t)/.test(line)) return null;
    const taken = this.take((one) => /^(?: {4}|\t)/.test(one) || !one.trim());
    while (taken.length && !taken.at(-1).trim()) {
      taken.pop();
      this.at -= 1;
    }
    return { type: "code", text: taken.map((one) => one.replace(/^(?: {4}|\t)/, "")).join("\n"), language: "" };
  }

  fenced([, indent, marks, info]) {
    const closes = new RegExp(`^ {0,3}\\${marks[0]}{${Math.min(marks.length, 60)},}[ \\t]*$`);
    const outdent = new RegExp(`^ {0,${indent.length}}`);
    this.at += 1;
    const taken = this.take((one) => !closes.test(one));
    if (this.at < this.lines.length) this.at += 1;
    else if (this.open && taken.length && isPart(taken.at(-1).trim(), marks)) taken.pop();
    const language = info.trim().split(/[\s{,]/)[0].slice(0, 40);
    return { type: "code", text: taken.map((one) => one.replace(outdent, "")).join("\n"), language };
  }

  heading(line) {
    const found = HEADING.exec(line);
    if (!found) return null;
    this.at += 1;
    let text = line.slice(found[0].length).trim();
    const closing = /#{1,60}$/.exec(text)?.[0] ?? "";
    const before = text.slice(0, text.length - closing.length);
    if (closing && (!before || /\s$/.test(before))) text = before.trim();
    return { type: "heading", level: found[1].length, text };
  }

  rule(line) {
    if (!RULE.test(line) || this.isLast(this.at) && this.found.at(-1)?.type === "paragraph") return null;
    this.at += 1;
    return { type: "rule" };
  }

  quote(line) {
    if (!/^ {0,3}>/.test(line) || this.depth >= DEEPEST) return null;
    let fenced = false;
    const taken = this.take((one, before) => {
      const inside = /^ {0,3}>/.test(one);
      const said = one.replace(/^ {0,3}> ?/, "");
      if (inside && FENCE.test(said)) fenced = !fenced;
      if (inside) return true;
      return !fenced && Boolean(one.trim()) && continues(before.at(-1).replace(/^ {0,3}> ?/, "")) && !this.begins(one);
    });
    const inner = taken.map((one) => one.replace(/^ {0,3}> ?/, ""));
    return { type: "quote", blocks: parseBlocks(inner, this.open && this.at >= this.lines.length, this.depth + 1) };
  }

  list(line) {
    const first = ITEM.exec(line);
    if (!first || this.depth >= DEEPEST) return null;
    const kind = first[4] ?? first[2];
    const list = { type: "list", ordered: first[3] !== undefined, start: Number(first[3] ?? 1), items: [], loose: false };
    for (let item = first; item && (item[4] ?? item[2]) === kind && !RULE.test(this.lines[this.at] ?? ""); ) {
      list.items.push(this.item(item));
      const next = this.lines[this.at];
      item = next === undefined || this.isHalf(this.at, next) ? null : ITEM.exec(next);
    }
    list.loose = list.items.some((item) => item.loose);
    return list;
  }

  item(found) {
    const spaces = found[5].length;
    const width = found[1].length + found[2].length + (spaces >= 1 && spaces <= 4 && this.lines[this.at].length > found[0].length ? spaces : 1);
    const from = this.at;
    const first = this.lines[this.at++].slice(width);
    const inner = [first, ...this.inside(width, first, found[4] ?? found[2])];
    let loose = false;
    while (inner.length > 1 && !inner.at(-1).trim()) {
      inner.pop();
      loose = this.at < this.lines.length;
    }
    const open = this.open && this.at >= this.lines.length;
    const task = TASK.exec(first);
    if (task) inner[0] = first.slice(task[0].length);
    const blocks = parseBlocks(inner, open, this.depth + 1);
    const source = this.lines.slice(from, this.at).join("\n");
    return { blocks, source, task: task ? task[1] !== " " : null, loose: loose && this.nextIsItem(found) };
  }

  nextIsItem(found) {
    const next = ITEM.exec(this.lines[this.at] ?? "");
    return next !== null && (next[4] ?? next[2]) === (found[4] ?? found[2]);
  }

  /** The lines behind an item's first that belong to it, without its indentation. */
  inside(width, first, kind) {
    const indent = " ".repeat(width);
    const out = [];
    let fence = fenceOf(first);
    while (this.at < this.lines.length) {
      const line = this.lines[this.at].replace(/^ *\t/, "    ");
      const blank = !line.trim();
      const held = line.startsWith(indent);
      const next = held ? null : ITEM.exec(line);
      const sibling = next !== null && (next[4] ?? next[2]) === kind && !this.isHalf(this.at, line);
      const lazy = !held && !blank && !sibling && !fence && continues(out.at(-1) ?? first) && !this.begins(line);
      if (!blank && !held && !lazy) break;
      const said = held ? line.slice(width) : blank ? "" : line;
      const mark = held ? fenceOf(said) : null;
      if (mark) fence = fence ? (mark.startsWith(fence) ? null : fence) : mark;
      out.push(said);
      this.at += 1;
    }
    return out;
  }

  table(line) {
    if (!line.includes("|")) return null;
    const ruler = this.lines[this.at + 1];
    const head = cellsOf(line);
    if (head.length > MOST_COLUMNS) return null;
    const growing = this.open && this.at + 2 >= this.lines.length && /^ {0,3}\|/.test(line);
    const half = growing && (ruler === undefined || /^[ \t|:-]*$/.test(ruler));
    if (!half && !(ruler !== undefined && RULER.test(ruler) && cellsOf(ruler).length === head.length)) return null;
    const aligns = half ? [] : cellsOf(ruler).map(alignOf);
    this.at += 2;
    if (half) return { type: "table", head, aligns, rows: [], growing: head.length - 1 };
    const rows = this.take((one) => one.trim() && !this.begins(one)).map(cellsOf);
    if (this.at > this.lines.length) this.at = this.lines.length;
    const growingCell = Math.min(rows.at(-1)?.length ?? 1, head.length) - 1;
    const even = rows.map((row) => head.map((_, column) => row[column] ?? ""));
    return { type: "table", head, aligns, rows: even, growing: growingCell };
  }

  paragraph() {
    const from = this.at;
    const taken = [this.lines[this.at++]];
    while (this.at < this.lines.length) {
      const line = this.lines[this.at];
      if (!line.trim() || this.isHalf(this.at, line)) break;
      if (UNDERLINE.test(line) && !this.isLast(this.at)) {
        this.at += 1;
        return { type: "heading", level: line.includes("=") ? 1 : 2, text: said(taken) };
      }
      if (this.begins(line) || this.isTable(line) || (this.isLast(this.at) && /^ {0,3}\|/.test(line))) break;
      taken.push(line);
      this.at += 1;
    }
    if (taken.every((line, place) => DEFINITION.test(line) && !this.isLast(from + place))) return null;
    return { type: "paragraph", text: said(taken) };
  }

  isTable(line) {
    const ruler = this.lines[this.at + 1];
    return line.includes("|") && ruler !== undefined && RULER.test(ruler) && ruler.includes("-") && cellsOf(ruler).length === cellsOf(line).length;
  }

  /** Whether a line ends a paragraph because it begins something else. */
  begins(line) {
    if (HEADING.test(line) || FENCE.test(line) || TILDES.test(line) || RULE.test(line) || /^ {0,3}>/.test(line)) return true;
    const item = ITEM.exec(line);
    return item !== null && line.trim().length > item[2].length && (item[3] === undefined || item[3] === "1" || this.depth > 0);
  }
}

// ------------------------------------------------------------------ lines

function said(lines) {
  return lines.map((line) => line.replace(/^[ \t]+/, "")).join("\n").replace(/[ \t]+$/, "");
}

// A line of words goes on in the next one; a heading, a rule or a blank line does not.
function continues(line) {
  return Boolean(line.trim()) && !HEADING.test(line) && !FENCE.test(line) && !RULE.test(line);
}

function fenceOf(line) {
  const found = FENCE.exec(line) ?? TILDES.exec(line);
  return found ? found[2] : null;
}

function isPart(line, marks) {
  return line.length > 0 && line.length < marks.length && line === marks[0].repeat(line.length);
}

function alignOf(cell) {
  const [left, right] = [cell.startsWith(":"), cell.endsWith(":")];
  return left && right ? "center" : right ? "right" : left ? "left" : "";
}

/** The cells of a row; a pipe behind a backslash is none of its borders. */
function cellsOf(line) {
  let row = line.trim();
  if (row.startsWith("|")) row = row.slice(1);
  if (row.endsWith("|") && !row.endsWith("\\|")) row = row.slice(0, -1);
  const cells = [""];
  for (let at = 0; at < row.length; at += 1) {
    if (row[at] === "\\" && row[at + 1] === "|") cells[cells.length - 1] += row[++at];
    else if (row[at] === "|") cells.push("");
    else cells[cells.length - 1] += row[at];
  }
  return cells.map((cell) => cell.trim());
}

/** Tables and charts of Slack's: `table`, `data_table`, and `data_visualization` as a table with bars. */

import { h } from "./dom.js";
import { renderRichText } from "./rich.js";
import { renderPlain } from "./text.js";

const PAGE = 5;
const COLOURS = 6;
const ALIGNS = new Set(["left", "center", "right"]);

function cell(one) {
  if (one?.type === "rich_text") return renderRichText(one);
  if (one?.type === "raw_number") return one.text ?? (one.value ?? one.number ?? "").toLocaleString("en");
  return renderPlain(one?.text ?? (typeof one === "string" ? one : ""));
}

function alignOf(one, settings) {
  const align = ALIGNS.has(settings?.align) ? settings.align : one?.type === "raw_number" ? "right" : "";
  return [align && `align-${align}`, settings?.is_wrapped === false && "one-line"];
}

function scroll(label, ...children) {
  return h("div", { class: "table-scroll", tabindex: "0", role: "group", aria: { label } }, children);
}

/** A `table`: its first row is its head. */
export function table(block) {
  const [head = [], ...rows] = block.rows ?? [];
  const settings = block.column_settings ?? [];
  const row = (cells, tag) => h("tr", {}, cells.map((one, at) => h(tag, { class: alignOf(one, settings[at]), scope: tag === "th" ? "col" : null }, cell(one))));
  return scroll("Table", h("table", {}, h("thead", {}, row(head, "th")), rows.length ? h("tbody", {}, rows.map((one) => row(one, "td"))) : null));
}

/** A `data_table`: pages of rows, sorted by the column that is pressed. */
export function dataTable(block) {
  const [head = [], ...rows] = block.rows ?? [];
  const size = Math.min(100, Math.max(1, block.page_size ?? PAGE));
  const state = { page: 0, by: -1, up: true };
  const body = h("tbody");
  const names = head.map((one, at) => h("button", { type: "button", class: "sorter", on: { click: () => sortBy(at) } }, cell(one)));
  const heads = names.map((name, at) => h("th", { scope: "col", class: alignOf(rows[0]?.[at], null) }, name));
  const where = h("span", { class: "muted", aria: { live: "polite" } });
  const turn = (step, word) => h("button", { type: "button", class: "button", on: { click: () => ((state.page += step), draw()) } }, word);
  const [back, on] = [turn(-1, "Previous"), turn(1, "Next")];

  function sortBy(column) {
    state.up = state.by === column ? !state.up : true;
    state.by = column;
    state.page = 0;
    draw();
  }

  function draw() {
    const sorted = state.by < 0 ? rows : [...rows].sort((one, other) => (state.up ? 1 : -1) * compared(one[state.by], other[state.by]));
    const from = state.page * size;
    const header = block.row_header_column_index ?? 0;
    body.replaceChildren(...sorted.slice(from, from + size).map((row) =>
      h("tr", {}, row.map((one, at) => h(at === header ? "th" : "td", { scope: at === header ? "row" : null, class: alignOf(one, null) }, cell(one))))));
    heads.forEach((one, at) => one.setAttribute("aria-sort", at !== state.by ? "none" : state.up ? "ascending" : "descending"));
    where.textContent = `${Math.min(from + 1, rows.length)}–${Math.min(from + size, rows.length)} of ${rows.length}`;
    back.disabled = !state.page;
    on.disabled = from + size >= rows.length;
  }

  draw();
  const made = h("table", {}, h("caption", {}, block.caption ?? ""), h("thead", {}, h("tr", {}, heads)), body);
  return h("div", {}, scroll(block.caption || "Table", made), rows.length > size ? h("div", { class: "pager" }, back, on, where) : null);
}

function compared(one, other) {
  const [first, second] = [wordsIn(one), wordsIn(other)];
  return first.localeCompare(second, "en", { numeric: true });
}

function wordsIn(one) {
  const holder = document.createElement("span");
  holder.append(one?.type === "raw_number" ? String(one.value ?? one.number ?? one.text ?? "") : cell(one));
  return holder.textContent;
}

/** A `data_visualization`, as numbers with bars beside them: the same for every kind of chart. */
export function chart(block) {
  const { type, segments, series, axis_config: axis } = block.chart ?? {};
  const all = type === "pie" ? [{ name: "", data: segments ?? [] }] : (series ?? []);
  const named = () => [...new Set(all.flatMap((one) => one.data.map((point) => point.label)))];
  const labels = type === "pie" ? (segments ?? []).map((one) => one.label) : (axis?.categories ?? named());
  const values = all.map((one) => new Map((one.data ?? []).map((point) => [point.label, Number(point.value)])));
  const most = Math.max(1e-9, ...values.flatMap((one) => [...one.values()].map(Math.abs)));
  const sum = type === "pie" ? [...values[0].values()].reduce((total, one) => total + one, 0) : 0;
  const cellOf = (label, row, at) => h("td", {}, bar(values[at].get(label), sum || most, type === "pie" ? row : at, sum));
  const rows = labels.map((label, row) => h("tr", {}, h("th", { scope: "row" }, label), all.map((_, at) => cellOf(label, row, at))));
  const names = all.map((one, at) => h("th", { scope: "col" }, h("i", { class: `series series-${at % COLOURS}` }), one.name));
  const head = type === "pie" ? null : h("thead", {}, h("tr", {}, h("th", { scope: "col" }, axis?.x_label ?? ""), names));
  const made = h("table", { class: "chart" }, h("caption", {}, [block.title, axis?.y_label].filter(Boolean).join(" · ")), head, h("tbody", {}, rows));
  return scroll(block.title || "Chart", made);
}

function bar(value, whole, colour, sum) {
  if (value === undefined || Number.isNaN(value)) return "";
  const fill = h("i", { class: `bar series-${colour % COLOURS}` });
  fill.style.inlineSize = `${Math.max(0.5, (Math.abs(value) / whole) * 100)}%`;
  const share = sum ? ` (${Math.round((value / sum) * 100)} %)` : "";
  return h("span", { class: "bar-box" }, h("span", { class: "bar-track" }, fill), h("span", {}, value.toLocaleString("en") + share));
}

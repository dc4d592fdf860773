/** The steps of an agent, as Slack's task cards and plans show them. */

import { h, svg } from "./dom.js";
import { growMarkdown } from "./markdown.js";
import { anchor } from "./links.js";
import { renderRichText } from "./rich.js";
import { renderPlain } from "./text.js";

const STATES = { pending: "Waiting", in_progress: "In progress", complete: "Done", error: "Failed" };

/**
 * One card, from a stream (texts) or a `task_card` block (rich_text).
 * @param {{title: string, status: string, details?: unknown, output?: unknown, sources?: object[]}} task
 * @returns {HTMLElement}
 */
export function renderTask(task) {
  const status = Object.hasOwn(STATES, task?.status) ? task.status : "pending";
  const title = h("span", { class: "task-title" }, renderPlain(task?.title || "Step"));
  const head = [sign(status), title, h("span", { class: "task-state" }, STATES[status])];
  const body = [said(task?.details, "task-details"), said(task?.output, "task-output"), sources(task?.sources)].filter(Boolean);
  const props = { class: ["task-card", status], data: { status, task: task?.task_id ?? task?.id ?? "" } };
  if (!body.length) return h("div", props, h("div", { class: "task-head" }, head));
  const fold = h("details", props, h("summary", { class: "task-head" }, head, svg("down", 14)), h("div", { class: "task-body" }, body));
  fold.open = status === "in_progress" || status === "error" || !task?.output;
  return fold;
}

/**
 * A plan: its steps in order below its title, with how far it has come.
 * @param {string} title
 * @param {object[]} tasks
 * @returns {HTMLElement}
 */
export function renderPlan(title, tasks) {
  const all = Array.isArray(tasks) ? tasks : [];
  const done = all.filter((task) => task?.status === "complete").length;
  const failed = all.some((task) => task?.status === "error");
  const running = all.some((task) => task?.status === "in_progress");
  const status = failed ? "error" : all.length && done === all.length ? "complete" : running || done ? "in_progress" : "pending";
  const far = all.length ? h("span", { class: "task-state" }, `${done} of ${all.length} done`) : null;
  const head = h("div", { class: "plan-head" }, sign(status), h("strong", { class: "plan-title" }, renderPlain(title || "Plan")), far);
  const steps = all.length ? h("ol", { class: "plan-steps" }, all.map((task) => h("li", {}, renderTask(task)))) : null;
  return h("div", { class: "plan", role: "group", aria: { label: `Plan: ${title || "steps"}` } }, head, steps);
}

function sign(status) {
  const icon = { complete: "check", error: "close" }[status];
  return h("span", { class: `task-sign ${status}`, aria: { hidden: "true" } }, icon ? svg(icon, 12) : null);
}

function said(value, className) {
  if (!value) return null;
  const box = h("div", { class: className });
  if (typeof value === "string") growMarkdown(box, value, { streaming: false });
  else box.append(renderRichText(value));
  return box.childNodes.length ? box : null;
}

function sources(all) {
  if (!Array.isArray(all) || !all.length) return null;
  const items = all.map((one) => h("li", {}, anchor(one?.url, one?.text || one?.url || "source")));
  return h("ul", { class: "task-sources", aria: { label: "Sources" } }, items);
}

/** Moments as Slack's `<!date^…>` and rich text write them, in the clock of whoever reads. */

import { h } from "./dom.js";
import { anchor } from "./links.js";

const DAY_MS = 86_400_000;
const LARGEST = 8.64e12; // seconds that a Date can hold

/**
 * @param {number} seconds since 1970
 * @param {string} format with `{date}`, `{time}` and their kin
 * @param {string} [fallback] what stands there where the moment is none
 * @param {string} [url]
 * @returns {Node}
 */
export function moment(seconds, format, fallback = "", url = "") {
  if (!Number.isFinite(seconds) || Math.abs(seconds) > LARGEST) return document.createTextNode(fallback || format);
  const at = new Date(seconds * 1000);
  const says = (format || "{date_short} at {time}").replace(/\{([a-z_]+)\}/g, (whole, name) => PARTS[name]?.(at) ?? whole);
  const node = h("time", { class: "moment", title: full(at) }, says);
  node.dateTime = at.toISOString();
  return url ? anchor(url, node) : node;
}

function full(at) {
  return at.toLocaleString("en-GB", { weekday: "long", day: "numeric", month: "long", year: "numeric", hour: "2-digit", minute: "2-digit", timeZoneName: "short" });
}

const day = (month, year) => (at) => at.toLocaleDateString("en-US", { month, day: "numeric", ...(year ? { year: "numeric" } : {}) });
const long = (at) => `${at.toLocaleDateString("en-US", { weekday: "long" })}, ${ordinal(at, true)}`;
const clock = (seconds) => (at) => at.toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit", ...(seconds ? { second: "2-digit" } : {}) });

function ordinal(at, year = !isThisYear(at)) {
  const number = at.getDate();
  const teens = number % 100 > 10 && number % 100 < 14;
  const suffix = teens ? "th" : ({ 1: "st", 2: "nd", 3: "rd" }[number % 10] ?? "th");
  const month = at.toLocaleDateString("en-US", { month: "long" });
  return `${month} ${number}${suffix}${year ? `, ${at.getFullYear()}` : ""}`;
}

function isThisYear(at) {
  return at.getFullYear() === new Date().getFullYear();
}

const pretty = (otherwise) => (at) => {
  const midnight = (one) => new Date(one.getFullYear(), one.getMonth(), one.getDate()).getTime();
  const days = Math.round((midnight(at) - midnight(new Date())) / DAY_MS);
  return { "-1": "yesterday", 0: "today", 1: "tomorrow" }[days] ?? otherwise(at);
};

function ago(at) {
  const seconds = (at.getTime() - Date.now()) / 1000;
  const [unit, size] = [["day", 86_400], ["hour", 3_600], ["minute", 60]].find(([, one]) => Math.abs(seconds) >= one) ?? ["second", 1];
  return new Intl.RelativeTimeFormat("en", { numeric: "auto" }).format(Math.round(seconds / size), unit);
}

const PARTS = {
  date_num: (at) => `${at.getFullYear()}-${String(at.getMonth() + 1).padStart(2, "0")}-${String(at.getDate()).padStart(2, "0")}`,
  date_slash: (at) => at.toLocaleDateString("en-US", { year: "numeric", month: "2-digit", day: "2-digit" }),
  date: (at) => ordinal(at),
  date_long: long,
  date_long_full: long,
  date_short: day("short", true),
  date_pretty: pretty((at) => ordinal(at)),
  date_long_pretty: pretty(long),
  date_short_pretty: pretty(day("short", true)),
  day_divider_pretty: pretty((at) => ordinal(at)),
  time: clock(false),
  time_secs: clock(true),
  ago,
};

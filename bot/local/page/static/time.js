/** Slack's timestamps as people read them. */

const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const DAY = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
const DAY_OF_YEAR = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "long", year: "numeric" });
const WHOLE = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });
const DAY_MS = 86_400_000;

/** @param {string} ts */
export function dateOf(ts) {
  return new Date(Number(ts) * 1000);
}

/** The time of day. */
export function clockTime(ts) {
  return CLOCK.format(dateOf(ts));
}

/** The same without "AM" and "PM", where there is little room. */
export function shortTime(ts) {
  return CLOCK.formatToParts(dateOf(ts))
    .filter((part) => part.type !== "dayPeriod")
    .map((part) => part.value)
    .join("")
    .trim();
}

/** Date and time in full. */
export function wholeTime(ts) {
  return WHOLE.format(dateOf(ts));
}

/** For <time datetime>. */
export function isoTime(ts) {
  const date = dateOf(ts);
  return Number.isNaN(date.getTime()) ? "" : date.toISOString();
}

/** What tells one day from another. */
export function dayKey(ts) {
  const date = dateOf(ts);
  return `${date.getFullYear()}-${date.getMonth()}-${date.getDate()}`;
}

/** The day as its separator names it. */
export function dayName(ts, now = new Date()) {
  const date = dateOf(ts);
  const midnight = (one) => new Date(one.getFullYear(), one.getMonth(), one.getDate()).getTime();
  const days = Math.round((midnight(now) - midnight(date)) / DAY_MS);
  if (days === 0) return "Today";
  if (days === 1) return "Yesterday";
  return (date.getFullYear() === now.getFullYear() ? DAY : DAY_OF_YEAR).format(date);
}

/** How long ago, in one unit: "now", "5 min", "3 h", "2 d". */
export function ago(ts, now = Date.now()) {
  const minutes = Math.max(0, Math.floor((now - dateOf(ts).getTime()) / 60_000));
  if (minutes < 1) return "just now";
  if (minutes < 60) return `${minutes} min ago`;
  return minutes < 1440 ? `${Math.floor(minutes / 60)} h ago` : `${Math.floor(minutes / 1440)} d ago`;
}

/** The timestamp just before this one. */
export function justBefore(ts) {
  const [seconds, micro] = ts.split(".");
  const left = Number(micro) - 1;
  return left >= 0 ? `${seconds}.${String(left).padStart(6, "0")}` : `${Number(seconds) - 1}.999999`;
}

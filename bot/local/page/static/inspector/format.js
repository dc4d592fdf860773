// Times, spans and short texts as the inspector writes them.

const SECONDS_ARE_BELOW = 1e11;

/**
 * Milliseconds since the epoch of a Slack ts, a number of seconds or an ISO time; null without one.
 * Microseconds are kept as a fraction, so that rows of one millisecond stay in their order.
 */
export function moment(value) {
  if (value === null || value === undefined || value === "") return null;
  const number = Number(value);
  if (Number.isFinite(number)) return number < SECONDS_ARE_BELOW ? number * 1000 : number;
  const text = String(value).replace(" ", "T");
  const parsed = Date.parse(text);
  if (Number.isNaN(parsed)) return null;
  const micros = /\.\d{3}(\d{1,3})/.exec(text);
  return parsed + (micros ? Number(micros[1].padEnd(3, "0")) / 1000 : 0);
}

/** `23:01:07.123`, local time. */
export function clockText(at) {
  const time = new Date(at);
  const two = (number) => String(number).padStart(2, "0");
  const clock = [time.getHours(), time.getMinutes(), time.getSeconds()].map(two).join(":");
  return `${clock}.${String(time.getMilliseconds()).padStart(3, "0")}`;
}

/** How long: `0.4 ms`, `4 ms`, `1.23 s`, `2 m 05 s`, `1 h 04 m`. */
export function spanText(ms) {
  if (ms < 0.95) return `${Math.max(0, ms).toFixed(1)} ms`;
  if (ms < 999.5) return `${Math.round(ms)} ms`;
  if (ms < 59_950) return `${(ms / 1000).toFixed(ms < 9_995 ? 2 : 1)} s`;
  const seconds = Math.round(ms / 1000);
  const padded = (number) => String(number).padStart(2, "0");
  if (seconds < 3600) return `${Math.floor(seconds / 60)} m ${padded(seconds % 60)} s`;
  return `${Math.floor(seconds / 3600)} h ${padded(Math.floor((seconds % 3600) / 60))} m`;
}

/** How long ago, in words that stay true for a while. */
export function agoText(ms) {
  if (ms < 5_000) return "just now";
  if (ms < 60_000) return `${Math.round(ms / 5_000) * 5} s ago`;
  if (ms < 3_600_000) return `${Math.round(ms / 60_000)} min ago`;
  return `${Math.round(ms / 3_600_000)} h ago`;
}

/** The text on one line, cut to so many characters. */
export function clip(text, most = 120) {
  const line = String(text ?? "").slice(0, most * 4).replace(/\s+/g, " ").trim();
  return line.length > most ? `${line.slice(0, most - 1)}…` : line;
}

/** `1 row`, `1,204 rows`. */
export function count(number, one, many = `${one}s`) {
  return `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
}

/** The last part of a long id, enough to tell two of them apart. */
export function short(id) {
  const text = String(id ?? "");
  return text.length > 14 ? `…${text.slice(-8)}` : text;
}

/** The same value with its parsed form where a string holds JSON, as form-encoded arguments do. */
export function parsed(value) {
  if (typeof value !== "string" || !/^\s*[[{]/.test(value)) return value;
  try {
    return JSON.parse(value);
  } catch {
    // Ordinary text that begins with a bracket.
    return value;
  }
}

/** What a stored body says, whole or cut, of an input or of an outbox row. */
export function bodyText(body) {
  if (body === null || body === undefined) return "";
  if (typeof body === "string") return cutText(body);
  const said = body.newest_text ?? body.text ?? body.markdown ?? body.fallback ?? body.result;
  return typeof said === "string" ? said : "";
}

// Of a body that was too long only the beginning of its JSON is told.
function cutText(body) {
  const told = /"(?:markdown|newest_text|text)": ?"((?:[^"\\]|\\.)*)/.exec(body);
  if (!told) return body.startsWith("{") ? "" : body;
  return parsedText(told[1]);
}

function parsedText(escaped) {
  try {
    return JSON.parse(`"${escaped}"`);
  } catch {
    // It was cut in the middle of an escape.
    return escaped;
  }
}

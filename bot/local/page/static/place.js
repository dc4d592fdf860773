/** Where the page is, as the address bar has it: #/C…, #/C…/t/TS, either with /m/TS, or #/home. */

const TS = /^\d+\.\d+$/;

/** @returns {{view: "channel"|"home", channel: string|null, thread_ts: string|null, message: string|null}} */
export function placeOf(hash) {
  const [first, ...rest] = hash.replace(/^#\/?/, "").split("/").map(decodeURIComponent);
  const nowhere = { view: "channel", channel: null, thread_ts: null, message: null };
  if (first === "home") return { ...nowhere, view: "home" };
  const place = { ...nowhere, channel: first || null };
  for (let at = 0; at + 1 < rest.length; at += 2) {
    if (!TS.test(rest[at + 1])) continue;
    if (rest[at] === "t") place.thread_ts = rest[at + 1];
    if (rest[at] === "m") place.message = rest[at + 1];
  }
  return place;
}

/** The other way round. */
export function hashOf(place) {
  if (place.view === "home") return "#/home";
  const parts = ["#", place.channel ?? ""];
  if (place.thread_ts) parts.push("t", place.thread_ts);
  if (place.message) parts.push("m", place.message);
  return parts.join("/");
}

/** The ephemeral messages that were put away in this tab. */

const KEY = "threadline.dismissed";
const MOST = 300;
const away = new Set(JSON.parse(sessionStorage.getItem(KEY) ?? "[]"));

/** Whether this ephemeral message was put away. */
export function isDismissed(ts) {
  return away.has(ts);
}

/** Put it away. */
export function dismiss(ts) {
  away.add(ts);
  sessionStorage.setItem(KEY, JSON.stringify([...away].slice(-MOST)));
}

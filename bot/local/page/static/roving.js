/** Moving between messages by keyboard: one of them takes part in the tab order, the arrows and j/k go on. */

/**
 * @param {HTMLElement} rows holds the articles
 * @param {(event: KeyboardEvent, article: HTMLElement) => void} other what other keys do on a message
 */
export function rove(rows, other) {
  rows.addEventListener("focusin", (event) => chosen(rows, event.target.closest("article")));
  rows.addEventListener("keydown", (event) => {
    const article = event.target.closest?.("article");
    if (event.target !== article || event.ctrlKey || event.metaKey || event.altKey) return;
    const all = articles(rows);
    const at = all.indexOf(article);
    const to = { j: at + 1, ArrowDown: at + 1, k: at - 1, ArrowUp: at - 1, Home: 0, End: all.length - 1 }[event.key];
    if (to === undefined) return other(event, article);
    event.preventDefault();
    const next = all[Math.max(0, Math.min(all.length - 1, to))];
    next.focus({ preventScroll: true });
    next.scrollIntoView({ block: "nearest" });
  });
}

/** All messages on the page. */
export function articles(rows) {
  return [...rows.querySelectorAll("article")];
}

/** Let one message be reached by Tab: the one that was, or the last. */
export function ensureOne(rows) {
  if (!rows.querySelector("article[tabindex='0']")) chosen(rows, articles(rows).at(-1));
}

function chosen(rows, article) {
  if (!article) return;
  for (const one of rows.querySelectorAll("article[tabindex='0']")) if (one !== article) one.tabIndex = -1;
  article.tabIndex = 0;
}

/** Drawing something anew without taking the focus, the caret or the place in it away from anybody. */

/**
 * @param {HTMLElement} container
 * @param {() => void} draw replaces what is in it
 * @returns {boolean} whether the focus was inside and is again
 */
export function keepingFocus(container, draw) {
  const active = document.activeElement;
  const where = container.contains(active) && active !== container ? placeOf(active) : null;
  const top = container.scrollTop;
  draw();
  container.scrollTop = top;
  const node = where && find(container, where);
  if (!node) return false;
  node.focus({ preventScroll: true });
  if (where.caret && node.setSelectionRange) node.setSelectionRange(...where.caret);
  return true;
}

function placeOf(node) {
  const caret = typeof node.selectionStart === "number" && /^(?:text|search|)$/.test(node.type === "textarea" ? "text" : node.type) ? [node.selectionStart, node.selectionEnd] : null;
  return { block: node.closest("[data-block]")?.dataset.block, action: node.closest("[data-action]")?.dataset.action, value: node.value, type: node.type, caret };
}

function find(container, where) {
  if (!where.action) return null;
  const same = [...container.querySelectorAll("[data-action]")].filter((one) => one.dataset.action === where.action && one.closest("[data-block]")?.dataset.block === where.block);
  const [first] = same;
  if (!first) return null;
  if (first.matches("button, a, input, select, textarea")) return first;
  return [...first.querySelectorAll("input")].find((one) => one.value === where.value) ?? first.querySelector("input");
}

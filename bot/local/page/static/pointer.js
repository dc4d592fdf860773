/** Drawing waits while something is pressed: what is made anew between press and release loses the click. */

let down = false;
const waiting = new Set();

addEventListener("pointerdown", (event) => (down = event.button === 0), { capture: true });
for (const type of ["pointerup", "pointercancel"]) addEventListener(type, released, { capture: true });
addEventListener("blur", released);

function released() {
  down = false;
  // The click comes right behind the release.
  if (waiting.size) setTimeout(drawAll, 0);
}

function drawAll() {
  const all = [...waiting];
  waiting.clear();
  for (const draw of all) undisturbed(draw);
}

/** Draw now; while something is pressed after its click, once however often it was asked for. */
export function undisturbed(draw) {
  if (down) waiting.add(draw);
  else draw();
}

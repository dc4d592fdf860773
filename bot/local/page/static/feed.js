/** The page's one connection: a stream of what changed, opened again whenever it breaks. */

import { store } from "./store.js";

const FIRST_WAIT = 400;
const LONGEST_WAIT = 5_000;

/** Open the connection and keep it open. */
export function connect() {
  let source = null;
  let wait = FIRST_WAIT;
  let timer = 0;

  function open() {
    clearTimeout(timer);
    source?.close();
    source = new EventSource(`/_page/feed?viewer=${encodeURIComponent(store.viewer)}`);
    source.addEventListener(
      "hello",
      heard((data) => {
        wait = FIRST_WAIT;
        store.hello(data);
      }),
    );
    source.addEventListener(
      "changes",
      heard((data) => store.changes(data)),
    );
    source.addEventListener(
      "behind",
      heard((data) => store.behind(data)),
    );
    source.addEventListener("error", lost);
  }

  // The browser would try again too, but gives up for good on some answers, and says nothing of when.
  function lost() {
    source.close();
    store.connection(false);
    clearTimeout(timer);
    timer = setTimeout(open, wait);
    wait = Math.min(wait * 1.7, LONGEST_WAIT);
  }

  function atOnce() {
    if (store.connected === false) {
      wait = FIRST_WAIT;
      open();
    }
  }

  addEventListener("online", atOnce);
  addEventListener("focus", atOnce);
  addEventListener("pagehide", () => source?.close());
  addEventListener("pageshow", (event) => event.persisted && open());
  store.retry = atOnce;
  open();
}

function heard(use) {
  return (event) => use(JSON.parse(event.data));
}

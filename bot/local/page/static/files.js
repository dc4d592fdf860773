/** Files: those of a message, and those that wait in a composer while they are sent to the server. */

import { upload } from "./api.js";
import { fill, h, iconButton, svg } from "./dom.js";
import { store } from "./store.js";
import { toast } from "./toast.js";

const MOST_BYTES = 20 * 1024 * 1024;
const MOST_FILES = 10;
const PICTURES = /^image\/(png|jpeg|gif|webp|avif|svg\+xml)$/;

/** "512 B", "12 KB", "3.4 MB" */
export function sizeOf(bytes) {
  if (bytes < 1024) return `${bytes} B`;
  return bytes < 1024 * 1024 ? `${Math.round(bytes / 1024)} KB` : `${(bytes / 1024 / 1024).toFixed(1)} MB`;
}

/** The files of a message; null when it has none. */
export function fileList(files) {
  if (!files.length) return null;
  return h(
    "ul",
    { class: "files", aria: { label: "Files" } },
    files.map((one) => h("li", null, shownFile(one))),
  );
}

function shownFile(file) {
  if (file.file_access === "check_file_info" || !file.name) {
    return h(
      "div",
      { class: "file" },
      svg("lock"),
      h(
        "div",
        { class: "file-words" },
        h("span", { class: "file-name" }, "A file"),
        h("span", { class: "muted" }, file.mode === "tombstone" ? "It was deleted" : "Only its id is told in a shared channel"),
      ),
    );
  }
  const url = `/_page/files/${encodeURIComponent(file.id)}`;
  return PICTURES.test(file.mimetype ?? "") ? picture(file, url) : chip(file, url);
}

function picture(file, url) {
  const image = h("img", { src: url, alt: file.title || file.name, loading: "lazy", class: "file-picture" });
  const link = h(
    "a",
    {
      href: url,
      target: "_blank",
      rel: "noreferrer noopener",
      class: "file-preview",
      title: `${file.name}, ${sizeOf(file.size ?? 0)}`,
    },
    image,
  );
  // A name without bytes behind it (a file that a script only named) has no picture.
  image.addEventListener("error", () => link.replaceWith(chip(file, url)));
  return link;
}

function chip(file, url) {
  const kind = (file.pretty_type || file.filetype || file.name.split(".").at(-1) || "file").toUpperCase();
  return h(
    "a",
    { class: "file", href: url, target: "_blank", rel: "noreferrer noopener", download: file.name },
    svg("file"),
    h(
      "div",
      { class: "file-words" },
      h("span", { class: "file-name" }, file.title || file.name),
      h("span", { class: "muted" }, `${kind} · ${sizeOf(file.size ?? 0)}`),
    ),
    svg("download", 16),
  );
}

/** The row of files that wait to go with the next message. */
export class Waiting {
  #all = [];

  /** @param {() => void} changed called whenever what is ready to go may have changed */
  constructor(changed) {
    this.changed = changed;
    this.el = h("ul", { class: "waiting-files", aria: { label: "Files to send" }, hidden: true });
  }

  /** How many wait. */
  get count() {
    return this.#all.length;
  }

  /** Whether one is still on its way to the server. */
  get busy() {
    return this.#all.some((one) => !one.file && !one.failed);
  }

  /** The ids of those that have arrived. */
  get ids() {
    return this.#all.filter((one) => one.file).map((one) => one.file.id);
  }

  /** Take files in and send them to the server at once. */
  add(files) {
    for (const file of files) {
      if (this.#all.length >= MOST_FILES) return toast(`${MOST_FILES} files at once is the most.`, { kind: "error" });
      if (file.size > MOST_BYTES) toast(`${file.name} is too large: 20 MB is the most.`, { kind: "error" });
      else this.#take(file);
    }
    return this.#tell();
  }

  /** Forget them all: they went with a message. */
  clear() {
    for (const one of this.#all) one.drop();
    this.#all = [];
    this.el.replaceChildren();
    this.#tell();
  }

  #take(file) {
    const url = PICTURES.test(file.type) ? URL.createObjectURL(file) : null;
    const bar = h("progress", { max: 1, value: 0, aria: { label: `Uploading ${file.name}` } });
    const note = h("span", { class: "muted" }, sizeOf(file.size));
    const sending = upload(file, store.me, (share) => (bar.value = share));
    const one = { file: null, failed: false, drop: () => url && URL.revokeObjectURL(url) };
    const remove = () => {
      sending.abort();
      one.drop();
      item.remove();
      this.#all = this.#all.filter((other) => other !== one);
      this.#tell();
    };
    const item = h(
      "li",
      { class: "waiting-file" },
      url ? h("img", { src: url, alt: "" }) : svg("file"),
      h("div", { class: "file-words" }, h("span", { class: "file-name" }, file.name || "pasted.png"), note, bar),
      iconButton("close", `Remove ${file.name || "file"}`, remove, { class: "small" }),
    );
    this.#all.push(one);
    this.el.append(item);
    this.#settle(one, sending.done, item, bar, note);
  }

  async #settle(one, done, item, bar, note) {
    try {
      one.file = await done;
      bar.remove();
    } catch (error) {
      one.failed = true;
      if (error.name === "aborted") return;
      item.classList.add("failed");
      fill(note, error.said ?? "It could not be sent.");
      bar.remove();
    }
    this.#tell();
  }

  #tell() {
    this.el.hidden = !this.#all.length;
    this.changed();
  }
}

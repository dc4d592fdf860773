/** The three ways to the server: gestures of people, the page's own routes, and reading. */

import { toast } from "./toast.js";

/** An answer of `{"ok": false, "error": name}`; `name` is Slack's error, `said` is it in plain words. */
export class ApiError extends Error {
  constructor(name, detail = "") {
    super(said(name, detail));
    this.name = name;
    this.said = this.message;
    this.detail = detail;
  }
}

const WORDS = {
  not_in_channel: "This person is not in that channel.",
  is_archived: "This channel is archived.",
  user_deactivated: "This account is deactivated.",
  no_text: "There is nothing to send.",
  message_not_found: "That message is gone.",
  channel_not_found: "There is no such channel.",
  thread_not_found: "That thread is gone.",
  cant_update_message: "This message cannot be edited.",
  already_reacted: "You have reacted with that already.",
  no_reaction: "That reaction was gone already.",
  too_many_reactions: "You have put as many reactions here as Slack allows.",
  too_many_emoji: "This message has as many different reactions as Slack allows.",
  session_not_found: "This thread has no agent session.",
  msg_too_long: "This message is too long.",
  file_too_large: "This file is too large: 20 MB is the most.",
  invalid_body: "The server did not understand this request.",
  unreachable: "The server cannot be reached.",
};

function said(name, detail) {
  return WORDS[name] ?? (detail || `The server answered: ${name}`);
}

/**
 * One gesture of a person: POST /_control/{route}.
 * @param {string} route
 * @param {object} body
 * @param {{quiet?: boolean}} [how] quiet: no toast when it is refused
 * @returns {Promise<object>} @throws {ApiError}
 */
export function act(route, body, how = {}) {
  return post(`/_control/${route}`, body, how);
}

/** One call of the page's own routes: POST /_page/{route}. As `act`. */
export function page(route, body, how = {}) {
  return post(`/_page/${route}`, body, how);
}

/** GET; the parsed JSON. As `act`. */
export function get(path, how = {}) {
  return asked(path, { headers: { Accept: "application/json" }, signal: how.signal }, how);
}

function post(path, body, how) {
  const headers = { "Content-Type": "application/json" };
  return asked(path, { method: "POST", headers, body: JSON.stringify(body ?? {}) }, how);
}

async function asked(path, request, how) {
  try {
    return await answered(await fetch(path, request));
  } catch (error) {
    if (error.name === "AbortError") throw error;
    const known = error instanceof ApiError ? error : new ApiError("unreachable");
    if (!how.quiet) toast(known.said, { kind: "error" });
    throw known;
  }
}

async function answered(response) {
  const text = await response.text();
  const answer = parsed(text);
  if (answer === null) throw new ApiError(`http_${response.status}`, `The server answered ${response.status}.`);
  if (!response.ok || answer.ok === false) throw new ApiError(answer.error ?? `http_${response.status}`, "");
  return answer;
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/**
 * Send one file's bytes.
 * @param {File} file @param {string} user
 * @param {(share: number) => void} onProgress from 0 to 1
 * @returns {{done: Promise<object>, abort: () => void}} done gives the server's `file`
 */
export function upload(file, user, onProgress) {
  const request = new XMLHttpRequest();
  const query = new URLSearchParams({ name: file.name || "pasted.png", user });
  const done = new Promise((resolve, reject) => {
    request.upload.addEventListener(
      "progress",
      (event) => event.lengthComputable && onProgress(event.loaded / event.total),
    );
    request.addEventListener("load", () => {
      const answer = parsed(request.responseText);
      if (answer?.ok) resolve(answer.file);
      else
        reject(new ApiError(request.status === 413 ? "file_too_large" : (answer?.error ?? `http_${request.status}`)));
    });
    request.addEventListener("error", () => reject(new ApiError("unreachable")));
    request.addEventListener("abort", () => reject(new ApiError("aborted")));
  });
  request.open("POST", `/_page/upload?${query}`);
  if (file.type) request.setRequestHeader("Content-Type", file.type);
  else request.setRequestHeader("Content-Type", "application/octet-stream");
  request.send(file);
  return { done, abort: () => request.abort() };
}

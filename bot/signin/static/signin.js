/** Asks the API as who is signed in, and writes down the lines by which a program can do the same. */

const session = document.getElementById("session");
const said = document.getElementById("said");
const HIDDEN = "•".repeat(12);

/** Somebody's token once it was asked for; null while nobody has. */
let token = null;

/** An element with properties and children; text is only ever text. */
function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

async function asked(path) {
  const response = await fetch(path, { headers: { Accept: "application/json" } });
  if (response.status === 401) throw new Error("Your session is over: sign in again.");
  if (!response.ok) throw new Error(`${path} was answered with ${response.status}.`);
  return response.json();
}

/** A token of one's own, which a program can use for an hour. */
async function tokenOf(person) {
  if (token === null) {
    const response = await fetch("/signin/token", { method: "POST", body: new URLSearchParams({ person }) });
    if (!response.ok) throw new Error(`No token was issued (${response.status}).`);
    token = (await response.json()).access_token;
  }
  return token;
}

/** Shows what `work` comes to in `place`, or why it came to nothing. */
async function into(place, work) {
  try {
    place.replaceChildren(...(await work()));
  } catch (error) {
    place.replaceChildren();
    place.after(element("p", { className: "failed", role: "alert" }, error.message));
  }
  place.removeAttribute("aria-busy");
}

async function facts() {
  const me = await asked("/dashboard/me");
  const roles = me.workspaces.map((one) => `${one.role} in ${one.name}`).join(", ");
  const rows = [
    ["email", me.email ?? "none"],
    ["user_id", element("code", {}, me.user_id)],
    ["role", roles || "a member of no workspace"],
  ];
  return rows.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]);
}

async function agents() {
  const { data } = await asked("/dashboard/agents");
  return data.length ? data.map(agent) : [element("li", { className: "note" }, "No agent is deployed yet.")];
}

function agent(one) {
  const url = `${session.dataset.origin}/dashboard/agents/${one.id}/sessions`;
  const lines = [line("List its sessions", [`curl -s '${url}'`])];
  if (session.dataset.role !== "viewer") {
    lines.push(line("Begin a session", [`curl -s '${url}'`, "-H 'Content-Type: application/json'", `-d '{"message": "Hello"}'`]));
  }
  const name = element("p", { className: "agent-name" }, one.name);
  name.append(element("span", { className: `badge ${one.status}` }, one.status));
  name.append(element("code", { className: "agent-id" }, one.id));
  return element("li", { className: "agent" }, name, ...lines);
}

/** One command: its text with the token hidden, and a button that copies it with the token in it. */
function line(title, [first, ...more]) {
  const hidden = element("span", { className: "token" }, HIDDEN);
  const rest = more.map((part) => ` \\\n  ${part}`).join("");
  const pre = element("pre", {}, `${first} \\\n  -H 'Authorization: Bearer `, hidden, `'${rest}`);
  const copy = element("button", { type: "button", className: "button small" }, "Copy");
  copy.setAttribute("aria-label", `Copy: ${title}`);
  copy.addEventListener("click", () => tried(async () => {
    const own = await tokenOf(session.dataset.person);
    await navigator.clipboard.writeText(`${first} \\\n  -H 'Authorization: Bearer ${own}'${rest}\n`);
    said.textContent = "Copied, with your token in it.";
  }));
  return element("figure", { className: "line" }, element("figcaption", {}, title, copy), pre);
}

async function tried(work) {
  try {
    await work();
  } catch (error) {
    said.textContent = error.message;
  }
}

function reveal(button) {
  let shown = false;
  button.hidden = false;
  button.addEventListener("click", () => tried(async () => {
    const text = shown ? HIDDEN : await tokenOf(session.dataset.person);
    shown = !shown;
    for (const place of document.querySelectorAll(".token")) place.textContent = text;
    said.textContent = shown ? "This token speaks for you for an hour: keep it to yourself." : "";
    button.textContent = shown ? "Hide the token" : "Show the token";
  }));
}

function localTime(time) {
  const at = new Date(time.dateTime);
  time.textContent = at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
}

if (session) {
  localTime(session.querySelector("time"));
  into(document.getElementById("me"), facts);
  into(document.getElementById("agents"), agents).then(() => {
    if (document.querySelector(".token")) reveal(document.getElementById("reveal"));
  });
}

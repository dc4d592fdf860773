// What can be sent again from a shell: one call, one signed event, one list of runtime events, one row.

import { isSecret, withoutSecrets } from "./secrets.js";

// Slack takes JSON only for methods that write (docs.slack.dev/apis/web-api).
const READS = /^(auth\.|bots\.|users\.|usergroups\.|conversations\.(?!open)|reactions\.get|chat\.getPermalink)/;
const TABLES = {
  session: ["agent_sessions", "id"],
  turns: ["agent_turns", "id"],
  inputs: ["session_inputs", "id"],
  outbox: ["slack_outbox", "delivery_id"],
  approvals: ["agent_approvals", "id"],
  escalations: ["agent_escalations", "id"],
};

/** The text as one word of a POSIX shell. */
export function quote(text) {
  return `'${String(text).replaceAll("'", "'\\''")}'`;
}

const lines = (...parts) => parts.join(" \\\n  ");

/** The Web API call, with the token left to the environment; null for what is no method. */
export function callCurl(call) {
  if (!/^[a-zA-Z]+(\.[a-zA-Z]+)+$/.test(call.method)) return null;
  const token = call.method.startsWith("apps.") ? "SLACK_APP_TOKEN" : "SLACK_BOT_TOKEN";
  const head = [
    `curl -s "\${SLACK_API_URL}${call.method}"`,
    `-H "Authorization: Bearer $${token}"`,
  ];
  const args = withoutSecrets(Object.fromEntries(
    Object.entries(call.args ?? {}).filter(([name]) => !isSecret(name)),
  ));
  if (READS.test(call.method)) return lines(...head, ...formArguments(args));
  const json = `--data-raw ${quote(JSON.stringify(args))}`;
  return lines(...head, "-H 'Content-Type: application/json; charset=utf-8'", json);
}

function formArguments(args) {
  const words = Object.entries(args).map(([name, value]) => {
    const text = typeof value === "string" ? value : JSON.stringify(value);
    return `--data-urlencode ${quote(`${name}=${text}`)}`;
  });
  return words.length > 0 ? words : ["-X POST"];
}

/** The event, or with `form` the interaction, signed anew each time it is run, since Slack's signatures are good for five minutes. */
export function eventCurl(envelope, url, { form = false } = {}) {
  const json = JSON.stringify(withoutSecrets(envelope));
  const body = form ? new URLSearchParams({ payload: json }).toString() : json;
  const target = url ? quote(url) : '"$SLACK_REQUEST_URL"';
  const sent = lines(
    `curl -si ${target}`,
    `-H 'Content-Type: application/${form ? "x-www-form-urlencoded" : "json"}'`,
    '-H "X-Slack-Request-Timestamp: $timestamp"',
    '-H "X-Slack-Signature: v0=$signature"',
    '--data-raw "$body"',
  );
  return [
    `body=${quote(body)}`,
    "timestamp=$(date +%s)",
    `signature=$(printf 'v0:%s:%s' "$timestamp" "$body" \\`,
    `  | openssl dgst -sha256 -hmac "$SLACK_SIGNING_SECRET" | sed 's/^.*= *//')`,
    sent,
  ].join("\n");
}

/** The request that lists the runtime's events of that type. */
export function runtimeCurl(sessionId, type) {
  return lines(
    `curl -sG "$ANTHROPIC_BASE_URL/v1/sessions/${encodeURIComponent(sessionId)}/events"`,
    '-H "Authorization: Bearer $ANTHROPIC_API_KEY"',
    "-H 'anthropic-version: 2026-10-21'",
    "-H 'anthropic-beta: managed-agents-2026-04-01'",
    `--data-urlencode ${quote(`types[]=${type}`)}`,
  );
}

/** The query that shows a row as it is now; null for a table or an id that is not known. */
export function rowQuery(table, row) {
  const [name, key] = TABLES[table] ?? [];
  if (!name || !/^[\w-]+$/.test(String(row?.[key] ?? ""))) return null;
  return `psql "$DATABASE_URL" -x -c ${quote(`SELECT * FROM ${name} WHERE ${key} = '${row[key]}'`)}`;
}

// The switches of the Faults tab: what each does, in plain words, and what to watch for.

const fault = (label, body) => ({ label, body });

/**
 * All switches by group. A switch has `will` and `watch`, and buttons ({label, body of POST /_control/fault}); a pair has
 * `on` and `off` instead, and says by `is(context)` which of them holds.
 */
export const GROUPS = [
  {
    title: "Answers that go missing",
    switches: [
      {
        id: "drop", label: "Drop the next answer",
        will: "Slack does what it is asked and then cuts the connection, so the bot never learns that it worked.",
        watch: "The bot looks for what it may have posted before it tries again: nothing appears twice.",
        buttons: [
          fault("of a post", { kind: "drop_after", method: "chat.postMessage" }),
          fault("of a stream's start", { kind: "drop_after", method: "chat.startStream" }),
          fault("of an update", { kind: "drop_after", method: "chat.update" }),
        ],
      },
      {
        id: "error", label: "Answer 500 to the next call",
        will: "The call is done, but Slack answers with HTTP 500.",
        watch: "A row of the outbox becomes unclear and is looked up before it is repeated.",
        buttons: [
          fault("any call", { kind: "error_after", status: 500 }),
          fault("a post", { kind: "error_after", status: 500, method: "chat.postMessage" }),
          fault("a stream's end", { kind: "error_after", status: 500, method: "chat.stopStream" }),
        ],
      },
      {
        id: "stall", label: "Let the next answer wait",
        will: "The call is done at once, but its answer comes after 8 seconds.",
        watch: "Whether the bot waits, and that other threads go on meanwhile.",
        buttons: [fault("8 seconds", { kind: "stall_after", seconds: 8 })],
      },
    ],
  },
  {
    title: "Limits and trouble at Slack",
    switches: [
      {
        id: "limit", label: "Too many calls",
        will: "The next 3 calls are refused with 429 and Retry-After: 10.",
        watch: "A pause of ten seconds in the lane app → Slack, then everything follows in its order.",
        buttons: [fault("the next 3", { kind: "ratelimit", times: 3, retry_after: 10 })],
      },
      {
        id: "trouble", label: "internal_error",
        will: "The next 2 calls are answered with ok: false and internal_error.",
        watch: "Attempts go up in the outbox, and the message comes a little later.",
        buttons: [fault("the next 2", { kind: "api_error", error: "internal_error", times: 2 })],
      },
    ],
  },
  {
    title: "Streams and listings",
    switches: [
      {
        id: "expire", label: "End open streams now",
        will: "Every open stream is over, as after five minutes at Slack.",
        watch: "message_not_in_streaming_state, after which the answer goes on in another message.",
        buttons: [fault("End them", { kind: "expire_streams" })],
        now: "Open streams have ended.",
      },
      {
        id: "stale", label: "Listings that lag",
        will: "The next 3 listings leave out posts younger than 30 seconds.",
        watch: "The bot looks twice before it believes that a message is not there.",
        buttons: [fault("the next 3", { kind: "stale", times: 3, seconds: 30 })],
      },
    ],
  },
  {
    title: "Events",
    switches: [
      {
        id: "twice", label: "Send the next event twice",
        will: "The same event comes again, marked as a retry.",
        watch: "Both are answered 200, and there is one input in the rows.",
        buttons: [fault("twice", { kind: "duplicate" })],
      },
      {
        id: "hold", label: "Hold the next event back",
        will: "The next event waits, so that later ones overtake it.",
        watch: "Say two things quickly: the inputs stand in the order in which they were said.",
        buttons: [fault("5 seconds", { kind: "reorder", seconds: 5 }), fault("30 seconds", { kind: "reorder", seconds: 30 })],
      },
      {
        id: "sockets", label: "Cut the web sockets", socketMode: true,
        will: "Every web socket of the app is cut.",
        watch: "The app connects again; events of the gap follow.",
        buttons: [fault("Cut them", { kind: "drop_sockets" })],
        now: "The web sockets are cut.",
      },
    ],
  },
  {
    title: "The app and where it is",
    switches: [
      {
        id: "token", label: "The bot's token",
        will: "Revoked, every call fails with token_revoked, and tokens_revoked is sent.",
        watch: "The bot stops writing and says in its log what it could not say here.",
        on: fault("Revoke", { kind: "revoke_token" }), off: fault("Restore", { kind: "restore_token" }),
        is: ({ standing }) => standing.has("revoke_token"), state: ["in order", "revoked"],
      },
      {
        id: "archive", label: "This channel", needsChannel: true,
        will: "In an archived channel nobody can post: is_archived.",
        watch: "The answer ends as dead in the outbox, with the reason.",
        on: fault("Archive", { kind: "archive_channel" }), off: fault("Unarchive", { kind: "unarchive_channel" }),
        is: ({ channel }) => Boolean(channel?.archived), state: ["open", "archived"],
      },
      {
        id: "kick", label: "The app in this channel", needsChannel: true,
        will: "Kicked, the app gets no events from here and may not post: not_in_channel.",
        watch: "Invited again, it goes on where it was.",
        on: fault("Kick", { kind: "kick_bot" }), off: fault("Invite", { kind: "invite_bot" }),
        is: ({ channel, bot }) => Boolean(channel) && !channel.members.includes(bot), state: ["a member", "not a member"],
      },
      {
        id: "features", label: "Agent features",
        will: "Off, the workspace has no agent sessions: no status line and no Stop button.",
        watch: "Answers still come, without the status line.",
        on: fault("Switch off", { kind: "disable_agent_features" }), off: fault("Switch on", { kind: "enable_agent_features" }),
        is: ({ standing }) => standing.has("disable_agent_features"), state: ["on", "off"],
      },
    ],
  },
];

const KINDS = {
  drop_before: "cut the connection, nothing done", drop_after: "drop the answer", error_before: "fail with an error, nothing done",
  error_after: "do it, answer with an error", stall_before: "wait, then do it", stall_after: "do it, answer late", ratelimit: "429",
  api_error: "ok: false", method_unknown: "method unknown", stale: "listings lag", duplicate: "send twice", reorder: "hold back",
};

/** One fault that waits for its call, in words. */
export function faultWords(one) {
  const about = ["stale", "duplicate", "reorder"].includes(one.kind) ? "" : one.method ?? "any call";
  const extra = {
    ratelimit: `retry after ${one.retry_after} s`, error_after: `HTTP ${one.status}`, error_before: `HTTP ${one.status}`, api_error: one.error,
    stall_after: `${one.seconds} s`, stall_before: `${one.seconds} s`, reorder: `${one.seconds} s`, stale: `younger than ${one.seconds} s`,
  }[one.kind];
  return { what: KINDS[one.kind] ?? one.kind, detail: [about, extra].filter(Boolean).join(" · ") };
}

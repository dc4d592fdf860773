"""One payload per gesture, in Slack's shape, built here: no recording, no real id."""

from copy import deepcopy
from typing import Any

from bot.events import InstallIdentity

Json = dict[str, Any]

APP, TEAM, BOT, BOT_ID = "A0APP", "T0HOME", "U0BOT", "B0BOT"
ANN, BOB = "U0ANN", "U0BOB"
CHANNEL, DM, GROUP_DM = "C0GENERAL", "D0ANN", "G0GROUPDM"
ROOT, REPLY = "1700000000.000100", "1700000060.000200"
EDITED = "1700000090.000000"
OTHER_TEAM, OTHER_ORG, ORG = "T0OTHER", "E0OTHER", "E0HOME"

INSTALL = InstallIdentity(
    api_app_id=APP,
    tenant_id=TEAM,
    team_id=TEAM,
    enterprise_id=None,
    bot_user_id=BOT,
    bot_id=BOT_ID,
)
ORG_INSTALL = InstallIdentity(
    api_app_id=APP,
    tenant_id=ORG,
    team_id=None,
    enterprise_id=ORG,
    bot_user_id=BOT,
    bot_id=BOT_ID,
)


def envelope(event: Json, *, event_id: str = "Ev0000001", **outer: Any) -> Json:
    """A full event_callback; `outer` overrides its fields."""
    return {
        "token": "fixed",
        "team_id": TEAM,
        "context_team_id": TEAM,
        "context_enterprise_id": None,
        "api_app_id": APP,
        "event": deepcopy(event),
        "type": "event_callback",
        "event_id": event_id,
        "event_time": 1700000000,
        "authorizations": [
            {
                "enterprise_id": None,
                "team_id": TEAM,
                "user_id": BOT,
                "is_bot": True,
                "is_enterprise_install": False,
            }
        ],
        "is_ext_shared_channel": False,
        "event_context": "4-opaque",
    } | outer


def words(text: str, **fields: Any) -> Json:
    """The inner event of a person's message in the channel."""
    ts = fields.get("ts", ROOT)
    return {
        "type": "message",
        "client_msg_id": f"client-{ts}",
        "text": text,
        "user": ANN,
        "team": TEAM,
        "ts": ts,
        "channel": CHANNEL,
        "event_ts": ts,
        "channel_type": "channel",
    } | fields


def nested(event: Json, *drop: str) -> Json:
    """A message as message_changed and message_deleted carry it."""
    outer = {"channel", "channel_type", "event_ts", *drop}
    return {name: value for name, value in event.items() if name not in outer}


def changed(message: Json, previous: Json | None, **fields: Any) -> Json:
    event: Json = {
        "type": "message",
        "subtype": "message_changed",
        "hidden": True,
        "channel": CHANNEL,
        "channel_type": "channel",
        "ts": "1700000090.000300",
        "event_ts": "1700000090.000300",
        "message": nested(message),
    }
    return event | ({} if previous is None else {"previous_message": nested(previous)}) | fields


def deleted(previous: Json, **fields: Any) -> Json:
    return {
        "type": "message",
        "subtype": "message_deleted",
        "hidden": True,
        "channel": CHANNEL,
        "channel_type": "channel",
        "ts": "1700000099.000400",
        "event_ts": "1700000099.000400",
        "deleted_ts": previous["ts"],
        "previous_message": nested(previous),
    } | fields


def edit_of(event: Json, text: str) -> Json:
    return event | {"text": text, "edited": {"user": event["user"], "ts": EDITED}}


def as_mention(event: Json) -> Json:
    """The app_mention twin of a message event: the same words, without channel_type."""
    return {k: v for k, v in event.items() if k != "channel_type"} | {"type": "app_mention"}


def dm(text: str = "hello", **fields: Any) -> Json:
    return envelope(words(text, channel=DM, channel_type="im", **fields))


def dm_thread_reply() -> Json:
    return dm("and then?", ts=REPLY, thread_ts=ROOT, parent_user_id=ANN)


def mention_twins(text: str = f"<@{BOT}> hello", **fields: Any) -> tuple[Json, Json]:
    event = words(text, **fields)
    return (
        envelope(as_mention(event), event_id="Ev0000001"),
        envelope(event, event_id="Ev0000002"),
    )


def thread_reply(text: str = "me too", **fields: Any) -> Json:
    return envelope(words(text, ts=REPLY, thread_ts=ROOT, parent_user_id=ANN, **fields))


def edited_twins(old: str, new: str, **fields: Any) -> tuple[Json, Json]:
    """The two events that one edit of a mentioning message fires."""
    before = words(old, **fields)
    after = edit_of(before, new)
    return (
        envelope(as_mention(after), event_id="Ev0000003"),
        envelope(changed(after, before), event_id="Ev0000004"),
    )


def unfurl_change(text: str = f"<@{BOT}> https://example.com") -> Json:
    before = words(text)
    return envelope(changed(before | {"attachments": [{"id": 1}]}, before))


def unfurl_after_edit() -> Json:
    before = edit_of(words("x"), f"<@{BOT}> https://example.com")
    return envelope(changed(before | {"attachments": [{"id": 1}]}, before))


def broadcast(text: str = "for all") -> Json:
    reply = words(text, ts=REPLY, thread_ts=ROOT, subtype="thread_broadcast")
    return envelope(reply | {"root": nested(words(f"<@{BOT}> start"))})


def file_share(text: str = f"<@{BOT}> look", *, connect: bool = False) -> Json:
    file: Json = {"id": "F0ONE", "name": "a.png", "mimetype": "image/png", "size": 92582}
    if connect:
        file = {"id": "F0ONE", "file_access": "check_file_info"}
    return envelope(words(text, subtype="file_share", files=[file]))


def own_post() -> Json:
    return envelope(words("an answer", user=BOT, bot_id=BOT_ID, app_id=APP, ts=REPLY))


def other_bot(text: str = f"<@{BOT}> beep", **fields: Any) -> Json:
    author = {"user": "U0BEEP", "bot_id": "B0BEEP"}
    return envelope(as_mention(words(text, **author | fields)))


def connect_twins(text: str = f"<@{BOT}> hi") -> tuple[Json, Json]:
    """A mention by somebody of another company: outer and inner teams of the two events differ."""
    message = words(text, user="U0EVE", team=OTHER_TEAM)
    mention = as_mention(message) | {
        "team": TEAM,
        "user_team": OTHER_TEAM,
        "source_team": OTHER_TEAM,
    }
    return (
        envelope(mention, event_id="Ev0000005", is_ext_shared_channel=True),
        envelope(message, event_id="Ev0000006", is_ext_shared_channel=True, team_id=OTHER_TEAM),
    )


def grid(event: Json, *, workspace: str = TEAM, **outer: Any) -> Json:
    """An event under an org-wide install: no installing workspace."""
    authorization = {
        "enterprise_id": ORG,
        "team_id": None,
        "user_id": BOT,
        "is_bot": True,
        "is_enterprise_install": True,
    }
    where: Json = {"team_id": workspace, "enterprise_id": ORG, "authorizations": [authorization]}
    return envelope(event, **where, context_enterprise_id=ORG, **outer)


def thin(event: Json) -> Json:
    """What a third party that speaks Slack's protocol may send: hardly any envelope."""
    inner = {k: v for k, v in event.items() if k not in ("channel_type", "event_ts", "team")}
    return {"type": "event_callback", "team_id": TEAM, "event": inner}


def app_event(kind: str, **fields: Any) -> Json:
    return envelope({"type": kind, "event_ts": ROOT} | fields)

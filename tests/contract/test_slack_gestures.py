"""Every gesture of a Slack workspace, as payloads of our own."""

from dataclasses import replace
from typing import Any

import pytest

from bot.events import (
    Ignored,
    InstallChange,
    InstallIdentity,
    SlackDelete,
    SlackFile,
    SlackMessage,
    Stranger,
    Tenant,
    parse,
    tenant_of,
)
from tests.contract import payloads as p

KEY = f"{p.APP}:{p.TEAM}:{p.CHANNEL}:{p.ROOT}"


def message(payload: object, install: InstallIdentity = p.INSTALL) -> SlackMessage:
    found = parse(payload, install)
    assert isinstance(found, SlackMessage), found
    return found


def same_turn(one: SlackMessage, two: SlackMessage) -> bool:
    fields = ("conversation_key", "message_key", "client_key", "text", "revision", "addressed")
    return all(getattr(one, name) == getattr(two, name) for name in fields)


class TestOwnPayloads:
    def test_a_dm_is_addressed_and_its_own_root(self):
        found = message(p.dm())
        assert (found.text, found.addressed, found.mentions_us) == ("hello", True, False)
        assert found.channel_type == "im"
        assert found.conversation_key == f"{p.APP}:{p.TEAM}:{p.DM}:{p.ROOT}"

    def test_a_dm_reply_belongs_to_its_thread(self):
        found = message(p.dm_thread_reply())
        assert (found.root_ts, found.ts, found.addressed) == (p.ROOT, p.REPLY, True)

    @pytest.mark.parametrize("fields", [{}, {"ts": p.REPLY, "thread_ts": p.ROOT}])
    def test_both_events_of_a_mention_are_one_turn(self, fields: dict[str, Any]):
        mention, twin = (message(payload) for payload in p.mention_twins(**fields))
        assert mention.event_id != twin.event_id
        assert same_turn(mention, twin)
        assert mention.conversation_key == KEY
        assert (mention.text, mention.mentions_us, mention.is_edit) == ("hello", True, False)

    def test_a_reply_without_mention_needs_a_look_at_its_thread(self):
        found = message(p.thread_reply())
        assert (found.addressed, found.mentions_us, found.only_if_stored) == (False, False, False)
        assert found.conversation_key == KEY

    @pytest.mark.parametrize("old", [f"<@{p.BOT}> old", "old", f"new <@{p.BOT}>"])
    def test_both_events_of_an_edit_with_a_mention_are_one_correction(self, old: str):
        mention, change = (
            message(payload) for payload in p.edited_twins(old, f"<@{p.BOT}> brand new")
        )
        assert same_turn(mention, replace(change, revision=mention.revision))
        assert (mention.is_edit, change.is_edit) == (True, True)
        assert (mention.revision, change.revision) == (p.EDITED, "1700000090.000300")
        assert change.message_key == f"msg:{p.APP}:{p.TEAM}:{p.CHANNEL}:{p.ROOT}"
        assert change.text == "brand new"

    @pytest.mark.parametrize(
        ("event_ts", "revision"),
        [
            ("1700000090.500000", "1700000090.500000"),
            ("1700000091.200000", "1700000090.999999"),
            ("1700000089.900000", p.EDITED),
        ],
    )
    def test_within_its_second_an_edit_is_as_new_as_its_event(self, event_ts: str, revision: str):
        before = p.words("a", channel=p.DM)
        after = p.edit_of(before, "b")
        event = p.changed(after, before, channel=p.DM, channel_type="im", event_ts=event_ts)
        assert message(p.envelope(event)).revision == revision

    def test_an_edited_mention_whose_root_has_replies_stays_in_its_own_thread(self):
        mention, change = p.edited_twins(f"<@{p.BOT}> a", f"<@{p.BOT}> b", thread_ts=p.ROOT)
        assert message(mention).conversation_key == message(change).conversation_key == KEY

    def test_an_edit_that_takes_the_mention_away_reaches_only_what_is_stored(self):
        _, change = p.edited_twins(f"<@{p.BOT}> do it", "never mind")
        found = message(change)
        assert (found.addressed, found.only_if_stored, found.text) == (False, True, "never mind")

    def test_an_edited_dm_is_addressed(self):
        before = p.words("a", channel=p.DM)
        event = p.changed(p.edit_of(before, "b"), before, channel=p.DM, channel_type="im")
        found = message(p.envelope(event))
        assert (found.addressed, found.text, found.is_edit) == (True, "b", True)

    def test_an_unfurl_is_no_edit(self):
        assert parse(p.unfurl_change(), p.INSTALL) == Ignored("not_an_edit")
        assert parse(p.unfurl_after_edit(), p.INSTALL) == Ignored("same_text")

    @pytest.mark.parametrize(
        ("previous", "addressed"),
        [
            (p.words(f"<@{p.BOT}> oops"), True),
            (p.words("oops"), False),
            (p.words("oops", ts=p.REPLY, thread_ts=p.ROOT), False),
        ],
    )
    def test_a_deleted_message_names_its_thread(self, previous: p.Json, addressed: bool):  # noqa: FBT001
        found = parse(p.envelope(p.deleted(previous)), p.INSTALL)
        assert isinstance(found, SlackDelete)
        assert (found.conversation_key, found.ts) == (KEY, previous["ts"])
        assert found.addressed is addressed

    def test_a_deleted_root_whose_replies_stay_is_a_delete(self):
        before = p.words(f"<@{p.BOT}> hi", thread_ts=p.ROOT)
        tombstone = before | {"subtype": "tombstone", "user": "USLACKBOT", "text": "Gone."}
        found = parse(p.envelope(p.changed(tombstone, before)), p.INSTALL)
        assert isinstance(found, SlackDelete)
        assert (found.conversation_key, found.ts, found.addressed) == (KEY, p.ROOT, True)

    def test_also_sent_to_the_channel_is_a_reply(self):
        found = message(p.broadcast())
        assert (found.conversation_key, found.addressed) == (KEY, False)

    def test_a_file_comes_along(self):
        found = message(p.file_share())
        assert found.files == (SlackFile("F0ONE", "a.png", "image/png", 92582),)
        held_back = SlackFile("F0ONE", None, None, None, access="check_file_info")
        assert message(p.file_share(connect=True)).files == (held_back,)

    def test_a_file_without_words_in_a_dm_is_a_message(self):
        found = message(p.dm("", subtype="file_share", files=[{"id": "F0ONE"}]))
        assert (found.text, found.files) == ("", (SlackFile("F0ONE", None, None, None),))

    def test_a_group_dm_counts_as_a_channel(self):
        quiet = p.envelope(p.words("hi", channel=p.GROUP_DM, channel_type="mpim"))
        loud = p.envelope(p.words(f"<@{p.BOT}> hi", channel=p.GROUP_DM, channel_type="mpim"))
        assert parse(quiet, p.INSTALL) == Ignored("not_addressed")
        assert message(loud).channel_type == "mpim"

    def test_the_same_words_under_two_timestamps_share_the_client_key(self):
        first = message(p.dm(client_msg_id="c1"))
        again = message(p.dm(client_msg_id="c1", ts=p.REPLY))
        assert first.message_key != again.message_key
        assert first.client_key == again.client_key

    @pytest.mark.parametrize(
        ("payload", "reason"),
        [
            (p.envelope(p.words("lunch?")), "not_addressed"),
            (p.thread_reply(f"<@{p.BOB}> can you?"), "addressed_elsewhere"),
            (p.thread_reply("<!subteam^S0OPS|@ops> please"), "addressed_elsewhere"),
            (p.own_post(), "own_message"),
            (p.envelope(p.words("x", user=None, bot_id=p.BOT_ID)), "own_message"),
            (p.other_bot(), "bot_message"),
            (p.other_bot(bot_id=None, bot_profile={"id": "B0BEEP"}), "bot_message"),
            (p.other_bot(bot_id=None, app_id="A0BEEP"), "bot_message"),
            (p.other_bot(bot_id=None, subtype="bot_message"), "bot_message"),
            (p.envelope(p.words("x", subtype="bot_message", user=None)), "bot_message"),
            (p.dm("x", user="USLACKBOT"), "bot_message"),
            (p.dm("x", user=None), "no_author"),
            (p.dm("x", hidden=True), "hidden"),
            (p.dm("x", subtype="channel_join"), "noise_subtype"),
            (p.dm("x", subtype="assistant_app_thread"), "noise_subtype"),
            (p.dm("x", subtype="message_replied"), "message_replied"),
            (p.app_event("app_context_changed"), "event_type_unused"),
            (p.app_event("tokens_revoked", tokens={"oauth": ["U1"]}), "user_token_revoked"),
            ({"type": "app_rate_limited", "team_id": p.TEAM}, "rate_limited"),
            ({"type": "url_verification", "challenge": "c"}, "url_verification"),
            ({"type": "view_submission", "team": {"id": p.TEAM}}, "interaction"),
            ({"command": "/agent", "team_id": p.TEAM}, "interaction"),
        ],
    )
    def test_what_does_not_concern_us_is_ignored_with_its_reason(
        self, payload: p.Json, reason: str
    ):
        found = parse(payload, p.INSTALL)
        assert isinstance(found, Ignored), found
        assert found.reason == reason

    @pytest.mark.parametrize(
        ("author", "update", "end"),
        [
            ({"user": p.BOT, "bot_id": p.BOT_ID}, "own_update", "own_delete"),
            ({"user": None, "bot_id": p.BOT_ID}, "own_update", "own_delete"),
            ({"user": "U0X", "app_id": p.APP}, "own_update", "own_delete"),
            ({"user": "U0BEEP", "bot_id": "B0BEEP"}, "bot_message", "bot_message"),
        ],
    )
    def test_a_bots_edit_and_end_are_ignored(self, author: p.Json, update: str, end: str):
        before = p.words("…", channel=p.DM) | author
        change = p.changed(before | {"text": "done", "edited": {"ts": p.EDITED}}, before)
        assert parse(p.envelope(change), p.INSTALL) == Ignored(update)  # type: ignore[arg-type]  # a table's text
        assert parse(p.envelope(p.deleted(before)), p.INSTALL) == Ignored(end)  # type: ignore[arg-type]  # likewise

    def test_the_app_leaving_is_a_change_of_the_install(self):
        removed = InstallChange("uninstalled", p.APP, p.TEAM, "Ev0000001")
        assert parse(p.app_event("app_uninstalled"), p.INSTALL) == removed
        revoked = p.app_event("tokens_revoked", tokens={"bot": [p.BOT]})
        assert parse(revoked, p.INSTALL) == replace(removed, kind="tokens_revoked")


class TestOutsiders:
    def test_a_stranger_is_told_apart_in_both_events(self):
        for payload in p.connect_twins():
            found = parse(payload, p.INSTALL)
            assert isinstance(found, Stranger)
            assert (found.conversation_key, found.user_id) == (KEY, "U0EVE")
            assert found.actor_team_id == p.OTHER_TEAM

    def test_a_strangers_side_talk_is_ignored(self):
        reply = p.words("psst", ts=p.REPLY, thread_ts=p.ROOT, team=p.OTHER_TEAM)
        assert parse(p.envelope(reply), p.INSTALL) == Ignored("external_user")
        assert parse(p.envelope(p.deleted(reply)), p.INSTALL) == Ignored("external_user")

    @pytest.mark.parametrize("listed", ["U0EVE", p.OTHER_TEAM])
    def test_the_list_lets_in_people_and_teams(self, listed: str):
        chosen = replace(
            p.INSTALL, external_policy="allow_list", allowed_external=frozenset({listed})
        )
        mention, twin = (message(payload, chosen) for payload in p.connect_twins())
        assert same_turn(mention, twin)
        assert mention.tenant_id == p.TEAM

    def test_the_list_keeps_others_out_and_allow_all_nobody(self):
        chosen = replace(
            p.INSTALL, external_policy="allow_list", allowed_external=frozenset({"U0"})
        )
        open_door = replace(p.INSTALL, external_policy="allow_all")
        for payload in p.connect_twins():
            assert isinstance(parse(payload, chosen), Stranger)
            assert isinstance(parse(payload, open_door), SlackMessage)

    def test_an_organisation_on_the_list_lets_in_its_people(self):
        chosen = replace(
            p.INSTALL, external_policy="allow_list", allowed_external=frozenset({p.OTHER_ORG})
        )
        mention, twin = p.connect_twins()
        mention["event"] |= {"user_team": p.OTHER_ORG, "source_team": p.OTHER_ORG}
        twin["enterprise_id"] = p.OTHER_ORG
        assert same_turn(message(mention, chosen), message(twin, chosen))

    def test_an_unknown_team_is_ours(self):
        event = p.words(f"<@{p.BOT}> hi")
        del event["team"]
        assert message(p.envelope(event)).actor_team_id is None


class TestGrid:
    @pytest.mark.parametrize("workspace", [p.TEAM, "T0SISTER"])
    def test_every_workspace_of_the_organisation_is_at_home(self, workspace: str):
        event = p.words(f"<@{p.BOT}> hi", team=workspace)
        payload = p.grid(event, workspace=workspace)
        assert tenant_of(payload) == Tenant(p.APP, p.ORG, None, p.ORG)
        found = message(payload, p.ORG_INSTALL)
        assert found.conversation_key == f"{p.APP}:{p.ORG}:{p.CHANNEL}:{p.ROOT}"
        assert found.team_id is not None

    def test_a_sister_workspace_is_known_by_the_organisation_in_a_shared_channel(self):
        event = p.words(f"<@{p.BOT}> hi", team="T0SISTER")
        payload = p.grid(event, workspace="T0SISTER", is_ext_shared_channel=True)
        assert isinstance(parse(payload, p.ORG_INSTALL), SlackMessage)

    @pytest.mark.parametrize("actor", [p.OTHER_ORG, p.OTHER_TEAM])
    def test_another_organisation_is_a_stranger(self, actor: str):
        event = p.as_mention(p.words(f"<@{p.BOT}> hi", user_team=actor))
        payload = p.grid(event, is_ext_shared_channel=True)
        assert isinstance(parse(payload, p.ORG_INSTALL), Stranger)

    def test_the_actors_organisation_may_stand_for_the_team(self):
        event = p.as_mention(p.words(f"<@{p.BOT}> hi", user_team=p.ORG))
        assert isinstance(parse(p.grid(event), p.ORG_INSTALL), SlackMessage)


class TestThinEnvelope:
    def test_the_install_fills_in(self):
        event = p.words(f"<@{p.BOT}> hello")
        assert tenant_of(p.thin(event)) == Tenant(None, p.TEAM, p.TEAM, None)
        found = message(p.thin(event))
        assert (found.conversation_key, found.event_id) == (KEY, None)
        assert found.channel_type == "unknown"

    def test_a_dm_is_known_by_its_id(self):
        assert message(p.thin(p.words("hello", channel=p.DM))).addressed

    def test_edits_and_deletes_need_no_more(self):
        before = p.words(f"<@{p.BOT}> a")
        change = p.changed(p.edit_of(before, f"<@{p.BOT}> b"), None)
        assert message(p.thin(change)).text == "b"
        end = p.deleted(before)
        del end["previous_message"]
        found = parse(p.thin(end), p.INSTALL)
        assert isinstance(found, SlackDelete)
        assert found.conversation_key == KEY

    def test_the_type_itself_may_be_missing(self):
        payload = p.thin(p.words(f"<@{p.BOT}> hello"))
        del payload["type"]
        assert message(payload).text == "hello"

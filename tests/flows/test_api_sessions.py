"""Sessions by REST: created, listed, spoken to, interrupted, archived; and how they stand in Slack."""

from datetime import datetime
from uuid import UUID, uuid4

import pytest

from tests.flows.api import House, house
from tests.harness import World
from tests.support import eventually

NO_WORKER = frozenset({"ingress", "delivery", "api"})


async def in_slack(on: House, text: str = "@threadline hello") -> tuple[str, str, str]:
    """A conversation that began in Slack: channel, root, and the session's id."""
    asked = await on.here.slack.say("ada", "general", text)
    row = await eventually(
        lambda: on.here.rows("SELECT id FROM agent_sessions WHERE source = 'slack'"),
        says="a session of the thread",
    )
    return asked.channel, asked.ts, str(row[0]["id"])


async def working(on: House) -> str:
    """A dashboard session whose turn is in flight, and stays so until `release`."""
    on.here.runtime.hold()
    session = await on.member.session(message="hello")
    await eventually(on.here.runtime.held, says="a turn in flight")
    return str(session["id"])


# ------------------------------------------------------------------ create, read, list


async def test_a_session_with_a_first_message_gets_its_answer(here: World):
    async with house(here) as on:
        made = await on.member.post("/sessions", {"message": "Tell me\nmore"})
        session = made.ok(201)
        assert made.headers["Location"] == on.member.below(f"/sessions/{session['id']}")
        assert session["source"] == "dashboard"
        assert session["created_by"] == "member"
        assert session["title"] == "Tell me"
        assert session["slack_conversation_key"] is None
        await here.at_rest()
        read = (await on.viewer.get(f"/sessions/{session['id']}")).ok()
    assert read["status"] == "idle"
    assert read["anthropic_session_id"] == here.runtime.sessions()[0]["id"]
    assert here.sent_texts() == ["Tell me\nmore"]
    assert [turn["state"] for turn in await here.turns()] == ["completed"]


async def test_the_agent_is_told_who_speaks(here: World):
    async with house(here) as on:
        await on.member.session(message="hello")
        await here.at_rest()
    (session,) = here.runtime.sessions()
    (said,) = [e for e in here.runtime.received(session["id"]) if e["type"] == "user.message"]
    assert 'from="member@example.com"' in said["content"][0]["text"]


async def test_a_session_without_a_message_waits_and_takes_its_title_from_the_first(here: World):
    async with house(here) as on:
        session = await on.member.session()
        assert (session["status"], session["title"]) == ("idle", None)
        assert here.runtime.sessions() == []
        (await on.member.post(f"/sessions/{session['id']}/messages", {"text": "First"})).ok(202)
        await here.at_rest()
        (await on.member.post(f"/sessions/{session['id']}/messages", {"text": "Second"})).ok(202)
        await here.at_rest()
        assert (await on.member.get(f"/sessions/{session['id']}")).ok()["title"] == "First"
        titled = await on.member.session(title="Given", message="hello")
        assert titled["title"] == "Given"
        await here.at_rest()
    assert here.sent_texts() == ["First", "Second", "hello"]


async def test_only_what_may_be_shown_is_shown(here: World):
    async with house(here, roles=NO_WORKER) as on:
        session = await on.member.session(title="one")
    assert set(session) == {
        "id",
        "deployed_agent_id",
        "workspace_id",
        "anthropic_session_id",
        "status",
        "source",
        "title",
        "created_by",
        "slack_team_id",
        "slack_channel_id",
        "slack_thread_ts",
        "slack_conversation_key",
        "usage_snapshot",
        "archive_requested_at",
        "archived_at",
        "created_at",
        "updated_at",
    }
    assert session["created_at"].endswith("Z")
    assert datetime.fromisoformat(session["created_at"]).utcoffset() is not None


async def test_a_key_makes_sessions_of_its_own(here: World):
    async with house(here, roles=NO_WORKER) as on:
        session = await (await on.key()).session(title="nightly")
    row = await here.row("SELECT id FROM api_keys")
    assert session["created_by"] == f"key:{row['id']}"


async def test_lists_are_narrowed_and_newest_first(here: World):
    async with house(here, roles=NO_WORKER) as on:
        ids = [(await on.member.session(title=f"Report {n}"))["id"] for n in range(4)]
        _, _, slack = await in_slack(on)
        await here.connection.execute(
            "UPDATE agent_sessions SET status = 'archived', archived_at = now(), ready_at = NULL"
            " WHERE id = $1",
            UUID(ids[0]),
        )

        async def found(query: str) -> list[str]:
            page = (await on.viewer.get(f"/sessions{query}")).ok()
            return [row["id"] for row in page["data"]]

        assert await found("") == [slack, *reversed(ids)]
        assert await found("?source=slack") == [slack]
        assert await found("?source=slack&source=dashboard&status=archived") == [ids[0]]
        assert await found("?title=rePORT%202") == [ids[2]]
        second = (await on.viewer.get(f"/sessions/{ids[1]}")).ok()["created_at"]
        third = (await on.viewer.get(f"/sessions/{ids[2]}")).ok()["created_at"]
        assert await found(f"?created_from={second}&created_before={third}") == [ids[1]]


async def test_pages_are_stable_while_sessions_are_made(here: World):
    async with house(here, roles=NO_WORKER) as on:
        ids = [(await on.member.session(title=str(n)))["id"] for n in range(5)]
        seen: list[str] = []
        cursor = None
        for _ in range(3):
            query = f"?limit=2{f'&cursor={cursor}' if cursor else ''}"
            page = (await on.viewer.get(f"/sessions{query}")).ok()
            seen += [row["id"] for row in page["data"]]
            cursor = page["next_cursor"]
            await on.member.session(title="between")
        assert cursor is None
    assert seen == list(reversed(ids))


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=101",
        "limit=5_0",
        "limit=1&limit=2",
        "status=asleep",
        "unknown=1",
        "cursor=AAAA",
        "cursor=WyIyMDI2LTAxLTAxVDAwOjAwOjAwIiwieCJd",
        "created_from=2026-01-01",
        "created_from=0001-01-01T00:00:00%2B14:00",
        "title=%00",
    ],
)
async def test_a_query_that_says_nothing_we_know_is_invalid(here: World, query: str):
    async with house(here, roles=NO_WORKER) as on:
        said = await on.viewer.get(f"/sessions?{query}")
    assert (said.status, said.slug) == (422, "invalid")
    assert said.body["errors"][0]["loc"][:2] == ["query", query.partition("=")[0]]


async def test_a_read_that_is_known_is_not_sent_again(here: World):
    async with house(here, roles=NO_WORKER) as on:
        session = await on.member.session(title="one")
        path = f"/sessions/{session['id']}"
        first = await on.viewer.get(path)
        tag = first.headers["ETag"]
        again = await on.viewer.get(path, headers={"If-None-Match": f'"other", {tag}'})
        assert (again.status, again.raw, again.headers["ETag"]) == (304, b"", tag)
        await on.member.post(f"{path}/archive")
        changed = await on.viewer.get(path, headers={"If-None-Match": tag})
        assert (changed.status, changed.headers["ETag"] != tag) == (200, True)
        head = await on.viewer.call("HEAD", on.viewer.below(path))
        assert (head.status, head.raw) == (200, b"")


async def test_history_and_live_tail_are_where_the_table_says(here: World):
    async with house(here) as on:
        session = await on.member.session()
        path = f"/sessions/{session['id']}"
        assert (await on.viewer.get(f"{path}/events")).ok() == {"data": [], "next_cursor": None}
        address = on.viewer.url + on.viewer.below(f"{path}/stream")
        headers = {"Authorization": f"Bearer {on.viewer.token}"}
        async with on.http.get(address, headers=headers) as response:
            assert response.content_type == "text/event-stream"
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            (await on.member.post(f"{path}/messages", {"text": "hello"})).ok(202)
            async for line in response.content:
                if line.startswith(b"event: agent.message"):
                    break
        await here.at_rest()
        page = (await on.viewer.get(f"{path}/events?type=agent.message&order=desc")).ok()
        assert [item["event"]["type"] for item in page["data"]] == ["agent.message"]
        for wrong in ("order=sideways", "limit=x", "cursor=!"):
            said = await on.viewer.get(f"{path}/events?{wrong}")
            assert (said.status, said.slug) == (422, "invalid"), wrong
        assert (await on.viewer.get(f"{path}/stream?deltas=1")).slug == "invalid"


# ------------------------------------------------------------------ in one line with Slack


async def test_a_message_by_rest_shows_in_the_thread_and_is_answered_there(here: World):
    async with house(here) as on:
        channel, root, session = await in_slack(on)
        await here.answers(channel, root, 1)
        said = (
            await on.member.post(f"/sessions/{session}/messages", {"text": "<!here> & more"})
        ).ok(202)
        assert said["session_id"] == session
        posts = await here.answers(channel, root, 3)
        (row,) = await here.rows("SELECT body FROM session_inputs WHERE id = $1", UUID(said["id"]))
    assert "member@example.com" in posts[1]
    assert posts[1].endswith("\n&lt;!here&gt; &amp; more")
    assert here.sent_texts()[1] == "<!here> & more"
    assert row["body"]["user"] == "member:member"
    asked_about = {c.args.get("user") for c in here.slack.calls if c.method == "users.info"}
    assert "member:member" not in asked_about


async def test_messages_of_both_doors_go_out_in_the_order_in_which_they_came(here: World):
    async with house(here) as on:
        here.runtime.hold()
        channel, root, session = await in_slack(on)
        await eventually(here.runtime.held)
        for text in ("a", "c", "e"):
            (await on.member.post(f"/sessions/{session}/messages", {"text": f"rest {text}"})).ok(
                202
            )
            await here.slack.say("ada", channel, f"slack {chr(ord(text) + 1)}", thread_ts=root)
            await here.slack.settle()
        here.runtime.release()
        await here.at_rest()
        shown = [p for p in here.bot_posts(channel, root) if "member@example.com" in p]
    assert here.sent_texts()[1:] == [
        "rest a",
        "slack b",
        "rest c",
        "slack d",
        "rest e",
        "slack f",
    ]
    assert [p.rpartition("rest ")[2] for p in shown] == ["a", "c", "e"]


async def test_what_is_shown_of_two_messages_keeps_their_order(here: World):
    """Also where Slack takes the first one later."""
    async with house(here, roles=frozenset({"ingress", "worker", "api"})) as on:
        channel, root, session = await in_slack(on)
        for text in ("one", "two"):
            (await on.member.post(f"/sessions/{session}/messages", {"text": text})).ok(202)
    await here.connection.execute(
        "UPDATE slack_outbox SET not_before = now() + interval '0.5 seconds'"
        " WHERE kind = 'notice' AND body->>'text' LIKE '%one'"
    )
    async with here.app():
        await here.at_rest()
        shown = [p for p in here.bot_posts(channel, root) if "member@example.com" in p]
    assert [p.splitlines()[-1] for p in shown] == ["one", "two"]


async def test_no_message_is_shown_twice_when_its_process_dies(here: World):
    async with house(here, roles=frozenset({"ingress", "worker", "api"})) as on:
        channel, root, session = await in_slack(on)
        (await on.member.post(f"/sessions/{session}/messages", {"text": "once"})).ok(202)
    async with here.app():
        await here.at_rest()
        posts = here.bot_posts(channel, root)
    assert len([p for p in posts if "member@example.com" in p]) == 1


# ------------------------------------------------------------------ interrupt


async def test_an_interrupt_stops_the_turn_and_says_who_did_it(here: World):
    async with house(here) as on:
        here.runtime.hold()
        channel, root, session = await in_slack(on)
        await eventually(here.runtime.held)
        here.runtime.hold_interrupts()  # else the turn may be over before the second one comes
        stopped = (await on.member.post(f"/sessions/{session}/interrupt")).ok(202)
        assert stopped["id"] == session
        (await on.member.post(f"/sessions/{session}/interrupt")).ok(202)
        here.runtime.release_interrupts()
        (notice,) = await here.answers(channel, root, 1)
        assert notice.startswith("Stopped by member@example.com.")
        assert [turn["state"] for turn in await here.turns()] == ["interrupted"]
        idle = await on.member.post(f"/sessions/{session}/interrupt")
    assert (idle.status, idle.slug) == (409, "session-idle")


async def test_a_session_without_a_turn_is_not_interrupted(here: World):
    async with house(here) as on:
        session = await on.member.session()
        said = await on.member.post(f"/sessions/{session['id']}/interrupt")
        assert (said.status, said.slug) == (409, "session-idle")


# ------------------------------------------------------------------ archive


async def test_archiving_a_running_session_interrupts_it_first(here: World):
    async with house(here) as on:
        session = await working(on)
        asked = (await on.member.post(f"/sessions/{session}/archive")).ok()
        assert asked["archive_requested_at"] is not None
        path = f"/sessions/{session}"

        async def archived() -> bool:
            return bool((await on.member.get(path)).ok()["status"] == "archived")

        await eventually(archived, says="archived")
        again = (await on.member.post(f"{path}/archive")).ok()
        assert (again["status"], again["archived_at"] is not None) == ("archived", True)
        said = await on.member.post(f"{path}/messages", {"text": "too late"})
        assert (said.status, said.slug) == (409, "session-archived")
        stop = await on.member.post(f"{path}/interrupt")
        assert (stop.status, stop.slug) == (409, "session-archived")
    (made,) = here.runtime.sessions()
    assert made["archived_at"] is not None
    kinds = [e["type"] for e in here.runtime.received(made["id"])]
    assert "user.interrupt" in kinds
    assert [turn["state"] for turn in await here.turns()] == ["interrupted"]


async def test_the_thread_is_told_of_its_archive_once(here: World):
    async with house(here) as on:
        channel, root, session = await in_slack(on)
        await here.answers(channel, root, 1)
        for _ in range(2):
            (await on.member.post(f"/sessions/{session}/archive")).ok()
        posts = await here.answers(channel, root, 2)
        assert posts[1].startswith("member@example.com archived this conversation.")
        await here.slack.say("ada", channel, "@threadline still there?", thread_ts=root)
        await here.at_rest()
        assert len(here.bot_posts(channel, root)) == 2
    (made,) = here.runtime.sessions()
    assert made["archived_at"] is not None


async def test_a_message_while_the_archive_is_under_way_is_refused(here: World):
    async with house(here, roles=NO_WORKER) as on:
        session = await on.member.session()
        (await on.member.post(f"/sessions/{session['id']}/archive")).ok()
        said = await on.member.post(f"/sessions/{session['id']}/messages", {"text": "late"})
        read = (await on.member.get(f"/sessions/{session['id']}")).ok()
    assert (said.status, said.slug, read["status"]) == (409, "session-archived", "idle")


# ------------------------------------------------------------------ what is no request


@pytest.mark.parametrize(
    ("path", "body", "loc"),
    [
        ("/sessions", {"title": ""}, "title"),
        ("/sessions", {"title": "a\nb"}, "title"),
        ("/sessions", {"message": " \n "}, "message"),
        ("/sessions", {"message": "a\x00"}, "message"),
        ("/sessions", {"status": "running"}, "status"),
        ("/sessions/{id}/messages", {}, "text"),
        ("/sessions/{id}/messages", {"text": 5}, "text"),
        ("/sessions/{id}/messages", {"text": "x" * 100_001}, "text"),
        ("/sessions/{id}/interrupt", {"why": "because"}, "why"),
    ],
)
async def test_a_body_that_is_not_as_the_models_say(
    here: World, path: str, body: dict[str, object], loc: str
):
    async with house(here, roles=NO_WORKER) as on:
        session = await on.member.session()
        said = await on.member.post(path.format(id=session["id"]), body)
    assert (said.status, said.slug) == (422, "invalid")
    assert said.body["errors"][0]["loc"] == ["body", loc]


async def test_what_is_no_json_or_too_large(here: World):
    async with house(here, roles=NO_WORKER) as on:
        path = on.member.below("/sessions")
        as_json = {"Content-Type": "application/json"}

        async def status(raw: bytes, headers: dict[str, str] = as_json) -> tuple[int, str]:
            said = await on.member.call("POST", path, data=raw, headers=headers)
            return said.status, said.slug

        for raw in (b"{", b"[]", b"null", b"\xff", b'{"title": "\\ud800"}', b"[" * 100_000):
            assert await status(raw) == (422, "invalid"), raw[:20]
        assert await status(b"x" * (512 * 1024 + 1)) == (413, "too-large")

        async def endless() -> object:
            for _ in range(9):
                yield b" " * 64 * 1024

        said = await on.member.call("POST", path, data=endless(), headers=as_json)
        assert (said.status, said.slug) == (413, "too-large")
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        assert await status(b"title=x", form) == (415, "unsupported-media-type")


async def test_addresses_and_methods_that_there_are_not(here: World):
    async with house(here, roles=NO_WORKER) as on:
        for path in ("/sessions/", "/nothing", "/sessions/nobody", f"/sessions/{uuid4()}/"):
            said = await on.member.get(path)
            assert (said.status, said.slug) == (404, "not-found"), path
        for root in ("/dashboard", "/dashboard/", "/dashboard/agents/1/sessions"):
            said = await on.member.call("GET", root)
            assert (said.status, said.slug) == (404, "not-found"), root
        put = await on.member.call("PUT", on.member.below("/sessions"))
        assert (put.status, put.slug, put.headers["Allow"]) == (
            405,
            "method-not-allowed",
            "GET, POST",
        )
        nobody = await on.member.get(f"/sessions/{uuid4()}")
        assert (nobody.status, nobody.slug) == (404, "not-found")

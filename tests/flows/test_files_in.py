"""Files that people share reach the agent, once, in the way that suits them, or are named as missing."""

import gzip
from typing import Any

import pytest

from bot.local.model import Message
from router.files.kinds import FILE_BYTES, TEXT_BYTES
from tests.flows.gate import Gate, gate, sending, share
from tests.harness import World
from tests.images import PNG_END, jpeg, plain_webp, png
from tests.support import eventually

PNG, JPEG = png(1) + PNG_END, jpeg(1)
GIF, WEBP = b"GIF89a\1\0\1\0 of one dot", plain_webp(1)
PDF, ZIP = b"%PDF-1.7 of one page", b"PK\x03\x04 of one file\0"
LOG = b"2026-01-01 all is well\n" * (TEXT_BYTES // 20)
CSV = b"city,people\nBern,134591\n"
UPLOAD, MOUNT = "files.upload", "resources.add"


def message(here: World, number: int = -1) -> list[dict[str, Any]]:
    """The blocks of a message that the runtime received, without our mark."""
    (session,) = here.runtime.sessions()
    found = [e for e in here.runtime.received(session["id"]) if e["type"] == "user.message"]
    return list(found[number]["content"][1:])


def texts(blocks: list[dict[str, Any]]) -> list[str]:
    return [block["text"] for block in blocks if block["type"] == "text"]


def told(here: World) -> list[tuple[str, str]]:
    """What people were told alone."""
    return [(e.user, e.text) for e in here.slack.ephemerals]


async def drop(here: World, text: str, *files: tuple[str, bytes], **place: Any) -> Message:
    """A message of ada's with these files."""
    ids = [await here.slack.upload("ada", name, content) for name, content in files]
    where = place.pop("channel", "general")
    return await here.slack.say("ada", where, text, file_ids=ids, **place)


async def test_each_kind_reaches_the_agent_once(here: World):
    async with here.app():
        asked = await drop(
            here,
            "@threadline look at these",
            ("shot.png", PNG),
            ("photo.jpg", JPEG),
            ("dance.gif", GIF),
            ("new.webp", WEBP),
            ("plan.pdf", PDF),
            ("cities.csv", CSV),
            ("server.log", LOG),
            ("all.zip", ZIP),
            ("thing.xyz", b"\0\1\2"),
        )
        await here.answers(asked.channel, asked.ts, 1)
        blocks = message(here)
        assert [b["type"] for b in blocks if b["type"] != "text"] == [*["image"] * 4, "document"]
        held = [b["source"]["file_id"] for b in blocks if b["type"] != "text"]
        contents = [here.runtime.file_content(file_id) for file_id in held]
        assert contents == [PNG, JPEG, GIF, WEBP, PDF]
        assert blocks[-5]["title"] == "plan.pdf"
        said = texts(blocks)
        assert said[0] == "look at these"
        assert said[-4] == (
            "[attached file: cities.csv (24 bytes), all of it:]\n```\n" + CSV.decode() + "```"
        )
        mounted = {(f["filename"], f["size_bytes"]) for f in here.runtime.files() if f["scope"]}
        assert mounted == {("server.log", len(LOG)), ("all.zip", len(ZIP)), ("thing.xyz", 3)}
        assert all("; it lies at /mnt/session/uploads/" in text for text in said[-3:])
        assert told(here) == []
        before = (here.runtime.requests(UPLOAD), here.runtime.requests(MOUNT))
        assert before == (8, 3)
        # What is sent is not looked at again, whatever happens to the message.
        await here.slack.edit("general", asked.ts, "@threadline look at those")
        await here.answers(asked.channel, asked.ts, 2)
        assert texts(message(here)) == [
            "(Correction of my earlier message, which should read:)\nlook at those"
        ]
        assert (here.runtime.requests(UPLOAD), here.runtime.requests(MOUNT)) == before


async def test_twenty_megabytes_and_the_eleventh_file(here: World):
    """A message without words: its files are all it says."""
    many = [(f"{n}.txt", f"file {n}".encode()) for n in range(9)]
    large, dm = b"\0" * FILE_BYTES, here.slack.dm("ada")
    async with here.app():
        asked = await drop(
            here, "", ("large.bin", large), *many, ("too-many.txt", b"x"), channel=dm
        )
        await here.answers(dm, asked.ts, 1, timeout=30)
        said = texts(message(here))
        assert len(said) == 11
        assert said[0].startswith("[attached file: large.bin (20.0 MB); it lies at ")
        assert said[9].endswith("file 8\n```")
        assert said[10] == (
            "[attached file: too-many.txt; it could not be brought along:"
            " only 10 files of a message are read]"
        )
        assert here.runtime.requests(UPLOAD) == 1
        too_large = await drop(
            here, "and this", ("huge.bin", large + b"\0"), channel=dm, thread_ts=asked.ts
        )
        await here.answers(dm, asked.ts, 2)
        assert "larger than 20 MB" in texts(message(here))[-1]
    rest = "the rest of your message was taken in."
    assert told(here) == [
        ("U0ADA", f"I could not read “too-many.txt” (only 10 files of a message are read); {rest}"),
        ("U0ADA", f"I could not read “huge.bin” (it is larger than 20 MB); {rest}"),
    ]
    assert too_large.thread_ts == asked.ts


async def odd(here: World, door: Gate, foreign: Gate) -> Message:
    """A message with files that are not what they should be, and with one that is well."""
    to = foreign.at("/stolen", sending(b"\0secret"))
    away = door.at("/away", sending(b"", 302, Location=to))
    sign_in = door.at("/sign-in", sending(b"<!doctype html>Sign in", Content_Type="text/html"))
    bomb = door.at("/bomb", sending(gzip.compress(b"a" * 10**8, 1), Content_Encoding="gzip"))
    lie = door.at("/lie", sending(b"only words", Content_Type="image/png"))
    gone = door.at("/gone", sending(b"", 404))
    return await share(
        here,
        "@threadline look",
        *(away, sign_in, bomb, lie, gone),
        "http://127.0.0.1:1/loopback",
        "https://localhost/loopback",
        mimetype="image/png",
    )


async def test_what_is_odd_is_named_to_the_agent_and_to_the_person_once(here: World):
    async with gate(here) as door, gate(here) as foreign, here.app(slack_api_url=door.api_url):
        asked = await odd(here, door, foreign)
        await here.answers(asked.channel, asked.ts, 1)
        reasons = {
            0: "it is kept outside of Slack",
            1: "Slack does not let this app read it",
            2: "what Slack sent could not be read",
            4: "it is no longer in Slack",
            5: "it is kept outside of Slack",
            6: "it is kept outside of Slack",
        }
        said = texts(message(here))[1:]
        for n, text in enumerate(said):
            missing = f"[attached file: file{n}.bin; it could not be brought along: "
            expected = f"{missing}{reasons[n]}]" if n in reasons else "only words\n```"
            assert text.endswith(expected), text
        ((user, sentence),) = told(here)
        assert user == "U0ADA"
        assert all(f"“file{n}.bin” ({reason})" in sentence for n, reason in reasons.items())
        assert foreign.asked == []
        assert here.runtime.requests(UPLOAD) == 0
        assert all(here.slack.bot_token not in str(e) for e in here.runtime.state()["sessions"])


async def test_what_a_file_is_called_changes_nothing_but_its_name(here: World):
    called = "<!channel> *b* `c`]\n\u202e<input id='1'/>.png"
    shown = "<!channel> *b* `c`___<input id='1'/>.png"
    async with here.app():
        asked = await share(here, "@threadline look", None, None, mode="tombstone", name=called)
        await here.answers(asked.channel, asked.ts, 1)
        line = f"[attached file: {shown}; it could not be brought along: it is no longer in Slack]"
        assert texts(message(here)) == ["look", line, line]
    ((_, sentence),) = told(here)
    assert "&lt;!channel&gt;" in sentence
    ((block,),) = [one.blocks for one in here.slack.ephemerals]
    assert block["text"]["type"] == "plain_text"
    assert f"“{shown}”" in block["text"]["text"]


async def edited(here: World, asked: Message, text: str, *ids: str) -> None:
    """Ada edits her message, which has these files from then on."""
    await here.slack.edit(asked.channel, asked.ts, text, deliver=False)
    envelope, (first, *_) = here.slack.envelopes(asked.ts)[-1], asked.files
    post = envelope["event"].get("message") or envelope["event"]
    post["files"] = [
        first | {"id": one, "url_private_download": first["url_private"].replace(first["id"], one)}
        for one in ids
    ]
    assert await here.slack.deliver(envelope) == 200


@pytest.mark.parametrize("words", ["and these", "look at this"], ids=["words", "same words"])
async def test_a_file_that_an_edit_adds_comes_with_the_correction(here: World, words: str):
    async with here.app():
        asked = await drop(here, "@threadline look at this", ("a.txt", b"first\n"))
        await here.answers(asked.channel, asked.ts, 1)
        second = await here.slack.upload("ada", "b.txt", b"second\n")
        for _ in range(2):  # a later edit shows all of them again
            await edited(here, asked, f"@threadline {words}", asked.files[0]["id"], second)
        await here.answers(asked.channel, asked.ts, 2)
        said = texts(message(here))
    assert said[0].endswith(f"\n{words}")
    assert [one.endswith("second\n```") for one in said[1:]] == [True]


async def test_a_file_that_an_edit_takes_away_from_what_waits_is_not_given(here: World):
    async with here.app(roles=frozenset({"ingress"})):
        asked = await drop(here, "@threadline look", ("a.txt", b"first\n"), ("b.txt", b"second\n"))
        await here.slack.settle()
        await edited(here, asked, "@threadline look", asked.files[0]["id"])
    async with here.app():
        await here.answers(asked.channel, asked.ts, 1)
        assert [one[-9:] for one in texts(message(here))] == ["look", "first\n```"]


async def test_a_file_that_is_deleted_before_it_was_read(here: World):
    async with here.app(roles=frozenset({"ingress"})):
        asked = await drop(here, "@threadline look", ("a.png", PNG), ("b.txt", b"hello"))
        await here.slack.settle()
        await here.slack.delete_file(asked.files[0]["id"])
    async with here.app():
        await here.answers(asked.channel, asked.ts, 1)
        said = texts(message(here))
        assert said[1].endswith("it could not be brought along: it is no longer in Slack]")
        assert said[2].endswith("hello\n```")
        assert len(told(here)) == 1


@pytest.mark.parametrize("kind", ["unavailable", "drop_after"])
async def test_a_runtime_that_is_away_is_waited_for_and_what_is_done_stays_done(
    here: World, kind: Any
):
    here.runtime.fault(kind, route=MOUNT)
    async with here.app():
        asked = await drop(here, "@threadline look", ("a.zip", ZIP), ("b.png", PNG))
        await here.answers(asked.channel, asked.ts, 1)
        assert [b["type"] for b in message(here)] == ["text", "text", "text", "image"]
        assert here.runtime.requests(UPLOAD) == 2
        mounted = [f for f in here.runtime.files() if f["scope"]]
        assert [f["filename"] for f in mounted] == ["a.zip"]


async def test_another_session_is_given_what_was_mounted_in_the_one_that_is_gone(here: World):
    async with here.app():
        here.runtime.fault("gone", route="events.send")
        asked = await drop(here, "@threadline look", ("a.zip", ZIP))
        await eventually(lambda: len(here.runtime.sessions()) == 2)
        await here.at_rest()
        first, second = sorted(here.runtime.sessions(), key=lambda s: str(s["created_at"]))
        received = here.runtime.received(second["id"])
        assert "it lies at /mnt/session/uploads/" in str(received)
        scopes = {(f["scope"] or {}).get("id") for f in here.runtime.files()}
        assert scopes == {None, first["id"], second["id"]}
        assert here.runtime.requests(UPLOAD) == 1
    assert len(here.bot_posts(asked.channel, asked.ts)) == 2

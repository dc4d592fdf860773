"""What the content of streams may be in the local Slack, and what becomes of it."""

from typing import Any

import pytest

from bot.local import LocalSlack
from tests.contract.slack_thread import Thread, error, task, text, thread_in


@pytest.fixture
async def thread(slack: LocalSlack) -> Thread:
    return await thread_in(slack)


async def test_the_first_content_fixes_the_mode(thread: Thread):
    both = {"markdown_text": "x", "chunks": [text("y")]}
    assert await error(thread.start(**both)) == "cannot_provide_both_markdown_text_and_chunks"
    plain = await thread.start(markdown_text="x")
    assert await error(thread.append(plain, chunks=[text("y")])) == "streaming_mode_mismatch"
    assert await error(thread.stop(plain, chunks=[text("y")])) == "streaming_mode_mismatch"
    chunked = await thread.start(chunks=[task("t")])
    assert await error(thread.append(chunked, markdown_text="y")) == "streaming_mode_mismatch"
    bare = await thread.start()
    await thread.append(bare, chunks=[text("first")])
    assert await error(thread.stop(bare, markdown_text="y")) == "streaming_mode_mismatch"
    assert await error(thread.append(bare)) == "markdown_text_or_chunks_required"
    assert await error(thread.append(bare, chunks=[])) == "markdown_text_or_chunks_required"
    assert thread.shown(bare).text == "first"


async def test_a_call_takes_twelve_thousand_characters(thread: Thread):
    assert await error(thread.start(markdown_text="x" * 12_001)) == "msg_too_long"
    ts = await thread.start(markdown_text="x" * 12_000)
    assert len(thread.shown(ts).text) == 12_000
    other = await thread.start()
    halves = [text("x" * 6_000), text("x" * 6_001)]
    assert await error(thread.append(other, chunks=halves)) == "msg_too_long"
    assert await error(thread.stop(other, chunks=halves)) == "msg_too_long"


async def test_a_message_holds_twelve_thousand_bytes_in_all(thread: Thread):
    ts = await thread.start(markdown_text="x" * 11_999)
    assert await error(thread.append(ts, markdown_text="é")) == "msg_too_long"
    await thread.append(ts, markdown_text="x")
    assert len(thread.shown(ts).text) == 12_000
    await thread.stop(ts)


async def test_details_count_twice_once_there_is_text(thread: Thread):
    ts = await thread.start(chunks=[task(f"t{n}", details="x" * 250) for n in range(30)])
    assert await error(thread.append(ts, chunks=[text("answer")])) == "msg_too_long"


async def test_a_longer_message_by_option():
    async with LocalSlack(limits=False, stream_bytes=100_000) as slack:
        thread = await thread_in(slack)
        ts = await thread.start()
        for _ in range(8):
            await thread.append(ts, markdown_text="x" * 12_000)
        await thread.stop(ts)
        assert len((await thread.listed(ts))["text"]) == 96_000


async def test_task_cards_replace_and_append(thread: Thread):
    source = {"type": "url", "text": "Docs", "url": "https://example.com/"}
    ts = await thread.start(chunks=[text("Looking. "), task("a", details="one", output="x")])
    await thread.append(ts, chunks=[text("Found. "), task("b", "pending")])
    done = task("a", "complete", details=" two", output="y", sources=[source], title="A")
    await thread.stop(ts, chunks=[done, task("b", "error")])
    first, second = thread.shown(ts).tasks
    assert (first["title"], first["status"]) == ("A", "complete")
    assert (first["details"], first["output"], first["sources"]) == ("one two", "xy", [source])
    assert second["status"] == "error"
    kinds = [block["type"] for block in thread.shown(ts).blocks]
    assert kinds == ["rich_text", "task_card", "rich_text", "task_card"]
    card = thread.shown(ts).blocks[1]
    assert (card["task_id"], card["title"], card["status"]) == ("a", "A", "complete")
    assert card["details"]["elements"][0]["elements"][0]["text"] == "one two"
    assert thread.shown(ts).text == "Looking. Found. "


async def test_a_plan_shows_its_tasks_together(thread: Thread):
    plan = {"type": "plan_update", "title": "The plan"}
    ts = await thread.start(task_display_mode="plan", chunks=[plan])
    assert [block["type"] for block in thread.shown(ts).blocks] == ["plan"]
    await thread.append(ts, chunks=[text("Go. "), task("a"), text("On."), task("b")])
    [first, block, last] = thread.shown(ts).blocks
    assert (block["type"], block["title"]) == ("plan", "The plan")
    assert [one["task_id"] for one in block["tasks"]] == ["a", "b"]
    assert [first["type"], last["type"]] == ["rich_text", "rich_text"]


@pytest.mark.parametrize(
    "chunk",
    [
        {"type": "markdown_text", "text": ""},
        {"type": "nonsense"},
        "text",
        task("t", "done"),
        task("t", title="x" * 257),
        task("t", details="x" * 257),
        task("t", output="x" * 257),
        task("t", sources=[{"type": "url", "text": "x", "url": "example.com"}]),
        {"type": "task_update", "id": "t", "status": "complete"},
        {"type": "plan_update", "title": "x" * 257},
        {"type": "plan_update"},
        {"type": "blocks", "blocks": []},
    ],
)
async def test_broken_chunks(thread: Thread, chunk: Any):
    ts = await thread.start()
    given = {"channel": thread.channel, "ts": ts, "chunks": [text("x"), chunk]}
    call = thread.client.api_call("chat.appendStream", json=given)
    assert await error(call) == "invalid_chunks"
    assert thread.shown(ts).text == ""


async def test_fields_of_exactly_256_characters_pass(thread: Thread):
    long = "x" * 256
    chunk = task("t", title=long, details=long, output=long)
    ts = await thread.start(chunks=[chunk, {"type": "plan_update", "title": long}])
    assert thread.shown(ts).tasks[0]["title"] == long


async def test_fifty_blocks_by_chunks_and_fifty_at_the_stop(thread: Thread):
    dividers = [{"type": "divider"}] * 50
    ts = await thread.start(chunks=[{"type": "blocks", "blocks": dividers}])
    more = {"type": "blocks", "blocks": dividers[:1]}
    assert await error(thread.append(ts, chunks=[more])) == "msg_blocks_too_many"
    assert await error(thread.append(ts, chunks=[task("t")])) == "msg_blocks_too_many"
    assert await error(thread.stop(ts, blocks=[*dividers, *dividers])) == "msg_blocks_too_many"
    assert await error(thread.stop(ts, blocks=[{"type": "nonsense"}])) == "invalid_blocks"
    await thread.stop(ts, blocks=dividers)
    blocks = thread.shown(ts).blocks
    assert len(blocks) == 100
    assert all(block["block_id"] for block in blocks)
    tasks = await thread.start(chunks=[task(f"t{number}") for number in range(50)])
    assert await error(thread.append(tasks, chunks=[task("one more")])) == "msg_blocks_too_many"


async def test_metadata_belongs_to_the_stop(thread: Thread):
    metadata = {"event_type": "delivery", "event_payload": {}}
    ts = await thread.start(metadata=metadata)
    assert "metadata" not in await thread.listed(ts)
    assert await error(thread.stop(ts, metadata={"event_type": ""})) == "invalid_metadata_format"
    await thread.stop(ts, metadata=metadata)
    assert (await thread.listed(ts))["metadata"] == metadata

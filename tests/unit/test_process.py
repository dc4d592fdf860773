"""What a process does once it is ready."""

import gc
import json
import subprocess
import sys

import pytest

from bot import process


def test_from_the_ready_line_on_garbage_is_looked_for_among_what_is_new(
    capsys: pytest.CaptureFixture[str],
):
    kept = gc.get_threshold()
    try:
        process.ready(url="http://127.0.0.1:1")
        assert gc.get_freeze_count() > 1_000
        assert gc.get_threshold()[0] > kept[0]
    finally:
        gc.unfreeze()
        gc.set_threshold(*kept)
    assert json.loads(capsys.readouterr().out) == {"ready": True, "url": "http://127.0.0.1:1"}


def test_a_command_does_not_wait_for_clients_that_it_may_not_need():
    """`migrate` starts in a fifth of the time."""
    asked = "import sys, bot.cli; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = subprocess.check_output([sys.executable, "-c", asked], text=True)
    assert "typer" in loaded.split()
    assert {"anthropic", "slack_bolt", "slack_sdk", "aiohttp"}.isdisjoint(loaded.split())

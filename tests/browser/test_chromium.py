"""Which browser the tests take, and what they say where there is none."""

from pathlib import Path

import pytest

from tests.browser import chromium


def _program(folder: Path, name: str) -> str:
    path = folder / name
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH of its own."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CHROMIUM", raising=False)
    return tmp_path


def test_the_first_that_is_on_the_path_is_taken(path):
    assert chromium.executable() is None
    chrome = _program(path, "google-chrome")
    assert chromium.executable() == chrome
    first = _program(path, "chromium")
    assert chromium.executable() == first


def test_the_one_that_chromium_names_counts_alone(path, monkeypatch):
    _program(path, "chromium")
    monkeypatch.setenv("CHROMIUM", "brave")
    assert chromium.executable() is None
    brave = _program(path, "brave")
    assert chromium.executable() == brave

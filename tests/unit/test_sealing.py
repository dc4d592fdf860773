"""Secrets at rest: they open under their key, for their row, and for nothing else."""

import base64

import pytest
from hypothesis import given, strategies as st

from bot.sealing import Keyring
from router.errors import ConfigurationError

OLD, NEW = b"o" * 32, b"n" * 32
ROW = "oauth_installs:A1:T1"


def encoded(key: bytes) -> str:
    return base64.b64encode(key).decode()


@given(secret=st.text(), row=st.text())
def test_what_was_sealed_opens(secret: str, row: str):
    ring = Keyring({"k1": OLD})
    assert ring.open(ring.seal(secret, belongs_to=row), belongs_to=row) == secret


def test_a_sealed_secret_shows_nothing_of_itself_and_never_looks_the_same_twice():
    ring = Keyring({"k1": OLD})
    one, two = (ring.seal("xoxb-secret", belongs_to=ROW) for _ in range(2))
    assert b"secret" not in one
    assert one != two


def test_moved_to_another_row_it_does_not_open():
    ring = Keyring({"k1": OLD})
    with pytest.raises(ConfigurationError, match="moved between rows"):
        ring.open(ring.seal("secret", belongs_to=ROW), belongs_to="oauth_installs:A1:T2")


@pytest.mark.parametrize("place", [4, 20, -1])
def test_changed_by_one_bit_it_does_not_open(place: int):
    ring = Keyring({"k1": OLD})
    sealed = bytearray(ring.seal("secret", belongs_to=ROW))
    sealed[place] ^= 1
    with pytest.raises(ConfigurationError, match="does not open"):
        ring.open(bytes(sealed), belongs_to=ROW)


def test_after_a_rotation_the_old_key_still_opens_and_the_new_one_seals():
    sealed = Keyring({"old": OLD}).seal("secret", belongs_to=ROW)
    rotated = Keyring({"new": NEW, "old": OLD})
    assert rotated.open(sealed, belongs_to=ROW) == "secret"
    fresh = rotated.seal("secret", belongs_to=ROW)
    assert Keyring({"new": NEW}).open(fresh, belongs_to=ROW) == "secret"


def test_a_key_that_is_missing_is_named():
    sealed = Keyring({"old": OLD}).seal("secret", belongs_to=ROW)
    with pytest.raises(ConfigurationError, match="'old': add it to THREADLINE_ENCRYPTION_KEYS"):
        Keyring({"new": NEW}).open(sealed, belongs_to=ROW)


def test_another_key_of_the_same_name_is_told():
    sealed = Keyring({"k1": OLD}).seal("secret", belongs_to=ROW)
    with pytest.raises(ConfigurationError, match="the key is another one"):
        Keyring({"k1": NEW}).open(sealed, belongs_to=ROW)


def test_keys_are_read_in_order_and_the_first_seals():
    ring = Keyring.parse(f" new:{encoded(NEW)} , old:{encoded(OLD)},")
    assert Keyring({"new": NEW}).open(ring.seal("s", belongs_to=ROW), belongs_to=ROW) == "s"
    assert ring.open(Keyring({"old": OLD}).seal("s", belongs_to=ROW), belongs_to=ROW) == "s"


@pytest.mark.parametrize(
    "text",
    [
        "",
        " , ",
        "k1",
        f":{encoded(OLD)}",
        "k1:not base64!",
        f"k1:{encoded(OLD[:31])}",
        encoded(OLD),
    ],
)
def test_malformed_keys_are_refused_without_being_shown(text: str):
    with pytest.raises(ConfigurationError, match="THREADLINE_ENCRYPTION_KEYS") as refused:
        Keyring.parse(text)
    shown = str(refused.value)
    assert "openssl rand -base64 32" in shown
    assert encoded(OLD)[:20] not in shown
    assert refused.value.__cause__ is None

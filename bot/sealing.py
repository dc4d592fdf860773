"""Secrets at rest: AES-GCM, bound to the row they belong to, under keys that can be rotated."""

import base64
import binascii
import os
from typing import Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from router.errors import ConfigurationError

_NONCE_BYTES = 12
_KEY_BYTES = 32
_HOW = "expected id:base64(32 bytes)[,…], for instance k1:$(openssl rand -base64 32)"


class Keyring:
    """Seals and opens secrets. The first key seals; all of them open.

    A sealed secret is `key id length | key id | nonce | ciphertext`. `belongs_to` names its row: a
    ciphertext moved to another row does not open.
    """

    def __init__(self, keys: dict[str, bytes]) -> None:
        if not keys:
            raise ConfigurationError(f"THREADLINE_ENCRYPTION_KEYS is empty: {_HOW}")
        self._ciphers = {key_id: AESGCM(key) for key_id, key in keys.items()}
        self._first = next(iter(keys))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads `id:base64(32 bytes)[,…]`; ConfigurationError without showing any of it."""
        keys: dict[str, bytes] = {}
        for entry in filter(None, (part.strip() for part in text.split(","))):
            key_id, _, encoded = entry.partition(":")
            try:
                key = base64.b64decode(encoded, validate=True)
            except binascii.Error:
                raise ConfigurationError(
                    f"THREADLINE_ENCRYPTION_KEYS is not base64: {_HOW}"
                ) from None
            if not key_id or len(key) != _KEY_BYTES:
                raise ConfigurationError(f"THREADLINE_ENCRYPTION_KEYS is malformed: {_HOW}")
            keys[key_id] = key
        return cls(keys)

    def seal(self, secret: str, *, belongs_to: str) -> bytes:
        """The secret under the first key."""
        nonce = os.urandom(_NONCE_BYTES)
        key_id = self._first.encode()
        sealed = self._ciphers[self._first].encrypt(nonce, secret.encode(), belongs_to.encode())
        return bytes([len(key_id)]) + key_id + nonce + sealed

    def open(self, sealed: bytes, *, belongs_to: str) -> str:
        """The secret; ConfigurationError when its key is missing or it belongs to another row."""
        end = 1 + sealed[0]
        key_id = sealed[1:end].decode()
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            raise ConfigurationError(
                f"a stored token is sealed under key {key_id!r}: add it to THREADLINE_ENCRYPTION_KEYS"
            )
        nonce, body = sealed[end : end + _NONCE_BYTES], sealed[end + _NONCE_BYTES :]
        try:
            return cipher.decrypt(nonce, body, belongs_to.encode()).decode()
        except InvalidTag:
            raise ConfigurationError(
                f"a stored token does not open under key {key_id!r}: the key is another one, "
                "or the token was moved between rows"
            ) from None

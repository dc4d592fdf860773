"""Pure: a tool call's arguments without its secrets, and the hash of them as they are."""

import hashlib
import json
import re
from typing import Any

HIDDEN = "•••••"

_SECRET_KEY = re.compile(
    r"passw(or)?d|passphrase|pwd\b|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|"
    r"authorization|credential|cookie|session[_-]?id|client[_-]?secret|signature|bearer",
    re.IGNORECASE,
)
# The forms in which secrets are known to be written, wherever they stand in a text.
_SECRET_VALUE = re.compile(
    r"""
    -----BEGIN\ [A-Z ]*PRIVATE\ KEY-----.*?(?:-----END\ [A-Z ]*PRIVATE\ KEY-----|\Z)
    | \bxox[abeprs]-[\w-]{8,} | \bxapp-[\w-]{8,}                     # Slack
    | \bsk-[\w-]{16,}                                                # Anthropic and others
    | \bgh[opsur]_\w{20,} | \bgithub_pat_\w{20,} | \bglpat-[\w-]{16,}
    | \b(?:AKIA|ASIA)[A-Z0-9]{16}\b | \bAIza[\w-]{30,}
    | \b[sr]k_(?:live|test)_\w{16,}
    | \bey[JI][\w-]{8,}\.[\w-]{8,}\.[\w-]{4,}                        # JSON web tokens
    | (?i:\b(?:bearer|basic)\s+)[\w+/=.~-]{12,}
    | (?<=://)[^/\s:@]+:[^/\s@]+(?=@)                                # user:password@host
    | (?i:\b(?:password|passwd|pwd|secret|token|api[_-]?key)\s*[=:]\s*)(?!\s)[^\s&'"]{3,}
    """,
    re.VERBOSE | re.DOTALL,
)


def shown(arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments as people are shown them: what looks like a secret, by name or form, is hidden."""
    return {key: _shown(value, _is_secret(key)) for key, value in arguments.items()}


def digest(arguments: dict[str, Any]) -> bytes:
    """SHA-256 of the arguments, however their keys are ordered."""
    canonical = json.dumps(arguments, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).digest()


def _shown(value: Any, secret: bool) -> Any:  # noqa: FBT001  # two positions, both plain
    if isinstance(value, dict):
        return {k: _shown(v, secret or _is_secret(k)) for k, v in value.items()}
    if isinstance(value, list):
        return [_shown(item, secret) for item in value]
    if not isinstance(value, str) or not value:
        return value
    return HIDDEN if secret else _SECRET_VALUE.sub(HIDDEN, value)


def _is_secret(key: str) -> bool:
    return _SECRET_KEY.search(key) is not None

"""Sessions as Supabase issues them, signed with a secret of this run."""

import base64
import json
import secrets
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import uuid4

import jwt
from pydantic import SecretStr

from bot.signin.people import Person
from router import clock

COOKIE = "sb-threadline-demo-auth-token"
SECONDS = 3600

_SECRET_BYTES = 48


@dataclass(frozen=True, slots=True)
class LocalSession:
    """Somebody's session; its token is shown to nobody unasked, in no log line and no `repr`."""

    person: Person
    expires_at: int
    token: str = field(repr=False)

    def as_json(self) -> dict[str, Any]:
        """As Supabase's token endpoint answers; a demo's session is never refreshed."""
        return {
            "access_token": self.token,
            "token_type": "bearer",
            "expires_in": SECONDS,
            "expires_at": self.expires_at,
            "user": {"id": self.person.user_id, "email": self.person.email},
        }

    def as_cookie(self) -> str:
        """As Supabase's clients keep it (`router.api.auth.cookies`)."""
        raw = json.dumps(self.as_json()).encode()
        return f"base64-{base64.urlsafe_b64encode(raw).rstrip(b'=').decode()}"


class LocalSessions:
    """Issues sessions. `secret` is what the API has to verify them by."""

    def __init__(self) -> None:
        self.secret = SecretStr(secrets.token_urlsafe(_SECRET_BYTES))

    def issue(self, person: Person, origin: str) -> LocalSession:
        """A session of an hour, with the claims of supabase.com/docs/guides/auth/jwt-fields."""
        now = clock.now()
        expires_at = int((now + timedelta(seconds=SECONDS)).timestamp())
        claims = {
            "iss": f"{origin}/auth/v1",
            "sub": person.user_id,
            "aud": "authenticated",
            "exp": expires_at,
            "iat": int(now.timestamp()),
            "role": "authenticated",
            "aal": "aal1",
            "session_id": str(uuid4()),
            "email": person.email,
            "phone": "",
            "is_anonymous": False,
            "user_metadata": {"name": person.called},
        }
        token = jwt.encode(claims, self.secret.get_secret_value(), "HS256")
        return LocalSession(person, expires_at, token)

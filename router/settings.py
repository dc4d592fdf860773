"""Every setting, read once from the environment; nothing else reads it."""

from collections.abc import Container
from typing import Literal, Self

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from router.errors import ConfigurationError


class Settings(BaseSettings):
    """The settings of one process. Empty values count as missing."""

    model_config = SettingsConfigDict(frozen=True, env_ignore_empty=True, extra="ignore")

    database_url: SecretStr | None = None
    """PostgreSQL 15 or newer; without it `serve` needs --data-dir."""
    slack_bot_token: SecretStr | None = None
    """Installs this one workspace at start; more come through OAuth."""
    slack_signing_secret: SecretStr | None = None
    """Proves that a request is from Slack."""
    slack_app_token: SecretStr | None = None
    """Takes events over Socket Mode instead of HTTP; with the scope connections:write."""
    slack_api_url: str = "https://slack.com/api/"
    """Slack's Web API; ends in /api/."""
    anthropic_api_key: SecretStr | None = None
    """The runtime's key."""
    anthropic_base_url: str = "https://api.anthropic.com"
    """Where the runtime is."""
    threadline_encryption_keys: SecretStr | None = None
    """id:base64(32 bytes)[,…]; the first encrypts, all decrypt."""
    threadline_public_url: str | None = None
    """Where people reach this service from outside."""
    threadline_cors_origins: str | None = None
    """Other origins whose pages may use the API with a person's cookie: https://a.example[,…]."""
    supabase_url: str | None = None
    """The project whose sessions open the API; its public keys prove them, it is their issuer."""
    supabase_jwt_secret: SecretStr | None = None
    """Proves Supabase sessions that are signed with a shared secret (HS256)."""
    threadline_lease_seconds: float = Field(default=15.0, gt=0.5)
    """How long a replica may be silent before its turns go elsewhere."""
    threadline_sweep_seconds: float = Field(default=1.0, gt=0)
    """How often a replica looks for work that nobody told it of."""
    threadline_awaiting_reads: float = Field(default=60.0, gt=0, le=1000)
    """How many turns that wait for people are compared with the runtime in a minute, all told."""
    threadline_runtime_reads: int | None = Field(default=None, ge=60)
    """Reads a minute that the runtime allows this key; unset: what it allows everybody."""
    threadline_runtime_creates: int | None = Field(default=None, ge=60)
    """Sessions a minute that it may create; unset: as many as everybody's."""
    threadline_live_turns: int = Field(default=1000, gt=0)
    """How many turns a replica holds at the most."""
    threadline_retention_days: int = Field(default=30, gt=0)
    """How long texts of inputs and sent messages are kept."""
    host: str = "127.0.0.1"
    """Where to listen."""
    port: int = Field(default=3000, ge=0, le=65535)
    """Where to listen; 0 picks a free port."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """Least severity that is logged."""
    log_format: Literal["json", "console"] = "json"
    """How a log line looks."""

    @classmethod
    def from_environment(cls, only: Container[str] | None = None) -> Self:
        """Reads the environment; ConfigurationError names every wrong variable, never its value.

        Settings that are not in `only` are as if they were not set.
        """
        unread = set() if only is None else {n for n in cls.model_fields if n not in only}
        try:
            return cls(**{name: cls.model_fields[name].default for name in unread})
        except ValidationError as invalid:
            wrong = [f"{str(e['loc'][0]).upper()}: {e['msg']}" for e in invalid.errors()]
            raise ConfigurationError("; ".join(wrong)) from None

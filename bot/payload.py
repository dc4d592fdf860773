"""Reading JSON that Slack signed but nobody checked, and whose payload it is."""

import re
from typing import Any

from bot.incoming import Tenant, Unreadable
from bot.mrkdwn import clean

Json = dict[str, Any]

_TS = re.compile(r"[0-9]{1,12}\.[0-9]{1,9}")


def tenant_of(payload: object) -> Tenant:
    """Whose payload this is; event, interaction or command.

    Raises Unreadable for junk, and for a url_verification, which belongs to nobody. The actor's team
    never counts: in a shared channel it is the other side's (docs.slack.dev/apis/slack-connect).
    """
    body = object_of(payload)
    team, enterprise = _installed(body)
    tenant = (enterprise or team) if _says_org_wide(body) else (team or enterprise)
    if tenant is None:
        raise Unreadable("the payload names no workspace and no organisation")
    return Tenant(text_of(body, "api_app_id"), tenant, team, enterprise)


def _installed(body: Json) -> tuple[str | None, str | None]:
    """The installing workspace and organisation, from the best witness the payload has."""
    authorization = _authorization(body)
    named = text_of(authorization, "team_id"), text_of(authorization, "enterprise_id")
    if any(named):
        return named
    enterprise = text_of(part(body, "enterprise"), "id") or text_of(
        part(body, "team"), "enterprise_id"
    )
    if "team" in body or "view" in body:  # an interaction
        team = text_of(part(body, "view"), "app_installed_team_id") or text_of(
            part(body, "team"), "id"
        )
        return team, enterprise
    return (
        text_of(body, "context_team_id") or text_of(body, "team_id"),
        text_of(body, "context_enterprise_id") or text_of(body, "enterprise_id"),
    )


def _says_org_wide(body: Json) -> bool:
    witness = _authorization(body) or body
    # commands come form-encoded, so there the flag is a word
    return witness.get("is_enterprise_install") in (True, "true")


def _authorization(body: Json) -> Json:
    """The one installation that Slack names (docs.slack.dev/apis/events-api), or an empty object."""
    listed = body.get("authorizations")
    if isinstance(listed, list) and listed and isinstance(listed[0], dict):
        return listed[0]
    return {}


def object_of(payload: object) -> Json:
    """The payload as a JSON object; raises Unreadable."""
    if not isinstance(payload, dict):
        raise Unreadable("the payload is no JSON object")
    return payload


def part(body: Json, name: str) -> Json:
    """The object of that name, empty where there is none."""
    found = body.get(name)
    return found if isinstance(found, dict) else {}


def text_of(body: Json, name: str) -> str | None:
    """The text of that name, cleaned; None where there is none or it is empty."""
    value = body.get(name)
    return clean(value) or None if isinstance(value, str) else None


def timestamp(value: object) -> str:
    """A message's `ts`, which goes into keys and orders; raises Unreadable for anything else."""
    if not isinstance(value, str) or not _TS.fullmatch(value):
        raise Unreadable(f"a message without a readable timestamp: {str(value)[:40]!r}")
    return value

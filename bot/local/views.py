"""The views that people have before them, and every change to them."""

import secrets
import time
from dataclasses import replace

from bot.local.interactive import identified, pressable
from bot.local.model import Json, SlackError, User
from bot.local.surfaces import OpenView, Trigger
from bot.local.workspace import Workspace

MAX_STACK = 3


class Views:
    """Opens, changes and closes views; each takes a view that `check_view` has let through."""

    def __init__(self, workspace: Workspace) -> None:
        self._surfaces = workspace.surfaces

    def open(self, trigger_id: str, body: Json) -> OpenView:
        """Show a modal to whom the trigger belongs, instead of those that are open."""
        trigger = self._surfaces.valid(trigger_id)
        self._check_external_id(body)
        self._spend(trigger)
        self.clear(trigger.user)
        return self._put(trigger.user, trigger.team, body, org=trigger.org)

    def push(self, trigger_id: str, body: Json) -> OpenView:
        """Show a modal on top of the one that the trigger came from."""
        trigger = self._surfaces.valid(trigger_id)
        below = self._surfaces.views.get(trigger.view or "")
        if below is None or below.kind != "modal":
            raise SlackError("not_found")
        self._check_push(below, body)
        self._spend(trigger)
        return self.push_on(below, body)

    def push_on(self, below: OpenView, body: Json) -> OpenView:
        """Show a modal on top of that one; SlackError when it cannot be."""
        self._check_push(below, body)
        return self._put(below.user, below.team, body, below=below, org=below.org)

    def update(self, before: OpenView, body: Json, known_hash: str = "") -> OpenView:
        """Replace what a view shows; what was typed stays where its input stays."""
        if known_hash and known_hash != before.hash:
            raise SlackError("hash_conflict")
        self._check_external_id(body, before)
        after = body | {"blocks": identified(body["blocks"])}
        kept = _kept(before.values, after["blocks"])
        changed = replace(before, body=after, hash=_hash(), values=kept, errors={})
        return self._surfaces.views.put(changed)

    def publish(self, user: User, body: Json, known_hash: str = "") -> OpenView:
        """Set a person's home tab."""
        before = self._surfaces.home(user.id)
        if before is not None:
            return self.update(before, body, known_hash)
        self._check_external_id(body)
        return self._put(user.id, user.team_id, body)

    def close(self, view: OpenView) -> None:
        """Take a view away; the one below it comes to the front."""
        self._surfaces.views.drop(view.id)

    def clear(self, user: str) -> None:
        """Take all of a person's modals away."""
        for view in self._surfaces.stack(user):
            self.close(view)

    def _put(
        self,
        user: str,
        team: str,
        body: Json,
        *,
        below: OpenView | None = None,
        org: bool = False,
    ) -> OpenView:
        view_id = f"V0{secrets.token_hex(5).upper()}"
        view = OpenView(
            id=view_id,
            user=user,
            team=team,
            body=body | {"blocks": identified(body["blocks"])},
            hash=_hash(),
            root=below.root if below else view_id,
            previous=below.id if below else None,
            org=org,
        )
        return self._surfaces.views.put(view)

    def _spend(self, trigger: Trigger) -> None:
        self._surfaces.triggers.put(replace(trigger, used=True))

    def _check_push(self, below: OpenView, body: Json) -> None:
        if len(self._surfaces.stack(below.user)) >= MAX_STACK:
            raise SlackError("push_limit_reached")
        self._check_external_id(body)

    def _check_external_id(self, body: Json, own: OpenView | None = None) -> None:
        wanted = body["external_id"]
        others = (view for view in self._surfaces.views if own is None or view.id != own.id)
        if wanted and any(view.body["external_id"] == wanted for view in others):
            raise SlackError("duplicate_external_id")


def _hash() -> str:
    return f"{int(time.time())}.{secrets.token_hex(4)}"


def _kept(values: Json, blocks: list[Json]) -> Json:
    """What was typed into inputs that are still there."""
    kept: Json = {}
    for block, element in pressable(blocks):
        block_id, action_id = block["block_id"], element["action_id"]
        if action_id in values.get(block_id, {}):
            kept.setdefault(block_id, {})[action_id] = values[block_id][action_id]
    return kept

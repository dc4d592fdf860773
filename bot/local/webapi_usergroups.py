"""usergroups.*: who is in a user group (docs.slack.dev/reference/methods/usergroups.users.list)."""

from bot.local.arguments import Arguments
from bot.local.model import Json, SlackError
from bot.local.workspace import Workspace


class UserGroups:
    """The methods under `usergroups.`."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def users(self, args: Arguments) -> Json:
        """usergroups.users.list; a disabled group is found only with `include_disabled`."""
        group = self._workspace.surfaces.groups.get(args.need("usergroup"))
        if group is None or (group.disabled and not args.flag("include_disabled")):
            raise SlackError("no_such_subteam")
        return {"users": list(group.users)}

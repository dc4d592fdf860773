"""Posts that come again under the same client_msg_id."""

from bot.local.arguments import Arguments
from bot.local.model import Message, SlackError
from bot.local.workspace import Workspace

CLIENT_MSG_ID_SECONDS = 3_600.0  # our reading; Slack states no window


class Repeats:
    """Finds the first post of a client_msg_id, where the workspace honours them at all."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._by_client_msg_id: dict[str, Message] = {}

    def keep(self, message: Message) -> None:
        """Remember a post that carries an id."""
        if message.client_msg_id is not None:
            self._by_client_msg_id[message.client_msg_id] = message

    def first(self, args: Arguments) -> Message | None:
        """The post that this call repeats, as it stands; SlackError when it was deleted."""
        if not self._workspace.settings.honour_client_msg_id:
            return None
        first = self._by_client_msg_id.get(args.text("client_msg_id"))
        too_old = self._workspace.clock.now() - CLIENT_MSG_ID_SECONDS
        if first is None or first.at < too_old:
            return None
        standing = self._workspace.state.message(first.channel, first.ts)
        if standing is None:
            raise SlackError("duplicate_message_not_found")
        return standing

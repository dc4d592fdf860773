"""The workspace as it is on the first start: who is in it and where they talk."""

from bot.local.model import Channel, User

TEAM_ID = "T0LOCALTEAM"
OTHER_TEAM_ID = "T0OTHERTEAM"
APP_ID = "A0THREADLINE"
BOT_USER_ID = "U0THREADLINE"
BOT_ID = "B0THREADLINE"
BOT_NAME = "threadline"


def users(team_id: str) -> list[User]:
    """Our app, three members, an admin, a guest, a Slack Connect user and another bot."""
    return [
        User(BOT_USER_ID, BOT_NAME, "Threadline", team_id, "app", BOT_ID, APP_ID),
        User("U0ADA", "ada", "Ada Lovelace", team_id),
        User("U0GRACE", "grace", "Grace Hopper", team_id),
        User("U0LINUS", "linus", "Linus Pauling", team_id),
        User("U0ADMIN", "admin", "Annie Admin", team_id, "admin"),
        User("U0GUEST", "guest", "Gus Guest", team_id, "guest"),
        User("U0CONNECT", "connect", "Connie Connect", OTHER_TEAM_ID, "connect"),
        User("U0DEPLOY", "deploybot", "Deploy Bot", team_id, "bot", "B0DEPLOY", "A0DEPLOY"),
    ]


def channels() -> list[Channel]:
    """One conversation of each kind with our bot in it, and `nobot` without it."""
    home = ("U0ADA", "U0GRACE", "U0LINUS", "U0ADMIN", "U0GUEST", "U0DEPLOY")
    pair = ("U0ADA", "U0GRACE")
    return [
        Channel("C0GENERAL", "general", "channel", (BOT_USER_ID, *home)),
        Channel("C0RANDOM", "random", "channel", (BOT_USER_ID, *home)),
        Channel("C0NOBOT", "nobot", "channel", home),
        Channel("G0PRIVATE", "private", "group", (BOT_USER_ID, *home)),
        Channel("G0MPIM", "mpim", "mpim", (BOT_USER_ID, *pair)),
        Channel(
            "C0SHARED",
            "shared",
            "channel",
            (BOT_USER_ID, *pair, "U0CONNECT"),
            shared_with=(OTHER_TEAM_ID,),
        ),
    ]


def dm_id(user_id: str) -> str:
    """The id of the direct message between our bot and that user."""
    return f"D{user_id.removeprefix('U')}"

"""The workspace as it is on the first start: who is in it and where they talk."""

from bot.local.model import Channel, User
from bot.local.surfaces import UserGroup

TEAM_ID = "T0LOCALTEAM"
OTHER_TEAM_ID = "T0OTHERTEAM"
APP_ID = "A0THREADLINE"
BOT_USER_ID = "U0THREADLINE"
BOT_ID = "B0THREADLINE"
BOT_NAME = "threadline"
ORG_ID = "E0LOCALORG"
ORG_NAME = "Local organisation"
DOMAIN = "local-workspace"
TEAM_NAME = "Local workspace"


def users(team_id: str) -> list[User]:
    """Our app, members, an owner, an admin, guests, strangers, another bot, one deactivated."""
    return [
        User(BOT_USER_ID, BOT_NAME, "Threadline", team_id, "app", BOT_ID, APP_ID),
        User("U0ADA", "ada", "Ada Lovelace", team_id),
        User("U0GRACE", "grace", "Grace Hopper", team_id),
        User("U0LINUS", "linus", "Linus Pauling", team_id),
        User("U0ADMIN", "admin", "Annie Admin", team_id, "admin"),
        User("U0GUEST", "guest", "Gus Guest", team_id, "guest"),
        User("U0CONNECT", "connect", "Connie Connect", OTHER_TEAM_ID, "connect"),
        User("U0OUTSIDER", "outsider", "Otto Outsider", OTHER_TEAM_ID, "connect"),
        User("U0OWNER", "owner", "Olive Owner", team_id, "owner"),
        User("U0SOLO", "solo", "Sid Solo", team_id, "solo_guest"),
        User("U0GONE", "gone", "Gwen Gone", team_id, deleted=True),
        User("U0DEPLOY", "deploybot", "Deploy Bot", team_id, "bot", "B0DEPLOY", "A0DEPLOY"),
    ]


def channels() -> list[Channel]:
    """One conversation of each kind with our bot in it, and `nobot` without it."""
    home = ("U0ADA", "U0GRACE", "U0LINUS", "U0ADMIN", "U0GUEST", "U0DEPLOY")
    pair = ("U0ADA", "U0GRACE")
    strangers = ("U0CONNECT", "U0OUTSIDER")
    return [
        Channel("C0GENERAL", "general", "channel", (BOT_USER_ID, *home, "U0OWNER", "U0SOLO")),
        Channel("C0RANDOM", "random", "channel", (BOT_USER_ID, *home)),
        Channel("C0NOBOT", "nobot", "channel", home),
        Channel("G0PRIVATE", "private", "group", (BOT_USER_ID, *home)),
        Channel("G0MPIM", "mpim", "mpim", (BOT_USER_ID, *pair)),
        Channel(
            "C0SHARED",
            "shared",
            "channel",
            (BOT_USER_ID, *pair, *strangers),
            shared_with=(OTHER_TEAM_ID,),
        ),
    ]


def user_groups() -> list[UserGroup]:
    """Two groups of members, and one that was disabled."""
    return [
        UserGroup("S0ONCALL", "oncall", "On call", ["U0ADA", "U0GRACE"]),
        UserGroup("S0RELEASE", "release", "Release managers", ["U0LINUS", "U0ADMIN"]),
        UserGroup("S0RETIRED", "retired", "Retired", ["U0ADA"], disabled=True),
    ]


def dm_id(user_id: str) -> str:
    """The id of the direct message between our bot and that user."""
    return f"D{user_id.removeprefix('U')}"

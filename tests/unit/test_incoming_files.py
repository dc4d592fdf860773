"""What an input keeps of the files of an event: where they are and how they are had, no token."""

import json
from typing import Any
from uuid import UUID

import pytest

from bot.events import SlackFile, SlackMessage, parse
from bot.ingress import arrival_of
from bot.install import KnownInstall
from store.installs import Install
from tests.contract import payloads as p

# The shape of recorded payloads (docs.slack.dev/reference/objects/file-object), shortened.
HOSTED: dict[str, Any] = {
    "id": "F111",
    "created": 1652227642,
    "name": "file.png",
    "title": "file.png",
    "mimetype": "image/png",
    "filetype": "png",
    "user": "U111",
    "size": 92582,
    "mode": "hosted",
    "is_external": False,
    "url_private": "https://files.slack.com/files-pri/T111-F111/file.png",
    "url_private_download": "https://files.slack.com/files-pri/T111-F111/download/file.png",
    "permalink": "https://xxx.slack.com/files/U111/F111/file.png",
    "permalink_public": "https://slack-files.com/T111-F111-faecabecf7",
    "thumb_360": "https://files.slack.com/files-tmb/T111-F111-0/file_360.png",
}
DOWNLOAD = HOSTED["url_private_download"]
PRIVATE = {name: value for name, value in HOSTED.items() if name != "url_private_download"}
EXTERNAL = PRIVATE | {"mode": "external", "url_private": "https://docs.google.com/document/d/1"}
SHAPES = [
    (HOSTED, SlackFile("F111", "file.png", "image/png", 92582, DOWNLOAD, "visible", "hosted")),
    (HOSTED | {"file_access": "visible"}, SlackFile("F111", "file.png", "image/png", 92582, DOWNLOAD, "visible", "hosted")),
    (PRIVATE, SlackFile("F111", "file.png", "image/png", 92582, HOSTED["url_private"], "visible", "hosted")),
    (EXTERNAL, SlackFile("F111", "file.png", "image/png", 92582, EXTERNAL["url_private"], "visible", "external")),
    (
        {"id": "F1", "mode": "file_access", "file_access": "check_file_info"},
        SlackFile("F1", None, None, None, None, "check_file_info", "file_access"),
    ),
    ({"id": "F1", "mode": "tombstone"}, SlackFile("F1", None, None, None, mode="tombstone")),
    ({"id": "F1", "mode": "hidden_by_limit", "size": None}, SlackFile("F1", None, None, None, mode="hidden_by_limit")),
    ({"id": "F1", "name": 7, "size": "9", "url_private": ["x"]}, SlackFile("F1", None, None, None)),
]  # fmt: skip


def shared(*files: Any) -> SlackMessage:
    found = parse(
        p.envelope(p.words(f"<@{p.BOT}> look", subtype="file_share", files=list(files))), p.INSTALL
    )
    assert isinstance(found, SlackMessage)
    return found


@pytest.mark.parametrize(("shape", "expected"), SHAPES)
def test_a_file_is_read_as_slack_shows_it(shape: Any, expected: SlackFile):
    message = shared(shape)
    assert message.files == (expected,)
    assert SlackMessage.from_json(json.loads(json.dumps(message.to_json()))) == message


def test_what_an_older_version_wrote_is_read_and_what_a_newer_one_added_is_not():
    kept = shared(HOSTED).to_json()
    kept["files"] = [
        {"id": "F1", "name": "a", "mimetype": None, "size": 1},
        kept["files"][0] | {"colour": "red"},
    ]
    assert SlackMessage.from_json(kept).files == (SlackFile("F1", "a", None, 1), SHAPES[0][1])


def test_an_input_knows_where_its_files_are_and_no_token():
    row = Install(
        id=UUID(int=1),
        workspace_id=UUID(int=2),
        api_app_id=p.APP,
        tenant_id=p.TEAM,
        team_id=p.TEAM,
        enterprise_id=None,
        bot_user_id=p.BOT,
        bot_id=p.BOT_ID,
        bot_token=b"sealed",
        scopes=[],
        default_agent_id=None,
        external_policy="reject",
        allowed_external=[],
        allow_guests=True,
        status="active",
    )
    arrival = arrival_of(shared(HOSTED, {"id": "F2"}), KnownInstall(row, "xoxb-secret"))
    assert arrival.files == (
        {
            "id": "F111",
            "name": "file.png",
            "mimetype": "image/png",
            "size": 92582,
            "url": DOWNLOAD,
            "access": "visible",
            "mode": "hosted",
        },
        {
            "id": "F2",
            "name": None,
            "mimetype": None,
            "size": None,
            "url": None,
            "access": "visible",
            "mode": None,
        },
    )
    assert "xoxb" not in json.dumps(arrival.to_json())

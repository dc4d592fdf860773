"""Which addresses are Slack's own: only there may a token be sent."""

import pytest

from bot import addresses
from router.errors import FileRefused

HOME = addresses.origin("https://slack.com/api/")
STRANGERS = [
    "https://slack.com@evil.example/F1",
    "https://files.slack.com:x@evil.example/F1",
    "https://evil.example\\@files.slack.com/F1",
    "https://files.slack.com\\@evil.example/F1",
    "https://files.slack.com\t@evil.example/F1",
    "https://slack.com.evil/F1",
    "https://files.slack.com.evil.example/F1",
    "https://evilslack.com/F1",
    "https://slack.com./F1",
    "https://.slack.com/F1",
    "https://files..slack.com/F1",
    "https://slack.co/F1",
    "https://ѕlack.com/F1",
    "https://ｓlack.com/F1",
    "https://slack。com/F1",
    "https://xn--lack-4qd.com/F1",
    "https://slac\u212a.com/F1",
    "https://slack%2ecom/F1",
    "https://slack.com%00.evil.example/F1",
    "https://slack.com\n.evil.example/F1",
    " https://evil.example/?https://slack.com",
    "https://slack.com:8443/F1",
    "https://slack.com:80/F1",
    "https://slack.com:/../F1@evil.example:443/",
    "http://files.slack.com/F1",
    "http://files.slack.com:443/F1",
    "ftp://files.slack.com/F1",
    "https:/files.slack.com/F1",
    "https:files.slack.com/F1",
    "https://[::1]/F1",
    "https://[::ffff:127.0.0.1]/F1",
    "https://[slack.com]/F1",
    "https://127.0.0.1/F1",
    "https://slack-files.com/F1",
    "javascript:alert(1)",
    "",
]


@pytest.mark.parametrize("address", STRANGERS)
def test_an_address_that_is_not_slacks_is_a_strangers(address: str):
    with pytest.raises(FileRefused, match="foreign_host"):
        addresses.judged(address, HOME)


@pytest.mark.parametrize(
    ("address", "host", "raw"),
    [
        ("https://slack.com/F1", "slack.com", "/F1"),
        (
            "https://files.slack.com/F1/a%2Fb%41.png?x=%2F",
            "files.slack.com",
            "/F1/a%2Fb%41.png?x=%2F",
        ),
        ("https://FILES.slack.COM:443/F1#@evil.example", "files.slack.com", "/F1"),
        (
            "https://my-team.enterprise.slack.com/F1?@evil.example",
            "my-team.enterprise.slack.com",
            None,
        ),
        ("https://files.slack.com/é", "files.slack.com", "/%C3%A9"),
        ("https://slack.com/@evil.example:80/", "slack.com", "/@evil.example:80/"),
    ],
)
def test_an_address_of_slacks_is_asked_for_as_it_stands(address: str, host: str, raw: str | None):
    url = addresses.judged(address, HOME)
    assert (url.scheme, url.raw_host, url.port, url.user) == ("https", host, 443, None)
    assert raw is None or url.raw_path_qs == raw


def test_the_origin_that_plays_slack_is_one_origin():
    home = addresses.origin("http://127.0.0.1:8000/api/")
    assert str(addresses.judged("http://127.0.0.1:8000/F1", home)) == "http://127.0.0.1:8000/F1"
    for other in ("http://127.0.0.1:8001/F1", "https://127.0.0.1:8000/F1", "http://127.0.0.1/F1"):
        with pytest.raises(FileRefused):
            addresses.judged(other, home)

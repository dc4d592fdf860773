"""Pure: the page as it is sent. What the API itself says of who is signed in, its script asks for."""

from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from typing import Final

from bot.signin.people import Person

_MAY: Final = {
    "viewer": "Reads sessions, their history and their live streams.",
    "member": "Starts sessions, talks, interrupts, archives, and decides what agents ask.",
    "admin": "Deploys, changes and pauses agents, and makes API keys.",
    "owner": "May do everything that an admin may.",
}
_HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" type="image/svg+xml" href="/signin/shared/icon.svg">
<link rel="stylesheet" href="/signin/shared/styles/tokens.css">
<link rel="stylesheet" href="/signin/shared/styles/base.css">
<link rel="stylesheet" href="/signin/shared/styles/controls.css">
<link rel="stylesheet" href="/signin/static/signin.css">
<script type="module" src="/signin/static/signin.js"></script>
"""
_ASKED = """
<section class="card" aria-labelledby="who-h">
<h2 id="who-h">What the API says you are</h2>
<p class="muted source"><code>GET /dashboard/me</code>, asked with your cookie</p>
<dl id="me" class="facts" aria-busy="true"></dl>
</section>
<section class="card" aria-labelledby="agents-h">
<div class="card-head"><h2 id="agents-h">The agents you may call</h2>
<button type="button" id="reveal" class="button small" hidden>Show the token</button></div>
<p class="muted source"><code>GET /dashboard/agents</code></p>
<p id="said" class="muted" role="status"></p>
<ul id="agents" class="agents" aria-busy="true"></ul>
</section>
<noscript><p class="note">Without scripts this page cannot ask the API; the cookie works all the
same.</p></noscript>
"""


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Who has a session here, until when (seconds since 1970), and at which origin."""

    person: Person
    expires_at: int
    origin: str


def page(
    workspace: str, people: list[Person], signed_in: SignedIn | None, slack_page: str | None
) -> str:
    """The whole page: whom to sign in as, or who is signed in and what they can do with it."""
    title = f"Signed in as {signed_in.person.called}" if signed_in else "Sign in to the demo"
    main = _inside(people, signed_in) if signed_in else _outside(workspace, people)
    return (
        f"{_HEAD}<title>{escape(title)} · Threadline</title>\n</head>\n<body>\n"
        f"{_bar(slack_page)}<main>\n{main}</main>\n</body>\n</html>\n"
    )


def _bar(slack_page: str | None) -> str:
    slack = f'<a href="{escape(slack_page)}">Local Slack</a>' if slack_page else ""
    return (
        '<header class="bar"><p class="brand"><img src="/signin/shared/icon.svg" alt="" width="24" '
        'height="24">Threadline <span class="tag">demo</span></p>'
        f'<nav aria-label="Around">{slack}<a href="/docs">API reference</a>'
        '<a href="/openapi.json">openapi.json</a></nav></header>\n'
    )


def _outside(workspace: str, people: list[Person]) -> str:
    return (
        '<h1>Sign in to the demo</h1>\n<p class="lead">These are the members of the workspace '
        f"<b>{escape(workspace)}</b>. A press signs you in to the sessions API for an hour. There is "
        "no password: this page is a part of the demo, and answers on this machine only.</p>\n"
        f"{_choice(people, None)}"
    )


def _inside(people: list[Person], signed_in: SignedIn) -> str:
    person = signed_in.person
    until = datetime.fromtimestamp(signed_in.expires_at, UTC)
    others = [one for one in people if one.user_id != person.user_id]
    return (
        f'<div id="session" class="session card" data-person="{escape(person.user_id)}" '
        f'data-role="{escape(person.role)}" data-origin="{escape(signed_in.origin)}">'
        f"{_avatar(person, 'large')}<div class='grow'><h1>{escape(person.called)} {_badge(person)}</h1>"
        f'<p class="muted">{escape(person.email or person.user_id)} · signed in until '
        f'<time datetime="{until.isoformat()}">{until:%H:%M} UTC</time></p></div>'
        '<form method="post" action="/signin/out"><button class="button">Sign out</button></form>'
        f'</div>\n<div class="columns"><div class="wide">{_ASKED}</div>'
        '<section class="narrow" aria-labelledby="others-h"><h2 id="others-h">Be somebody else</h2>'
        f"{_choice(others, 'small')}</section></div>\n"
    )


def _choice(people: list[Person], size: str | None) -> str:
    if not people:
        return '<p class="note">Nobody is there. <code>threadline members add</code> adds people.</p>\n'
    rows = "".join(_row(person) for person in people)
    return f'<ul class="people {size or ""}">{rows}</ul>\n'


def _row(person: Person) -> str:
    return (
        '<li><form method="post" action="/signin"><input type="hidden" name="person" '
        f'value="{escape(person.user_id)}"><button class="person">{_avatar(person)}'
        f'<span class="grow"><span class="sr-only">Sign in as </span>'
        f'<span class="name">{escape(person.called)}</span> {_badge(person)}'
        f'<span class="may">{_MAY[person.role]}</span></span></button></form></li>'
    )


def _badge(person: Person) -> str:
    return f'<span class="badge role" data-role="{person.role}">{person.role}</span>'


def _avatar(person: Person, size: str = "") -> str:
    initials = "".join(word[0] for word in person.called.split()[:2]).upper()
    return (
        f'<span class="avatar {size}" data-hue="{person.hue}" aria-hidden="true">'
        f"{escape(initials)}</span>"
    )

"""As much of curl as the README uses, for machines without it: `python curl.py -sNH … -d … URL`."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.client import HTTPConnection
from urllib.parse import urlsplit

_ALONE = frozenset("sN")
_FORM = "application/x-www-form-urlencoded"


@dataclass
class Asked:
    """What the command line asks for."""

    url: str = ""
    method: str = "GET"
    body: str | None = None
    headers: dict[str, str] = field(default_factory=dict)

    def take(self, option: str, value: str) -> None:
        """One option with its value."""
        match option:
            case "H":
                name, _, said = value.partition(": ")
                self.headers[name] = said
            case "d":
                self.method, self.body = "POST", value
                self.headers.setdefault("Content-Type", _FORM)
            case "X":
                self.method = value
            case _:
                sys.exit(f"this curl has no -{option}")


def _asked(words: Iterator[str]) -> Asked:
    asked = Asked()
    for word in words:
        if not word.startswith("-"):
            asked.url = word
            continue
        for option in word[1:]:
            if option not in _ALONE:
                asked.take(option, next(words))
    return asked


def main() -> None:
    """One request: its body on stdout as it comes, its status on stderr at the end."""
    asked = _asked(iter(sys.argv[1:]))
    parts = urlsplit(asked.url)
    connection = HTTPConnection(parts.netloc)
    target = f"{parts.path}?{parts.query}" if parts.query else parts.path
    connection.request(asked.method, target, asked.body, asked.headers)
    response = connection.getresponse()
    while piece := response.read1():
        sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
    sys.stderr.write(f"{response.status}\n")


if __name__ == "__main__":
    main()

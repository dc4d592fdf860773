"""Opens an address in the browser of whoever sits before this terminal, if anybody does."""

import threading
import webbrowser
from collections.abc import Mapping


def can_open(environ: Mapping[str, str], platform: str, *, terminal: bool) -> bool:
    """Whether somebody sits there: a terminal and a screen, and neither CI nor another machine."""
    if not terminal or environ.get("CI") or environ.get("SSH_CONNECTION"):
        return False
    if platform in {"darwin", "win32"}:
        return True
    return bool(environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY"))


def open_page(url: str) -> bool:
    """Opens it and waits for nothing; False where there is no browser with a window of its own."""
    try:
        found = webbrowser.get()
    except webbrowser.Error:
        return False
    # Exactly this class runs in the terminal, and until it is left.
    if type(found) is webbrowser.GenericBrowser:
        return False
    threading.Thread(target=found.open, args=(url,), daemon=True).start()
    return True

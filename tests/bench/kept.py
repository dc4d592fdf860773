"""Runs a module that would outlive whoever started it, as that may be killed.

    python -m tests.bench.kept MODULE ARGUMENTS…

It is told to end when its standard input ends, and is ended when it does not.
"""

import os
import runpy
import signal
import sys
import threading
import time

_STOP_SECONDS = 20.0


def _watch() -> None:
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_STOP_SECONDS)
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=_watch, daemon=True).start()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)

"""The logging of a real process, inside a test."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from router import logs


@contextmanager
def real_logs(style: str = "json", level: str = "INFO") -> Iterator[None]:
    """Logs as `serve` does, to the stderr of this moment; everything is as before afterwards."""
    names = [None, *logging.getLogger().manager.loggerDict]
    levels = {name: logging.getLogger(name).level for name in names}
    handlers, config = logging.getLogger().handlers[:], structlog.get_config()
    logs.configure(level=level, style=style)
    structlog.configure(cache_logger_on_first_use=False)  # what is cached would outlive the test
    try:
        yield
    finally:
        logging.getLogger().handlers[:] = handlers
        structlog.configure(**config)
        for name, was in levels.items():
            logging.getLogger(name).setLevel(was)

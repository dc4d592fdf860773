"""What can go wrong, and who decides what to do about it.

ThreadlineError
├── ConfigurationError     a setting is missing or wrong; the message says which, and what to do
├── AcceptUnavailable      an event could not be made durable in time: 503, so that Slack sends again
├── FileRefused            a file that people shared is not brought along, and why
├── FileAway               it may be later: nobody knows more yet
├── NotReadable            a channel, or what is in it, is not to be had for an agent, and why
└── RuntimeFailure         a call to the agent runtime failed
    ├── RuntimeAway        it did not take effect: not reachable, or it asked us to wait
    ├── RuntimeUnclear     it may have taken effect; look before sending again
    ├── RuntimeRefused     the runtime said no; asking again will not help
    └── RuntimeGone        the runtime session does not exist any more
"""

from typing import ClassVar, Literal, Self

from router.notices import Trouble

FileReason = Literal[
    "too_large",
    "too_many",
    "deleted",
    "no_access",
    "foreign_host",
    "unreadable",
    "failed",
    "not_taken",
]


class ThreadlineError(Exception):
    """Everything that Threadline raises on purpose."""


class ConfigurationError(ThreadlineError):
    """A setting is missing or wrong."""

    @classmethod
    def to_set(cls, lacking: list[str]) -> Self:
        """One error for everything that is not set."""
        return cls(f"set {'; '.join(lacking)}")


class AcceptUnavailable(ThreadlineError):
    """An event could not be made durable in time; nothing is known of it, it must come again."""


class FileRefused(ThreadlineError):
    """A file is not to be had, and asking again will not help; `router.files.reasons` has the words."""

    def __init__(self, reason: FileReason, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason


class FileAway(ThreadlineError):
    """A file could not be had now; `retry_after` where it was said when to ask again."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class NotReadable(ThreadlineError):
    """What an agent wants of Slack is not to be had. `reason` is Slack's word or one of ours.

    `retry_after` where it may be had later.
    """

    def __init__(self, reason: str, *, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after = retry_after


class RuntimeFailure(ThreadlineError):
    """A call to the agent runtime failed. `trouble` is what a person is told of it."""

    usual: ClassVar[Trouble] = Trouble.FAILED

    def __init__(
        self, message: str, *, retry_after: float | None = None, trouble: Trouble | None = None
    ) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.trouble = trouble or self.usual


class RuntimeAway(RuntimeFailure):
    """The call did not take effect: the runtime is not reachable, or asked us to wait."""

    usual = Trouble.RUNTIME_AWAY


class RuntimeUnclear(RuntimeFailure):
    """The call may have taken effect: its answer was lost."""

    usual = Trouble.RUNTIME_AWAY


class RuntimeRefused(RuntimeFailure):
    """The runtime refused the call."""

    usual = Trouble.REFUSED

    @property
    def waits_for_answers(self) -> bool:
        """True for the refusal of a message while tool calls are held: list again, then decide."""
        return "waiting on responses" in str(self)


class RuntimeGone(RuntimeFailure):
    """The runtime session does not exist any more, or is archived there."""

    usual = Trouble.CONTEXT_LOST

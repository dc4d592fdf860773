"""What can go wrong, and who decides what to do about it.

ThreadlineError
├── ConfigurationError     a setting is missing or wrong; the message says which, and what to do
├── AcceptUnavailable      an event could not be made durable in time: 503, so that Slack sends again
└── RuntimeFailure         a call to the agent runtime failed
    ├── RuntimeAway        it did not take effect: not reachable, or it asked us to wait
    ├── RuntimeUnclear     it may have taken effect; look before sending again
    ├── RuntimeRefused     the runtime said no; asking again will not help
    └── RuntimeGone        the runtime session does not exist any more
"""

from typing import ClassVar, Self

from router.notices import Trouble


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

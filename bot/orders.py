"""What people do to a demo to watch it recover; the faults of Slack itself are Slack's own business."""

from collections.abc import Callable

from bot.behind import Order
from bot.replicas import Replicas
from router.runtime.local import LocalRuntime

_CUT_SECONDS = 10.0
_LAG_SECONDS, _LATE_SECONDS, _BEHIND_SECONDS = 20.0, 1.5, 3.0
_OVERLOAD_SECONDS = 10.0
_MUDDLE_SECONDS = 20.0


def of_replicas(replicas: Replicas, lease_seconds: float) -> tuple[Order, ...]:
    """Orders to the processes."""

    async def kill() -> str:
        try:
            killed, next_one = await replicas.kill()
        except ProcessLookupError:
            return "No worker is there at this moment: the next one is just starting."
        return (
            f"Killed process {killed}. Process {next_one} takes over; what was in flight goes on when "
            f"the lease of {lease_seconds:g} s has run out."
        )

    return (
        Order(
            "kill_worker",
            "Kill the worker",
            "SIGKILL for the process that runs turns and delivers answers. The next one starts at "
            f"once, and takes over what was in flight when its lease ({lease_seconds:g} s) has run out.",
            kill,
        ),
    )


def of_runtime(runtime: LocalRuntime) -> tuple[Order, ...]:
    """Orders to the local runtime."""
    return (
        _order(
            "cut_runtime",
            "Cut the runtime's streams",
            f"Every event stream is reset, and for {_CUT_SECONDS:g} s none can be opened. The agent "
            "works on meanwhile, and nothing of what it says is lost.",
            lambda: _cut(runtime),
        ),
        _order(
            "lag_runtime",
            "Slow the runtime down",
            f"For {_LAG_SECONDS:g} s every call is answered {_LATE_SECONDS:g} s late, and the history "
            f"trails {_BEHIND_SECONDS:g} s behind.",
            lambda: _lag(runtime),
        ),
        _order(
            "overload_runtime",
            "Overload the runtime",
            f"For {_OVERLOAD_SECONDS:g} s every call is refused with 529. What is said waits.",
            lambda: _overload(runtime),
        ),
        _order(
            "lose_answer",
            "Lose the next answer",
            "The runtime takes the next message, but its answer is lost on the way. Threadline looks "
            "whether it is there before it would send it again.",
            lambda: _lose(runtime),
        ),
        _order(
            "muddle_runtime",
            "Say events twice",
            f"For {_MUDDLE_SECONDS:g} s each event comes twice on the stream, and some out of order.",
            lambda: _muddle(runtime),
        ),
        _order(
            "hold_runtime",
            "Keep the model thinking",
            "Turns stand still before the model answers, until the runtime is restored. Say more "
            "meanwhile, and see it wait in line.",
            runtime.hold,
        ),
        _order(
            "restore_runtime",
            "Restore the runtime",
            "Ends all trouble that was ordered here, and lets turns go on.",
            lambda: _restore(runtime),
        ),
    )


def _order(kind: str, label: str, help_: str, do: Callable[[], None]) -> Order:
    async def carry_out() -> str:
        do()
        return help_

    return Order(kind, label, help_, carry_out)


def _cut(runtime: LocalRuntime) -> None:
    runtime.fault("unavailable", route="events.stream", times=None, lasts=_CUT_SECONDS)
    runtime.cut_streams()


def _lag(runtime: LocalRuntime) -> None:
    runtime.fault("stall", times=None, seconds=_LATE_SECONDS, lasts=_LAG_SECONDS)
    runtime.fault("history_lag", times=None, seconds=_BEHIND_SECONDS, lasts=_LAG_SECONDS)


def _overload(runtime: LocalRuntime) -> None:
    runtime.fault("overloaded", times=None, lasts=_OVERLOAD_SECONDS)


def _lose(runtime: LocalRuntime) -> None:
    runtime.fault("drop_after", route="events.send")


def _muddle(runtime: LocalRuntime) -> None:
    runtime.fault("duplicate", times=None, lasts=_MUDDLE_SECONDS)
    runtime.fault("reorder", times=3, lasts=_MUDDLE_SECONDS)


def _restore(runtime: LocalRuntime) -> None:
    runtime.clear_faults()
    runtime.release()

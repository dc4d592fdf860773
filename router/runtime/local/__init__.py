"""A Managed Agents runtime on the own machine.

Why a server and not a stub of the client: everything between us and the platform (retries of the
client, streams that break, answers that get lost) happens on the wire, so that is where it has to
be played. The rules are those of the platform's documentation; the agent is a script (`brain`).
It depends on nothing of Threadline, so that it can be the judge of what Threadline did.
"""

from router.runtime.local.faults import ActiveFault, Fault, FaultKind
from router.runtime.local.server import LocalRuntime

__all__ = ["ActiveFault", "Fault", "FaultKind", "LocalRuntime"]

"""What the work of a route is done with."""

from dataclasses import dataclass

from router.api.auth.principals import Principal
from router.api.hub import Hub
from router.runtime.client import Runtime
from store.database import Pool


@dataclass(frozen=True, slots=True)
class Context:
    """One request's means: the process's own, and who asks."""

    pool: Pool
    runtime: Runtime
    hub: Hub
    principal: Principal

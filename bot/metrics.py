"""What GET /metrics shows: counters and gauges of one process."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest


class Metrics:
    """One process's figures, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "threadline_slack_requests",
            "Requests from Slack by the status they were answered with",
            ["status"],
            registry=self.registry,
        )
        self.events = Counter(
            "threadline_slack_events",
            "Events by what became of them and why",
            ["outcome", "reason"],
            registry=self.registry,
        )
        self.ack_seconds = Histogram(
            "threadline_ack_seconds",
            "Time from a request of Slack to its answer",
            buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0),
            registry=self.registry,
        )
        self.live_turns = Gauge(
            "threadline_live_turns", "Sessions held by this process", registry=self.registry
        )
        self.dead_deliveries = Gauge(
            "threadline_dead_deliveries",
            "Slack writes buried in the last day, by Slack's reason",
            ["error"],
            registry=self.registry,
        )
        self.doubles = Counter(
            "threadline_doubles",
            "What was done twice at the runtime or in Slack, counted when it was found",
            ["where"],
            registry=self.registry,
        )
        for where in ("runtime", "slack"):
            self.doubles.labels(where)

        self.awaiting = Gauge(
            "threadline_awaiting_oldest_read_seconds",
            "How long ago the waiting turn that was not compared for the longest was compared",
            registry=self.registry,
        )
        self.circuits = Gauge(
            "threadline_slack_circuits_open",
            "Installs that Slack is not asked for: unanswered, or their token revoked",
            ["why"],
            registry=self.registry,
        )
        for why in ("unanswered", "revoked"):
            self.circuits.labels(why)

        # What each event counts on is kept: to look a child up by its labels costs more than to count.
        self._by_event: dict[tuple[str, str], Counter] = {}
        self._by_status: dict[int, Counter] = {}

    def event(self, outcome: str, reason: str) -> None:
        """Counts an event."""
        counter = self._by_event.get((outcome, reason))
        if counter is None:
            counter = self._by_event[outcome, reason] = self.events.labels(outcome, reason)
        counter.inc()

    def request(self, status: int) -> None:
        """Counts a request by its answer."""
        counter = self._by_status.get(status)
        if counter is None:
            counter = self._by_status[status] = self.requests.labels(str(status))
        counter.inc()

    def page(self) -> bytes:
        """The text that Prometheus reads."""
        return generate_latest(self.registry)

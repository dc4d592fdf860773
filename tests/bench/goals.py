"""What is asked of figures, what was seen, and the one table that says which goals are held."""

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.bench import common
from tests.bench.common import Results


@dataclass(frozen=True, slots=True)
class Verdict:
    """A goal and what was seen of it. `wrong`: missed, and no matter of speed."""

    workload: str
    figure: str
    seen: str
    goal: str
    held: bool
    wrong: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a workload."""

    name: str
    rows: Sequence[Sequence[str]]
    results: Results
    verdicts: Sequence[Verdict] = ()

    def tell(self) -> None:
        """Prints the table and the verdicts, and writes every round beside it."""
        common.report(self.name, self.rows, self.results)
        for one in self.verdicts:
            said = "held" if one.held else "missed"
            sys.stdout.write(f"{said}: {one.workload}, {one.figure}: {one.seen} ({one.goal})\n")
        sys.stdout.write("\n")
        sys.stdout.flush()

    @property
    def wrong(self) -> bool:
        """Whether something is so that must not be, however busy the machine is."""
        return any(one.wrong for one in self.verdicts)


def at_least(
    workload: str, figure: str, seen: float, goal: float, *, floor: float = 0.0, digits: int = 0
) -> Verdict:
    """A verdict on a figure that is to be large; `floor`: what is missed by no means."""
    asked = f"≥ {goal:,g}" + (f", floor {floor:g}" if floor else "")
    below = " below the floor" if seen < floor else ""
    return Verdict(workload, figure, f"{seen:,.{digits}f}{below}", asked, seen >= goal)


def at_most(
    workload: str, figure: str, seen: float, goal: float, unit: str, *, digits: int = 0
) -> Verdict:
    """A verdict on a figure that is to be small."""
    space = " " if unit[:1].isalpha() else ""
    shown = f"{seen:,.{digits}f}{space}{unit}"
    return Verdict(workload, figure, shown, f"≤ {goal:,g}{space}{unit}", seen <= goal)


def none(workload: str, figure: str, seen: float) -> Verdict:
    """A verdict on what must not be."""
    return Verdict(workload, figure, f"{seen:,.0f}", "none", not seen, wrong=bool(seen))


def summary(verdicts: Sequence[Verdict], seconds: float, folder: Path) -> str:
    """All verdicts in one table, in markdown; it and its JSON are written into the folder."""
    rows = [["Workload", "Figure", "Seen", "Goal", ""]]
    rows += [
        [one.workload, one.figure, one.seen, one.goal, "held" if one.held else "**missed**"]
        for one in verdicts
    ]
    size = "a short run" if common.quick() else "the full run" if common.full() else "a run"
    about = f"{common.machine()}; {size} of {seconds / 60:.1f} minutes."
    text = f"{_markdown(rows)}\n\n{about}\n"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "summary.md").write_text(text)
    body = {"machine": common.machine(), "seconds": round(seconds), "quick": common.quick()}
    body["verdicts"] = [asdict(one) for one in verdicts]
    (folder / "summary.json").write_text(json.dumps(body, indent=2, ensure_ascii=False) + "\n")
    return text


def _markdown(rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], "|---|---|--:|--:|---|", *lines[1:]])

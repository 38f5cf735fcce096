"""Counts of survived faults: one in fifty by default, all with ``--soak``, which also writes a report."""

import json
import statistics
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

SHARE = 50


class Soak:
    """The number of faults to try, and their outcomes."""

    def __init__(self, full: bool, report: Path) -> None:
        self.full, self._report = full, report
        self._faults: dict[str, dict] = {}

    def count(self, all_of_them: int) -> int:
        """Return how many of ``all_of_them`` to try."""
        return all_of_them if self.full else max(1, all_of_them // SHARE)

    @contextmanager
    def fault(self, name: str) -> Iterator["Fault"]:
        """Collect the trials of one fault, record them, and fail if one of them failed."""
        fault = Fault()
        try:
            yield fault
        finally:
            if self.full:
                self._faults[name] = fault.summary()
                self._report.write_text(json.dumps(self._faults, indent=2) + "\n")
        told = f"{len(fault.failures)} of {fault.runs} not survived:\n\n" + "\n".join(fault.failures)
        assert not fault.failures, told


@dataclass
class Fault:
    """The trials of one fault: ``with fault.trial("description"): ...``."""

    runs: int = 0
    failures: list[str] = field(default_factory=list)
    seen: dict[str, int] = field(default_factory=dict)
    measured: dict[str, list[float]] = field(default_factory=dict)

    @contextmanager
    def trial(self, what: object) -> Iterator[None]:
        """Run one trial; a failure is kept for later, so that the other trials run anyway."""
        self.runs += 1
        try:
            yield
        except Exception:
            self.failures.append(f"--- {what}\n{traceback.format_exc(limit=-4)}")

    def saw(self, what: str) -> None:
        """Count one more ``what``, one of several right outcomes."""
        self.seen[what] = self.seen.get(what, 0) + 1

    def time(self, what: str, seconds: float) -> None:
        """Record how long ``what`` took."""
        self.measure(f"{what}, s", seconds)

    def measure(self, what: str, value: float) -> None:
        """Record a value; ``what`` names its unit."""
        self.measured.setdefault(what, []).append(value)

    def summary(self) -> dict:
        """Return the content of the report."""
        measured = {
            what: {"median": round(statistics.median(all_), 4), "max": round(max(all_), 4), "count": len(all_)}
            for what, all_ in self.measured.items()
        }
        return {
            "runs": self.runs,
            "survived": self.runs - len(self.failures),
            "outcomes": dict(sorted(self.seen.items())),
            "measured": measured,
            "failures": self.failures,
        }

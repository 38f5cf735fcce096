"""Reading a journal: the lines that can be read, and the steps and epochs that count, each once."""

from pathlib import Path
from typing import Any

from distlenet import bounded

Line = dict[str, Any]


def read_lines(path: Path) -> tuple[list[Line], int]:
    """Return the good lines of the journal ``path`` and the number of the others; raises OSError."""
    lines, damaged = [], 0
    for text in bounded.lines(path):
        try:
            line = bounded.parse_json(text)
            lines.append(line | {"kind": str(line["kind"])})
        except (ValueError, TypeError, KeyError):  # TypeError: longer than any line, or no object
            damaged += 1
    return lines, damaged


def counting(lines: list[Line], kind: str) -> list[Line]:
    """Return those of ``lines`` of ``kind``, "step" or "epoch", that led to where the run is, in order.

    A run that was gone on with from an earlier point, or went back by itself, does steps again. Its journal is cut
    there; where that failed, or when a kill left both, the later line counts.
    """
    found: list[Line] = []
    for line in lines:
        steps = number(line, "steps")
        again, back = line["kind"] == kind, line["kind"] in ("start", "divergence")
        if steps is None or not (again or back):
            continue
        while found and (found[-1]["steps"] > steps or (again and found[-1]["steps"] == steps)):
            found.pop()
        found += [line] * again
    return found


def number(entry: Line, *keys: str) -> float | None:
    """Return the finite number at ``entry[key][key]...``, None if there is none."""
    value: Any = entry
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    good = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300
    return float(value) if good else None

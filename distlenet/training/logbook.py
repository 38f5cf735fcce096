"""Reading a journal: the lines that can be read, and the steps and epochs that count, each once.

A journal may come from anybody. Of each line only what a run writes is kept, so that a journal takes little more than
its size, and there are no more lines of each kind than in the longest of runs.
"""

import math
from dataclasses import fields
from pathlib import Path
from typing import Any

from distlenet import bounded
from distlenet.training.events import EpochDone, Notice, RunStarted, Score, StepDone

Line = dict[str, Any]
EVENTS = (StepDone, EpochDone, RunStarted, Notice, Score)
KNOWN = {name: name for name in ("kind", "steps", "status", *(f.name for event in EVENTS for f in fields(event)))}
MOST = {"step": 1_000_000, "epoch": 100_000}  # lines of a kind
MOST_OTHERS = 10_000  # starts, notices, ends
LONGEST_TEXT = 2000  # characters
MOST_ENTRIES = 30  # of an object within a line
STEP = '{"kind": "step", '  # as a run begins such a line


def read_lines(path: Path, steps: bool = True) -> tuple[list[Line], int]:
    """Return the good lines of the journal ``path`` and the number of the others; without ``steps``, not these.

    Raises OSError, also where it has more lines than a run writes.
    """
    lines, damaged, counts = [], 0, {"step": 0, "epoch": 0, "": 0}
    for text in bounded.lines(path):
        if not steps and text is not None and text.startswith(STEP):
            continue
        try:
            line = _kept(bounded.parse_json(text))
        except (ValueError, TypeError, KeyError):  # TypeError: longer than any line, or no object
            damaged += 1
            continue
        kind = line["kind"] if line["kind"] in MOST else ""
        counts[kind] += 1
        if counts[kind] > (most := MOST.get(kind, MOST_OTHERS)):
            raise bounded.too_long(path, f"{most:,} lines of {f'kind {kind}' if kind else 'other kinds'}")
        lines.append(line)
    return lines, damaged


def _kept(line: Any) -> Line:
    """Return what a run writes of ``line``, a line of a journal; raises TypeError, KeyError if it is none."""
    kind = str(line["kind"])[:LONGEST_TEXT]
    return {KNOWN[key]: short(value) for key, value in line.items() if key in KNOWN} | {"kind": KNOWN.get(kind, kind)}


def short(value: Any, inside: bool = False) -> Any:
    """Return ``value`` of a line: a number, a short text or an object of these; None for anything else."""
    if isinstance(value, float) or value is None:
        return value
    if isinstance(value, str):
        return value[:LONGEST_TEXT]
    if isinstance(value, int):
        return value if abs(value) < 2**63 else math.inf
    if isinstance(value, dict) and not inside:
        kept = list(value.items())[:MOST_ENTRIES]
        return {KNOWN.get(key, key): short(entry, True) for key, entry in kept if len(key) <= LONGEST_TEXT}
    return None


def counting(lines: list[Line], kind: str) -> list[Line]:
    """Return those of ``lines`` of ``kind``, "step" or "epoch", that led to where the run is, in order.

    A run that is resumed from an earlier point, or goes back by itself, does steps again: the later line counts, and
    none of a step or epoch after the one that it went back to.
    """
    found: list[Line] = []
    for line in lines:
        steps = number(line, "steps")
        again, back = line["kind"] == kind, line["kind"] in ("start", "divergence", "back")
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

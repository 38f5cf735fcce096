"""The timeline of a run: what every rank did and when, as a file that Perfetto and chrome://tracing open.

The file is a JSON object in the trace-event format: a process for each rank, and a complete event ("ph": "X", times in
microseconds) on each line, in the order of their starts. Events that lie within others are their parts.
"""

import json
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from time import perf_counter_ns as now  # monotonic: it never jumps, whatever happens to the time of day
from typing import Any, ParamSpec, TypeVar

import numpy as np

from distlenet.bounded import head

NAME = "trace.json"  # in the run directory
START = '{"otherData":{"generator":"distlenet",'  # of the file

P = ParamSpec("P")
R = TypeVar("R")


class Tracer:
    """Records the spans of time in which this process did something, in nanoseconds of its own clock.

    A span costs two readings of the clock and three entries of a list. It is recorded when it ends, also by an error.

    ``add((name, start, end))`` records a span, ``with span(name):`` a block of code that does not contain itself.
    """

    def __init__(self) -> None:
        # name, start, end, name, start, ...: a flat list gives the garbage collector no tuples to look after
        self._spans: list[Any] = []
        self.add: Callable[[tuple[str, int, int]], None] = self._spans.extend
        self.span: Callable[[str], AbstractContextManager[None]] = _Blocks(self.add).__getitem__

    def timed(self, name: str, function: Callable[P, R]) -> Callable[P, R]:
        """Return ``function``, each call of which is recorded as ``name``."""
        add = self.add

        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            start = now()
            try:
                return function(*args, **kwargs)
            finally:
                add((name, start, now()))

        return call

    def clear(self) -> None:
        """Forget all spans."""
        self._spans.clear()

    def lines(self, process: int, label: str, aligned: Callable[[np.ndarray], np.ndarray]) -> str:
        """Return the events of the process number ``process``, called ``label``: a line each, ends of lines between.

        They are in the order of their starts, a span before its parts. ``aligned`` turns readings of this process's
        clock into nanoseconds since the time that counts as zero; it must keep their order.
        """
        facts = {
            "process_name": {"name": label},
            "process_sort_index": {"sort_index": process},
            "thread_name": {"name": "training"},
        }
        lines = [
            json.dumps({"name": name, "ph": "M", "pid": process, "tid": 0, "args": facts[name]}, separators=(",", ":"))
            for name in facts
        ]
        names = self._spans[::3]
        forms = {name: self._form(name, process) for name in {*names}}
        # whole microseconds, rounded down: what lies within a span still does; all numbers in one call, for speed
        times = aligned(np.array([self._spans[1::3], self._spans[2::3]], np.int64)) // 1000
        # recorded when they ended, so of spans with the same times the later one is around the earlier one
        order = np.lexsort((-np.arange(len(names)), -times[1], times[0]))
        times[1] -= times[0]
        texts = [forms[names[place]] for place in order.tolist()]
        lines += [",\n".join(texts) % tuple(times[:, order].T.ravel().tolist())] * bool(names)
        return ",\n".join(lines)

    @staticmethod
    def _form(name: str, process: int) -> str:
        """Return the line of a span, with %d in place of its start and its length."""
        quoted = json.dumps(name).replace("%", "%%")
        return f'{{"name":{quoted},"ph":"X","pid":{process},"tid":0,"ts":%d,"dur":%d}}'


class _Block:
    """Records a block of code as ``name``, each time that it runs."""

    __slots__ = ("_add", "_name", "_start")

    def __init__(self, name: str, add: Callable[[tuple[str, int, int]], None]) -> None:
        self._name, self._add = name, add

    def __enter__(self) -> None:
        self._start = now()

    def __exit__(self, *error: object) -> None:
        self._add((self._name, self._start, now()))


class _Blocks(dict[str, _Block]):
    """A block for each name, made once."""

    def __init__(self, add: Callable[[tuple[str, int, int]], None]) -> None:
        super().__init__()
        self._add = add

    def __missing__(self, name: str) -> _Block:
        self[name] = block = _Block(name, self._add)
        return block


def as_file(parts: Iterable[memoryview], facts: dict[str, Any]) -> bytes:
    """Return the file of all ranks' ``parts``, UTF-8 (see ``Tracer.lines``); ``facts`` are shown as its metadata."""
    more = json.dumps(facts, separators=(",", ":"))[1:]
    start = f'{START}{more},"displayTimeUnit":"ms","traceEvents":[\n'
    return start.encode() + b",\n".join(parts) + b"\n]}\n"


def is_timeline(path: Path) -> bool:
    """Whether ``path`` is a timeline that a run wrote."""
    return (head(path, len(START)) or b"") == START.encode()

"""The contest: every peer in a process of its own, in turns of a fraction of a second, while all others are stopped.

Turns are short, because a machine is rarely quiet for long: each peer meets the same moments. The processes of the
others are stopped by a signal, because threads and ranks that wait may otherwise keep a core busy. A peer that cannot
be started, crashes or hangs is left out from then on, with the reason in its row.
"""

import contextlib
import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from distlenet.bench.peers.peer import Peer
from distlenet.launching.mpirun import mpirun_command, python_command
from distlenet.launching.scratch import Guardian, Scratch, scratch
from distlenet.processes import end_processes, identity, send

MARK = "DISTLENET_PEER"  # in the environment of a peer's processes, and of no others
BUILD, TURN = 300.0, 60.0  # seconds that a peer may take to start, and for a turn
SLICE = 0.25  # seconds of a turn


class PeerError(Exception):
    """A peer that is out of the contest; the text is the reason."""


@dataclass
class Row:
    """The result of a peer in one kind."""

    name: str
    kind: str
    ranks: int
    version: str = ""
    seconds: list[float] = field(default_factory=list)
    figures: dict[str, list[float]] = field(default_factory=dict)
    error: str | None = None


class Entrant:
    """A running peer, and its rows."""

    def __init__(self, peer: type[Peer], request: dict[str, Any], place: Scratch, number: int) -> None:
        ranks = len(request["cores"])
        name = f"{peer.name}, {ranks} ranks" if peer.by_mpirun else peer.name
        self.rows = [Row(name, kind, ranks) for kind in peer.kinds]
        self.name, self._read = name, b""
        value = f"{place.folders[0]}/{number}"
        self._mark, self._log = f"{MARK}={value}", Path(f"{value}.log")
        command = [*mpirun_command(ranks), "--"] if peer.by_mpirun else []
        words = {"module": peer.__module__, "peer": peer.__name__, **request}
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*command, *python_command("distlenet.bench.peers.child", json.dumps(words))],
                env={**place.environment, MARK: value},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,  # Ctrl-C ends the contest, which then ends the peers
            )

    def prepare(self) -> None:
        """Wait until the peer is built; estimates how many calls fit into a turn."""
        with self._taking_part():
            version = self._answer(BUILD)["version"]
            for row in self.rows:
                row.version = version
            self._calls = {row.kind: SLICE / median(self._ask(row.kind, 3)["seconds"]) for row in self.rows}

    def take_turn(self, most: int) -> None:
        """Run every kind for SLICE seconds, but at least 2 and at most ``most`` times."""
        if self.error:
            return
        with self._taking_part():
            send(self._mark, signal.SIGCONT)
            for row in self.rows:
                answer = self._ask(row.kind, min(most, max(2, int(self._calls[row.kind]))))
                row.seconds += answer["seconds"]
                for name, figure in answer["figures"].items():
                    row.figures.setdefault(name, []).append(figure)

    @property
    def error(self) -> str | None:
        """Why it is out of the contest, or None."""
        return self.rows[0].error

    @contextlib.contextmanager
    def _taking_part(self) -> Iterator[None]:
        """Stop the peer's processes after the block; end them if it fails."""
        try:
            yield
            send(self._mark, signal.SIGSTOP)
        except PeerError as error:
            self.close()
            for row in self.rows:
                row.error = str(error)

    def close(self) -> None:
        """End the peer's processes."""
        end_processes(self._mark)
        for stream in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                stream.close()  # type: ignore[union-attr]
        self._process.wait()

    def _ask(self, kind: str, count: int) -> dict[str, Any]:
        with contextlib.suppress(OSError):  # it has ended: _answer tells why
            os.write(self._process.stdin.fileno(), f"{kind} {count}\n".encode())  # type: ignore[union-attr]
        return self._answer(TURN)

    def _answer(self, patience: float) -> dict[str, Any]:
        """Return its next line; raises PeerError if it ends first, or is silent for ``patience`` seconds."""
        pipe, until = self._process.stdout.fileno(), time.monotonic() + patience  # type: ignore[union-attr]
        while b"\n" not in self._read:
            if not select.select([pipe], [], [], max(0.0, until - time.monotonic()))[0]:
                raise PeerError(f"no answer in {patience:g} s")
            more = os.read(pipe, 2**16)
            if not more:
                raise PeerError(self._ending())
            self._read += more
        line, _, self._read = self._read.partition(b"\n")
        return json.loads(line)

    def _ending(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(2)
        code = self._process.poll()
        how = f"signal {signal.Signals(-code).name}" if code and code < 0 else f"exit code {code}"
        lines = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return f"ended with {how}: {lines[-1].strip()[:300] if lines else 'without a message'}"


def hold(
    entries: Iterable[tuple[type[Peer], dict[str, Any]]], rounds: int, steps: int, tell: Callable[[str], object]
) -> list[Row]:
    """Start each peer with its request (see ``peers/child.py``), let them take turns, and return all rows.

    In each of ``rounds`` rounds a peer is called at most ``steps`` / ``rounds`` times. ``tell`` is given the progress.
    """
    with Guardian() as guardian, scratch(identity(), None) as place:
        guardian.watch(place)
        entrants = []
        for number, (peer, request) in enumerate(entries):
            tell(f"starting {peer.name}")
            entrants.append(Entrant(peer, request, place, number))
            entrants[-1].prepare()
        for turn in range(rounds):
            tell(f"round {turn + 1} of {rounds}")
            for entrant in entrants:
                entrant.take_turn(-(-steps // rounds))
        for entrant in entrants:
            entrant.close()
        guardian.watch(None)
    return [row for entrant in entrants for row in entrant.rows]

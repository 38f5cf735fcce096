"""A job of ranks to run: its size, its hosts, and the command line that starts it."""

import contextlib
import re
import signal
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from distlenet.launching.mpirun import mpirun_command, python_command, which_mpi
from distlenet.streams import clean

SAVING = ("train", "repeat", "compare")  # the commands that handle SIGUSR1
ERROR = re.compile(r"(?:\[rank \d+/\d+\] )?distlenet: error: (.*)")  # a line by which a rank reports why it ends


@dataclass(frozen=True)
class Job:
    """A job to run. ``arguments`` are those of distlenet: ("train", "--run", ...).

    ``output`` is called with each line that the job prints; None: it prints on the streams of this process.
    """

    ranks: int
    arguments: list[str]
    run: Path | None = None  # the run directory of a training, which is resumed after a restart
    hosts: str | None = None
    fault_tolerance: bool = True
    stall_after: float = 60.0
    output: Callable[[str], object] | None = None
    variables: Mapping[str, str] = field(default_factory=dict)  # of the environment, besides those of this process
    module: str = "distlenet"  # the ranks' program
    starter: tuple[str, ...] = ()  # words that start ranks in an allocation of a cluster, without the number of ranks
    returns: bool = True  # a lost rank of a training is replaced

    @property
    def survives_losses(self) -> bool:
        """Whether it continues when ranks are lost."""
        return self.fault_tolerance and self.ranks > 1 and which_mpi().survives_losses

    @property
    def saves(self) -> bool:
        """Whether its ranks save when they get SIGUSR1; others would end."""
        return self.arguments[0] in SAVING

    @property
    def is_here(self) -> bool:
        """Whether all its ranks are on this host."""
        return self.hosts is None and not self.starter

    @property
    def carrier(self) -> signal.Signals:
        """The signal that its mpirun forwards and that asks the ranks to save and end.

        On SIGTERM, Open MPI's mpirun soon kills the ranks; it forwards only SIGUSR2. MPICH's forwards only SIGTERM.
        srun forwards both.
        """
        by_srun = bool(self.starter) and Path(self.starter[0]).name == "srun"
        return signal.SIGUSR2 if by_srun or which_mpi().is_open_mpi else signal.SIGTERM

    def command(self, arguments: Iterable[str], variables: Iterable[str]) -> list[str]:
        """Return the command line that starts the ranks with ``arguments``; ``variables`` are exported to other hosts.

        Raises LaunchError, UsageError.
        """
        start = [*self.starter, "-n", str(self.ranks)]
        if not self.starter:
            start = mpirun_command(self.ranks, self.hosts, self.survives_losses, self.stall_after, variables)
        return [*start, *python_command(self.module, *arguments)]

    def say(self, text: str) -> None:
        """Print a message of the launcher where the ranks print."""
        if self.output:
            self.output(f"distlenet launch: {clean(text)}\n")
        else:
            say(text)


def say(text: str) -> None:
    """Print a message of the launcher on stderr, marked to tell it from the ranks' output."""
    with contextlib.suppress(OSError, ValueError):  # a closed terminal must not end the job
        print(f"distlenet launch: {clean(text)}", file=sys.stderr, flush=True)

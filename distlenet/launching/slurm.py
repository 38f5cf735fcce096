"""The allocation of Slurm that this process runs in, and the command that starts ranks there.

In it, ranks are started as ``scripts/slurm-job.sh`` starts them: by the words of ``DISTLENET_LAUNCHER``, for example
"srun --mpi=pmix", else by mpirun, which asks Slurm for the hosts.
"""

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from distlenet.launching.mpirun import which_mpi

WORDS = "DISTLENET_LAUNCHER"


@dataclass(frozen=True)
class Allocation:
    """The room for ranks in an allocation."""

    tasks: int
    words: tuple[str, ...]  # start ranks, without their number
    variables: Mapping[str, str] = field(default_factory=dict)  # for the environment of a job

    def starter(self, ranks: int) -> tuple[str, ...]:
        """Return the words that start ``ranks`` ranks; their number follows. More than ``tasks`` share cores."""
        if ranks <= self.tasks or not self.words:
            return self.words
        if Path(self.words[0]).name == "srun":
            return (*self.words, "--overcommit")
        waiting = ("--mca", "mpi_yield_when_idle", "1", "--map-by", ":OVERSUBSCRIBE")
        return (*self.words, *(waiting if which_mpi().is_open_mpi else ()))


def find_allocation(environment: Mapping[str, str] = os.environ) -> Allocation | None:
    """Return the allocation that ``environment`` describes, None outside of one; raises LaunchError without an MPI."""
    if "SLURM_JOB_ID" not in environment:
        return None
    tasks = int(environment.get("SLURM_NTASKS", "1"))
    if words := shlex.split(environment.get(WORDS, "")):
        return Allocation(tasks, tuple(words), {"SLURM_KILL_BAD_EXIT": "1"})  # srun ends all ranks when one dies
    mpirun = which_mpi()
    alone = environment.get("SLURM_JOB_NUM_NODES", "1") == "1"
    # on one node, Open MPI's mpirun would end at a TERM without informing its ranks
    return Allocation(tasks, (mpirun.path,), {"PRTE_MCA_plm": "ssh"} if alone and mpirun.is_open_mpi else {})

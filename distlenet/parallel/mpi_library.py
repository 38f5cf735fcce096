"""The MPI library that mpi4py loads, found without starting MPI.

Call ``loaded_library`` inside a rank. Run as a program, this module prints one line of JSON, for callers that must not
load MPI themselves or must survive a broken one.
"""

import json
from importlib.metadata import version

from distlenet.processes import mapped_files


def loaded_library() -> dict[str, str]:
    """Return mpi4py's version and the MPI library's name, version, standard and file ("?" if unknown).

    Raises ImportError without mpi4py, RuntimeError if mpi4py finds no library.
    """
    import mpi4py

    mpi4py.rc.initialize = False  # no effect inside a rank, where MPI has already started
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

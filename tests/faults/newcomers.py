"""New ranks that go wrong: programs that run in a process which is to join a run, and in no other rank."""

import os
import textwrap
from pathlib import Path

import mpi_jobs

STARTS = "{}"  # as soon as Python runs
PREPARES = "from distlenet.runs import session\nsession.set_up = lambda *_: {}"  # MPI has started
JOINS = """from distlenet.training.crew import Crew
join = Crew.join
def called(self):
    from distlenet.parallel import mpi_return
    receive = mpi_return.receive
    def then(pair, peer):
        receive(pair, peer)
        {}
    mpi_return.receive = then
    join(self)
Crew.join = called
"""  # the others take it in
DEATHS = {
    "exit": "os._exit(1)",
    "kill": "os.kill(os.getpid(), signal.SIGKILL)",
    "stop": "os.kill(os.getpid(), signal.SIGSTOP)",
}


def only_newcomers(folder: Path, program: str) -> dict[str, str]:
    """Return the environment of a job in which ``program`` runs at the start of each process that is to join."""
    return at_start(folder, '"DISTLENET_JOINS" in os.environ', program)


def only_first_ranks(folder: Path, program: str) -> dict[str, str]:
    """Return the environment of a job in which ``program`` runs at the start of each rank that mpirun starts."""
    return at_start(folder, '"OMPI_COMM_WORLD_RANK" in os.environ and "DISTLENET_JOINS" not in os.environ', program)


def at_start(folder: Path, condition: str, program: str) -> dict[str, str]:
    """Return the environment of a job in whose Python processes ``program`` runs if ``condition`` holds."""
    text = f"import os, signal, sys\nif {condition}:\n{textwrap.indent(program, '    ')}\n"
    (folder / "sitecustomize.py").write_text(text)
    return {"PYTHONPATH": f"{folder}{os.pathsep}{mpi_jobs.ROOT}"}

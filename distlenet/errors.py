"""The errors a user can meet: each is one sentence on the terminal with its own exit code.

A message names the fault, the place, the value found, the value expected, and the remedy.
Any other exception is a bug and keeps its traceback.
"""

import shlex
import signal
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Self

from distlenet.streams import clean

# other programs' names for our options and settings: the first that exists is suggested
ALIASES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("learning-rate", "learn-rate", "base-lr", "eta"), ("lr",)),
    **dict.fromkeys(("batch", "bs", "global-batch-size", "mini-batch-size"), ("batch-size",)),
    **dict.fromkeys(("num-epochs", "n-epochs", "max-epochs"), ("epochs",)),
    **dict.fromkeys(("output", "output-dir", "out-dir", "out", "save-dir", "log-dir", "logdir"), ("run", "out", "to")),
    **dict.fromkeys(("dataset", "data-dir", "data-path", "dataset-path"), ("data", "from")),
    **dict.fromkeys(("network", "arch", "net"), ("model",)),
    **dict.fromkeys(("wd", "l2", "decay-weights"), ("weight-decay",)),
    **dict.fromkeys(("grad-clip", "clip-norm", "max-grad-norm", "gradient-clip"), ("clip",)),
    "eps": ("epsilon",),
    **dict.fromkeys(("lr-schedule", "scheduler", "lr-scheduler"), ("schedule",)),
    **dict.fromkeys(("save-every", "checkpoint-interval"), ("checkpoint-every",)),
    **dict.fromkeys(("continue", "restart", "checkpoint", "load"), ("resume",)),
    **dict.fromkeys(("np", "nproc", "num-processes", "processes"), ("ranks",)),
    **dict.fromkeys(("random-seed", "rng-seed"), ("seed",)),
}
DESTRUCTIVE = {"overwrite", "force"}  # never suggested for a mistyped option


class DistlenetError(Exception):
    """Base of all expected errors; the process ends with ``exit_code``."""

    exit_code = 1
    agreed = False  # True once every rank knows of it: all exit cleanly
    reported = False  # True if another process reports it: one sentence for the whole job

    def of_every_rank(self) -> Self:
        """Mark the error as agreed and return it: `raise SomeError(...).of_every_rank()`.

        Do not keep the error in a variable: its traceback refers to the function's frame, so the two would keep each
        other and all local arrays in memory.
        """
        self.agreed = True
        return self


class UsageError(DistlenetError):
    """A wrong option or argument on the command line."""

    exit_code = 2


class ConfigError(DistlenetError):
    """A setting that is unknown, of the wrong type, out of range or in conflict with another."""

    exit_code = 3


class UntrustedCodeError(ConfigError):
    """A file names user code that the command line neither names nor trusts."""


class OwnCodeError(ConfigError):
    """User code fails during a run, or returns an invalid result."""


class DataError(DistlenetError):
    """A dataset that is missing, damaged, in another format, or does not fit the network."""

    exit_code = 4


class CheckpointError(DistlenetError):
    """A checkpoint that is missing, damaged, or belongs to another network or run."""

    exit_code = 5


class NewerFormatError(CheckpointError):
    """A checkpoint written by a newer version: it is not damaged, so no older checkpoint is used instead."""


class RunDirectoryError(DistlenetError):
    """A run directory that cannot be written, is in use, or already holds a run."""

    exit_code = 6


class LaunchError(DistlenetError):
    """A launcher or MPI installation that does not fit, or more ranks than shards."""

    exit_code = 7


class NonFiniteError(DistlenetError):
    """A NaN or infinity in the loss or gradient of a step; all ranks see it in the sum."""

    exit_code = 8
    agreed = True
    kind = "non-finite"


class DivergedError(DistlenetError):
    """A run that learns nothing (``kind`` "dead") or whose loss has shot up ("spike")."""

    exit_code = 14
    agreed = True

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


class ReplicaError(DistlenetError):
    """Ranks whose parameters differ."""

    exit_code = 10
    agreed = True


class AuditError(ReplicaError):
    """Ranks that computed different bits from the same images and parameters: a core or a memory is faulty."""


class RanksLost(DistlenetError):
    """Ranks died or became unreachable; the others may recover."""

    exit_code = 11


class Stopped(DistlenetError):
    """A run that was asked to end by signal ``number``: all ranks leave at the same step, with everything saved."""

    agreed = True

    def __init__(self, number: int, text: str = "") -> None:
        super().__init__(text or f"stopped by {signal.Signals(number).name}")
        self.number = number
        self.exit_code = 128 + number


class Interrupted(Stopped, KeyboardInterrupt):
    """A run ended by Ctrl-C or a notebook's stop button; the Python API raises it once the run is saved."""


class PictureError(DistlenetError):
    """A picture that cannot be read, or that shows nothing to recognise."""

    exit_code = 12


class SeveralDigits(PictureError):
    """A picture of several digits where one was expected; the caller adds the advice."""

    def __init__(self, count: int) -> None:
        super().__init__(f"the picture looks like {count} digits, not one")
        self.count = count


class CallbackError(DistlenetError):
    """A user's callback raised an error: the run is saved and ends. On the root, ``__cause__`` is that error."""

    exit_code = 18
    agreed = True


class ExportError(DistlenetError):
    """A network that another format cannot hold, or a file of it that cannot be written."""

    exit_code = 13


class PageError(DistlenetError):
    """A page that cannot be served at the requested address."""

    exit_code = 15


class VerificationError(DistlenetError):
    """A run whose files contradict each other, or whose bits differ when it is computed again."""

    exit_code = 19


class UnjudgedError(DistlenetError):
    """A run that cannot be verified here: it was computed with other numerics, or its settings were changed."""

    exit_code = 20


class OutputError(DistlenetError):
    """A result that could not be written to standard output, for example because the disk is full."""

    exit_code = 17  # not 16, which MPICH's mpirun uses


class DownloadError(DistlenetError):
    """A download that failed: no network, a broken transfer, or a file with the wrong checksum."""

    exit_code = 9


def report(error: DistlenetError) -> int:
    """Print the error's sentence, unless another process reports it; return its exit code."""
    if not error.reported:
        print(f"distlenet: error: {clean(error)}", file=sys.stderr, flush=True)
    return error.exit_code


def nearest(word: str, choices: Iterable[object]) -> str:
    """Return ``" (did you mean 'x'?)"`` for the choice most like ``word``, or an empty string.

    Names in ALIASES count as matches; destructive options are suggested only through ALIASES.
    """
    from difflib import get_close_matches

    known = {_plain(str(choice)): str(choice) for choice in choices}
    found = [name for name in ALIASES.get(_plain(word), ()) if name in known]
    found = found or get_close_matches(_plain(word), known.keys() - DESTRUCTIVE, n=1, cutoff=0.5)
    return f" (did you mean {known[found[0]]!r}?)" if found else ""


def _plain(name: str) -> str:
    """Return the name of an option or setting as spelled in ALIASES."""
    return name.lstrip("-").replace("_", "-")


def missing_extra(what: str, library: str, extra: str) -> str:
    """Return the sentence that ``what`` needs ``library``, with the command that installs ``extra``."""
    root = Path(__file__).resolve().parent.parent
    checkout = (root / "pyproject.toml").exists()
    package = shlex.quote(f"{root if checkout else 'distlenet'}[{extra}]")
    command = f"{shlex.quote(sys.executable)} -m pip install {'-e ' * checkout}{package}"
    return f"{what} needs {library}, which is not installed: install it with `{command}`"

"""Permission to run code of the user's own: given by the command line, never by a file.

A checkpoint, a TOML file or a run directory may come from anybody, and each can name a network that lives in a file.
Such code is run only if the command line names it, or trusts it by ``--trust-code``. ``build_custom`` asks ``admit``
before it loads anything, and without a Trust nothing is admitted: who forgets to hand one on runs no code.
"""

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePath

from distlenet.errors import UntrustedCodeError
from distlenet.nn.source import Source, find_source

LONGEST = 1000  # characters of a name


@dataclass(frozen=True)
class Trust:
    """What code may run: that of ``named``, as the command line names it; with ``files``, whatever a file names.

    ``command`` are the words of the command line, which a refusal repeats with what is missing. ``tell`` is called
    with what the user should know.
    """

    named: str | None = None
    files: bool = False
    command: tuple[str, ...] = ()
    tell: Callable[[str], None] = lambda text: None

    def admit(self, model: str) -> Source:
        """Return where the code of ``model`` is, which may be run; raises UntrustedCodeError."""
        if model == self.named:
            return find_source(model)
        if problem := _malformed(model):
            raise UntrustedCodeError(f"a file names the code {model[:LONGEST]!r} as its network: {problem}")
        source = find_source(model)
        if outside := _leads_outside(source.place):
            raise UntrustedCodeError(
                f"a file names {source} as its network: {outside}, and a file may only name code in the working "
                f"directory; if you trust it: {self._again('--model', model)}"
            )
        if not self.files:
            raise UntrustedCodeError(
                f"a file names {source} as its network, which your command line does not: it is not run; if you trust "
                f"it: {self._again('--model', model)}"
            )
        if source.sha256:
            self.tell(f"running {source}, trusted by --trust-code")
        return source

    def _again(self, *words: str) -> str:
        """Return the command line with ``words`` added to it."""
        command, *rest = self.command or ("COMMAND", "...")
        return f"distlenet {shlex.join([command, *words])} {shlex.join(rest)}".rstrip().replace(" ...", "")


NOTHING = Trust()


def _malformed(model: str) -> str:
    """Return what is wrong with a name that stands in a file, "" if nothing is."""
    place, _, function = model.rpartition(":")
    if len(model) > LONGEST or not model.isprintable():
        return f"expected at most {LONGEST} printable characters"
    module = all(part.isidentifier() for part in place.split("."))
    if not function.isidentifier() or not (place.removesuffix(".py") if place.endswith(".py") else module):
        return "expected FILE.py:FUNCTION or MODULE:FUNCTION"
    return ""


def _leads_outside(place: str) -> str:
    """Return why the file ``place`` is outside the working directory, "" if it is not, or is a module."""
    path = PurePath(place)
    if not place.endswith(".py"):
        return ""
    return "its path is absolute" if path.is_absolute() else "its path has '..'" if ".." in path.parts else ""

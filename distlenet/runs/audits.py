"""What all ranks must have in common before a run starts, although each reads it for itself.

A rank may be given another command line, see another file under the same name, or run other code. Left alone, it
would train a network of its own, and the run would end as if all were well. ``compare_ranks`` is the one place where
ranks are compared; the functions below it list what is. Numerics and versions may differ: the user is warned.
"""

import hashlib
import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py

import distlenet
from distlenet.config import Config
from distlenet.data.file.dataset_file import DigitFile
from distlenet.errors import CheckpointError, ConfigError, DataError, DistlenetError, LaunchError
from distlenet.nn import Net, list_layers
from distlenet.nn.fingerprint import hash_answer, hash_constants
from distlenet.numerics import numerics, sha256
from distlenet.own_files import PACKAGE, hash_code
from distlenet.parallel import Communicator

# Each rank may have its own: files that are compared by their content, what the settings are made of (they are
# compared as a whole), which code the user lets run, what the root calls, and the memory that a rank may use.
OWN_OPTIONS = ("data", "recipe", "config_file", "flags", "resume", "trust", "callbacks")
OWN_SETTINGS = ("memory_limit",)


@dataclass(frozen=True)
class Fact:
    """Something that ranks must have in common: ``what`` and its ``value`` (JSON); ``error``, ``advice``: if not."""

    what: str
    value: Any
    error: type[DistlenetError] = ConfigError
    advice: str = "start every rank with the same options, settings and files"


def compare_ranks(comm: Communicator, list_facts: Callable[[], list[Fact]]) -> None:
    """Raise the error of the first fact that a rank does not share with rank 0; the same on every rank."""
    if comm.size == 1:
        return
    facts = list_facts()
    rows = comm.allgather([os.uname().nodename, {fact.what: fact.value for fact in facts}])
    (first_host, expected), mine = rows[0], {fact.what: fact for fact in facts}
    for what in dict.fromkeys(what for _, found in rows for what in found):
        differing = [rank for rank, (_, found) in enumerate(rows) if found.get(what) != expected.get(what)]
        if not differing:
            continue
        rank = differing[0]
        others = f" (and {len(differing) - 1} more)" if len(differing) > 1 else ""
        name, found, usual = narrowed(what, rows[rank][1].get(what), expected.get(what))
        fact = mine.get(what) or Fact(what, None)
        raise fact.error(
            f"the ranks differ: rank {rank} on {rows[rank][0]}{others} has {name} {found}, rank 0 on {first_host} has "
            f"{usual}: {fact.advice}"
        ).of_every_rank()


def narrowed(what: str, found: Any, expected: Any) -> tuple[str, str, str]:
    """Return what differs and both values, in a few words: of lists and tables the first part that does."""
    pairs: list[tuple[Any, Any, Any]] = []
    if isinstance(found, dict) and isinstance(expected, dict):
        pairs = [(key, found.get(key), expected.get(key)) for key in {**expected, **found}]
    elif isinstance(found, list) and isinstance(expected, list) and len(found) == len(expected):
        pairs = [(place, *pair) for place, pair in enumerate(zip(found, expected, strict=True), 1)]
    for key, one, other in pairs:
        if one != other:
            return narrowed(f"{what} {key}", one, other)
    return what, short(found), short(expected)


def short(value: Any) -> str:
    """Return a value to read: a hash by its first digits."""
    if isinstance(value, str) and len(value) == 64 and set(value) <= set("0123456789abcdef"):
        return value[:12]
    text = "none" if value is None else repr(value)
    return text if len(text) < 120 else text[:117] + "..."


def of_package() -> list[Fact]:
    """Return the program itself."""
    advice = "install the same version on every host"
    return [
        Fact("distlenet version", distlenet.__version__, LaunchError, advice),
        Fact("distlenet source", hash_package(), LaunchError, advice),
    ]


def hash_package(folder: Path = PACKAGE) -> str:
    """Return the SHA-256 of this package's source: the names and contents of its Python files."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(f"{path.relative_to(folder).as_posix()}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def of_options(options: dict[str, Any]) -> list[Fact]:
    """Return what a run is asked to do besides its settings. Of a checkpoint to resume, the root alone reads."""
    given = {name: value for name, value in options.items() if name not in OWN_OPTIONS}
    given["resume"] = options["resume"] if options["resume"] in (None, "auto") else "PATH"
    return [Fact(f"option {name}", list(v) if isinstance(v, tuple) else v) for name, v in given.items()]


def of_settings(config: Config, label: str = "setting") -> list[Fact]:
    """Return the settings in effect, whatever file or option they come from."""
    return [Fact(f"{label} {name}", value) for name, value in config.to_dict().items() if name not in OWN_SETTINGS]


def of_dataset(digits: DigitFile) -> list[Fact]:
    """Return what decides which data it is, and how it is normalised."""
    advice = "copy the same file to every host"
    found = {
        "fingerprint": digits.fingerprint,
        "image shape": list(digits.image_shape),
        "classes": list(digits.class_names),
        "pixel mean": digits.mean,
        "pixel deviation": digits.std,
    }
    return [Fact(f"a dataset with {name}", value, DataError, advice) for name, value in found.items()]


def of_parameters(net: Net) -> list[Fact]:
    """Return the parameters that were read from a checkpoint."""
    advice = "copy the same checkpoint to every host"
    return [Fact("a checkpoint with parameters", sha256(net.theta), CheckpointError, advice)]


def of_network(comm: Communicator, model: str, net: Net) -> list[Fact]:
    """Return the network as it was built and initialised, and the code that built it if that is a user's own.

    Numbers that were computed are left out where the ranks' numerics are unlike: their last bits may differ, and
    all ranks take the root's parameters.
    """
    code = "copy the same code to every host"
    built = f"{model} must build the same network on every rank: let it draw nothing without a seed and ask for no host"
    facts = [
        Fact(f"{model} with the source of", hash_code(model), ConfigError, code),
        Fact(f"{model} with layer", list_layers(net), ConfigError, built),
    ]
    if len({str(row) for row in comm.allgather(numerics())}) == 1:
        facts.append(Fact(f"{model} with constants of layer", hash_constants(net), ConfigError, built))
        facts.append(Fact(f"{model} with initial parameters", sha256(net.theta), ConfigError, built))
        answers = comm.allgather(hash_answer(net) if ":" in model else None)
        if None not in answers:
            computed = f"{model} must compute the same on every rank: give every host the same files and environment"
            facts.append(Fact(f"{model} with an answer to the same images", answers[comm.rank], ConfigError, computed))
    return facts


def of_own_code(comm: Communicator, config: Config, parts: dict[str, Any]) -> list[Fact]:
    """Return the code of the user's own besides the network, and what it answered when it was tried.

    ``parts``: what was made of it, by the name of the setting. The answers are left out where the ranks' numerics are
    unlike.
    """
    alike, facts = len({str(row) for row in comm.allgather(numerics())}) == 1, []
    for setting, name in config.code.items():
        if setting in parts:
            code, computed = "copy the same code to every host", "it must compute the same on every rank"
            facts.append(Fact(f"{name} with the source of", hash_code(name), ConfigError, code))
            answer = parts[setting].answer if alike else None
            facts.append(Fact(f"{setting} {name} with a result", answer, ConfigError, computed))
    return facts


def of_callbacks(names: Sequence[str]) -> list[Fact]:
    """Return the callbacks that the command line names, and their code: any rank may become the root."""
    code = "copy the same code to every host"
    facts = [Fact(f"callback {name} with the source of", hash_code(name), ConfigError, code) for name in names]
    return [Fact("option callback", list(names)), *facts]


def compare_numerics(comm: Communicator) -> tuple[bool, list[str]]:
    """Return whether all ranks compute with the same numerics, and warnings: of unlike ones, of unlike versions, of
    crowded cores.
    """
    versions = {"Python": platform.python_version(), "h5py": h5py.__version__, "MPI": comm.description}
    rows = comm.allgather([os.uname().nodename, numerics(), os.cpu_count(), versions])
    warnings = []
    unlike = [rank for rank, row in enumerate(rows) if row[1] != rows[0][1]]
    if unlike:
        warnings.append(
            f"ranks {', '.join(map(str, unlike))} compute with other numerics than rank 0 "
            f"({rows[unlike[0]][1]} against {rows[0][1]}): the last bits will differ from those of a run on like hosts"
        )
    for rank, (host, _, _, found) in enumerate(rows):
        if found != rows[0][3]:
            name, one, other = narrowed("", found, rows[0][3])
            warnings.append(f"rank {rank} on {host} has{name} {one}, rank 0 on {rows[0][0]} has {other}")
            break
    for host in dict.fromkeys(row[0] for row in rows):
        threads = sum(row[1]["threads"] or 1 for row in rows if row[0] == host)
        cores = next(row[2] for row in rows if row[0] == host)
        if threads > cores:
            warnings.append(f"{host}: {threads} BLAS threads over all ranks, but {cores} cores: expect it to be slow")
    return not unlike, warnings

"""Comparing the ranks before a run starts: each reads options, data and code by itself, and all must agree.

A rank may get another command line, see another file under the same name, or run other code. It would then train a
different network, and nobody would notice. ``compare_ranks`` does the comparison; the functions below it list the facts
to compare. Numerics and versions may differ; the user is warned.
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
from distlenet.numerics import decisive, numerics, sha256
from distlenet.own_files import PACKAGE, hash_code
from distlenet.parallel import Communicator

# These may differ between ranks: files compared by their content, the sources of the settings (compared as a whole),
# which user-defined code may run, the root's callbacks, and the memory limit.
OWN_OPTIONS = ("data", "recipe", "config_file", "flags", "resume", "trust", "callbacks")
OWN_SETTINGS = ("memory_limit",)


@dataclass(frozen=True)
class Fact:
    """A fact that must be equal on all ranks: its name ``what`` and ``value`` (JSON), and the error if it differs."""

    what: str
    value: Any
    error: type[DistlenetError] = ConfigError
    advice: str = "start every rank with the same options, settings and files"


def compare_ranks(comm: Communicator, list_facts: Callable[[], list[Fact]]) -> list[Fact]:
    """Return the facts if they are the same on all ranks; a process whose number of ranks cannot change lists none.

    Raises the error of the first fact that differs from rank 0's on any rank; the same error on every rank.
    """
    if comm.size == 1 and not comm.survives_losses:
        return []
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
    return facts


def judge_newcomer(facts: list[Fact], found: dict[str, Any]) -> str | None:
    """Return why a process with the facts ``found`` does not fit into a run with ``facts``, or None if it does."""
    for fact in facts:
        if found.get(fact.what) != fact.value:
            name, one, other = narrowed(fact.what, found.get(fact.what), fact.value)
            return f"it has {name} {one}, the run has {other}: {fact.advice}"
    return None


def of_host(comm: Communicator, arithmetic: str) -> list[Fact]:
    """Return the facts that a new rank must share with those that train already."""
    advice = "a new rank needs a host like the others, with the same versions"
    versions = {**versions_here(comm), **decisive(numerics(arithmetic))}
    return [Fact(f"{name}", value, LaunchError, advice) for name, value in versions.items()]


def versions_here(comm: Communicator) -> dict[str, str]:
    """Return the versions of what a rank runs on."""
    mpi = comm.description.partition(",")[0]  # without the number of ranks
    return {"Python": platform.python_version(), "h5py": h5py.__version__, "MPI": mpi}


def narrowed(what: str, found: Any, expected: Any) -> tuple[str, str, str]:
    """Return the name of the difference and both values, shortened; for lists and dicts, of the first difference."""
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
    """Return a value for a message, shortened; a hash is cut to its first digits."""
    if isinstance(value, str) and len(value) == 64 and set(value) <= set("0123456789abcdef"):
        return value[:12]
    text = "none" if value is None else repr(value)
    return text if len(text) < 120 else text[:117] + "..."


def of_package() -> list[Fact]:
    """Return the facts about the program itself."""
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
    """Return the facts about a run's options other than settings. Only the root reads a checkpoint to resume from."""
    given = {name: value for name, value in options.items() if name not in OWN_OPTIONS}
    given["resume"] = options["resume"] if options["resume"] in (None, "auto") else "PATH"
    return [Fact(f"option {name}", list(v) if isinstance(v, tuple) else v) for name, v in given.items()]


def of_settings(config: Config, label: str = "setting") -> list[Fact]:
    """Return the effective settings, from whatever file or option they come."""
    return [Fact(f"{label} {name}", value) for name, value in config.to_dict().items() if name not in OWN_SETTINGS]


def of_dataset(digits: DigitFile) -> list[Fact]:
    """Return the facts that identify the dataset and its normalisation."""
    advice = "copy the same file to every host"
    found = {
        "fingerprint": digits.fingerprint,
        "image shape": list(digits.image_shape),
        "classes": list(digits.class_names),
        "pixel mean": digits.mean,
        "pixel standard deviation": digits.std,
    }
    return [Fact(f"a dataset with {name}", value, DataError, advice) for name, value in found.items()]


def of_parameters(net: Net) -> list[Fact]:
    """Return the hash of the parameters read from a checkpoint."""
    advice = "copy the same checkpoint to every host"
    return [Fact("a checkpoint with parameters", sha256(net.theta), CheckpointError, advice)]


def of_network(comm: Communicator, model: str, net: Net) -> list[Fact]:
    """Return the facts about the network as built and initialised, and about its code if it is user-defined.

    Computed numbers are left out if the ranks' numerics differ, because their last bits may differ then. All ranks take
    the root's parameters in any case.
    """
    code = "copy the same code to every host"
    built = f"{model} must build the same network on every rank: use a fixed seed, and do not depend on the host"
    facts = [
        Fact(f"{model} with the source of", hash_code(model), ConfigError, code),
        Fact(f"{model} with layer", list_layers(net), ConfigError, built),
    ]
    if _alike(comm, net.arithmetic.name):
        facts.append(Fact(f"{model} with constants of layer", hash_constants(net), ConfigError, built))
        facts.append(Fact(f"{model} with initial parameters", sha256(net.theta), ConfigError, built))
        answers = comm.allgather(hash_answer(net) if ":" in model else None)
        if None not in answers:
            computed = f"{model} must compute the same on every rank: give every host the same files and environment"
            facts.append(Fact(f"{model} with an answer to the same images", answers[comm.rank], ConfigError, computed))
    return facts


def of_own_code(comm: Communicator, config: Config, parts: dict[str, Any]) -> list[Fact]:
    """Return the facts about user-defined code other than the network: its source and the results of a trial.

    ``parts`` holds the objects made from it, by the name of the setting. The results are left out if the ranks'
    numerics differ.
    """
    facts: list[Fact] = []
    alike = _alike(comm, config.numerics)
    for setting, name in config.code.items():
        if setting in parts:
            code, computed = "copy the same code to every host", "it must compute the same on every rank"
            facts.append(Fact(f"{name} with the source of", hash_code(name), ConfigError, code))
            answer = parts[setting].answer if alike else None
            facts.append(Fact(f"{setting} {name} with a result", answer, ConfigError, computed))
    return facts


def _alike(comm: Communicator, arithmetic: str) -> bool:
    """Return whether all ranks compute the same bits with ``arithmetic``."""
    return len({str(row) for row in comm.allgather(decisive(numerics(arithmetic)))}) == 1


def of_callbacks(names: Sequence[str]) -> list[Fact]:
    """Return the callbacks that the command line names, and their code: any rank may become the root."""
    code = "copy the same code to every host"
    facts = [Fact(f"callback {name} with the source of", hash_code(name), ConfigError, code) for name in names]
    return [Fact("option callback", list(names)), *facts]


def compare_numerics(comm: Communicator, arithmetic: str = "native") -> tuple[bool, list[str]]:
    """Return whether all ranks compute the same bits with ``arithmetic``, and warnings: if not, if versions differ, or
    if there are too few cores.
    """
    rows = comm.allgather([os.uname().nodename, numerics(arithmetic), os.cpu_count(), versions_here(comm)])
    warnings = []
    unlike = [rank for rank, row in enumerate(rows) if decisive(row[1]) != decisive(rows[0][1])]
    if unlike:
        warnings.append(
            f"ranks {', '.join(map(str, unlike))} compute with other numerics than rank 0 "
            f"({rows[unlike[0]][1]} against {rows[0][1]}): the last bits will differ from those of a run on equal hosts"
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
            warnings.append(f"{host}: all ranks together have {threads} BLAS threads on {cores} cores: this is slow")
    return not unlike, warnings

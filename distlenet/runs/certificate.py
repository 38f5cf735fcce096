"""The certificate of a verification: its verdict as one sentence, and everything that the verdict rests on, as JSON."""

import hashlib
import json
import platform
import time
from pathlib import Path
from typing import Any

import h5py

import distlenet
from distlenet.errors import DistlenetError, UnjudgedError, VerificationError
from distlenet.numerics import numerics, sha256
from distlenet.parallel import Communicator
from distlenet.runs.evidence import Evidence
from distlenet.runs.rank_comparison import hash_package

FORMAT = 1
VERIFIED, SAMPLED, REFUSED, UNJUDGED = "verified", "verified in samples", "refused", "cannot judge"
NOT_COVERED = (
    *("times and speeds", "hosts, dates and commands", "notices"),
    *("postmortem/", "tensorboard/", "trace.json", "report/"),
)


def certify(
    evidence: Evidence, stretches: list[dict[str, Any]], faults: list[str], full: bool, comm: Communicator
) -> dict[str, Any]:
    """Return the certificate (JSON).

    Arguments:
        evidence: the content of the run directory.
        stretches: the fields of each Stretch, see verification.py.
        faults: phrases about files that contradict each other or the recomputation.
        full: whether all stretches were to be recomputed.
        comm: the ranks that verified.
    """
    newest = evidence.newest
    verdicts = [stretch["verdict"] for stretch in stretches]
    computed = verdicts.count("same bits") + verdicts.count("differs")
    verdict = VERIFIED if computed == len(stretches) else UNJUDGED if full or not computed else SAMPLED
    certificate = {
        "certificate": FORMAT,
        "verdict": REFUSED if faults else verdict,
        "run": str(evidence.path),
        "date": time.strftime("%Y-%m-%d %H:%M"),
        "stretches": [{**stretch, "stretch": of(stretch)} for stretch in stretches],
        "recomputed": computed,
        "odds_of_missing_one": 1 - computed / len(stretches),
        "faults": faults,
        "notes": evidence.notes,
        "not_covered": list(NOT_COVERED),
        "dataset": newest.meta["dataset"],
        "settings": newest.meta["config"],
        "position": {"steps": newest.progress.steps, "epochs": newest.progress.epoch},
        "theta_sha256": sha256(newest.theta),
        "best_theta_sha256": None if newest.best_theta is None else sha256(newest.best_theta),
        "summary": evidence.summary,
        "files": {str(path.relative_to(evidence.path)): file_sha256(path) for path in files(evidence)},
        "numerics": {
            "kind": newest.config.numerics,
            "of_the_run": newest.meta["numerics"],
            "here": numerics(newest.config.numerics),
        },
        "versions": {
            "distlenet": distlenet.__version__,
            "source_sha256": hash_package(),
            "python": platform.python_version(),
            "h5py": h5py.__version__,
            "ranks": comm.description,
        },
    }
    return json.loads(json.dumps({**certificate, "sentence": sentence(certificate)}))


def sentence(certificate: dict[str, Any]) -> str:
    """Return the verdict in words."""
    run, computed, total = certificate["run"], certificate["recomputed"], len(certificate["stretches"])
    native = certificate["numerics"]["kind"] == "native"
    if certificate["verdict"] == REFUSED:
        more = f" (and {len(certificate['faults']) - 1} more)" if len(certificate["faults"]) > 1 else ""
        return f"{run} is refused: {certificate['faults'][0]}{more}"
    if certificate["verdict"] == UNJUDGED:
        stretch = next(stretch for stretch in certificate["stretches"] if stretch["verdict"] == "not judged")
        where = " (native numerics give the same bits only where all of them are equal)" if native else ""
        return f"{run} cannot be judged here: {of(stretch)}: {stretch['why'][0]}{where}"
    how = f"all {total} stretches" if computed == total else f"{computed} of {total} stretches"
    numbers = "on the same numerics (native)" if native else "with portable numerics"
    text = f"{run} is verified: {how} end in the same bits, {numbers}"
    odds = certificate["odds_of_missing_one"]
    return text + (f"; a single forged stretch is missed with a probability of {odds:.0%}" if odds else "")


def error(certificate: dict[str, Any]) -> DistlenetError | None:
    """Return the error that the verification ends with, None if the run is verified."""
    kinds = {REFUSED: VerificationError, UNJUDGED: UnjudgedError}
    kind = kinds.get(certificate["verdict"])
    return kind(certificate["sentence"]) if kind else None


def of(stretch: dict[str, Any]) -> str:
    """Return the positions of a stretch in words: "step 430 to step 645"."""
    return f"{in_words(stretch['start'])} to {in_words(stretch['goal'])}"


def in_words(order: tuple[int, int, int]) -> str:
    """Return a position in words."""
    gone_back, steps, _ = order
    after = f" after {gone_back} divergence{'s' * (gone_back > 1)}" if gone_back else ""
    return f"step {steps}{after}" if steps else f"the start{after}"


def files(evidence: Evidence) -> list[Path]:
    """Return the files that were read."""
    names = ("config.toml", "journal.jsonl", "summary.json")
    there = [path for path in (evidence.path / name for name in names) if path.is_file()]
    return [*there, *(checkpoint.path for checkpoint in evidence.checkpoints)]


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

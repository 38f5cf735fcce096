"""Verification: stretches of a run are computed again from its own files, and compared bit by bit.

A stretch leads from one checkpoint to the next; the first one starts at the initial parameters. A checkpoint holds the
whole state. So if every stretch ends in the bits of its checkpoint, then the whole run, from its first step to its
last, is the one that its settings and its dataset determine. Nothing is written to the run.
"""

import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from math import inf
from pathlib import Path
from typing import Any

import numpy as np

from distlenet.errors import DistlenetError, DivergedError, NonFiniteError
from distlenet.numerics import difference, numerics
from distlenet.parallel import Communicator
from distlenet.parallel.agreement import on_root
from distlenet.runs.certificate import certify, of
from distlenet.runs.evidence import Evidence, Order, bare, differences, labelled, same, settings, unlike
from distlenet.runs.experiment import RunOptions, set_up
from distlenet.runs.lock import undisturbed
from distlenet.runs.rank_comparison import compare_numerics
from distlenet.runs.recomputation import Recomputation
from distlenet.runs.record import Line, short
from distlenet.training.signals import Signals

START: Order = (0, 0, 0)
TEST = "test_accuracy"  # a summary with it has the figures of the final test
STARTED = ("batch", "optimizer", "augmentation")  # facts of a start that the settings decide


@dataclass
class Stretch:
    """The part of a run from the position ``start`` to ``goal``, and the outcome.

    ``files``: the checkpoints at its goal; empty if only the summary tells of it: the run failed, could not be saved,
    or was resumed and killed later. ``verdict``: "same bits", "differs", "not judged" or "not sampled"; ``why``:
    phrases about it.
    """

    start: Order
    goal: Order
    files: list[str] = field(default_factory=list)
    verdict: str = "not sampled"
    why: list[str] = field(default_factory=list)


def verify(
    options: RunOptions,
    samples: int | None,
    comm: Communicator,
    signals: Signals,
    tell: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Recompute ``samples`` stretches of the run in ``options.run_directory``, None for all; return its certificate.

    Collective. The root calls ``tell`` with sentences about the progress. Raises on every rank: RunDirectoryError if
    the run is in progress, CheckpointError if a checkpoint is damaged or missing, DataError if the dataset is missing
    or another one, Stopped, and the errors of user-defined code.
    """
    path = Path(options.run_directory)
    evidence = Evidence(path)
    speak: Callable[[str], None] = silent
    with ExitStack() as stack:

        def read() -> None:
            nonlocal evidence, speak
            stack.enter_context(undisturbed(path / "lock"))
            evidence, speak = Evidence.read(path, options.trust), tell

        on_root(comm, read)
        experiment = set_up(options, comm, signals, comm.broadcast(evidence.origin))
        wanted = {line["steps"] for line in evidence.lines if line["kind"] == "step"}
        verifier = Verifier(evidence, Recomputation(experiment, comm, signals, wanted, speak), comm)
        with np.errstate(all="ignore"):
            verifier.judge(samples)
        stretches = list(map(asdict, verifier.stretches))
        full = samples is None
        certificate = certify(evidence, stretches, verifier.faults, full, comm) if evidence.checkpoints else None
        return comm.broadcast(certificate)


def silent(text: str) -> None:
    """Say nothing: ranks other than the root."""


class Verifier:
    """Recomputes and compares. All ranks compute; only the root has evidence to compare the results with."""

    def __init__(self, evidence: Evidence, again: Recomputation, comm: Communicator) -> None:
        self.evidence, self.again, self.comm = evidence, again, comm
        self.faults = list(evidence.contradictions())
        if evidence.checkpoints:
            claimed = evidence.newest.meta["dataset"]
            self.faults += unlike(
                claimed, same(asdict(again.experiment.dataset)), f"{evidence.newest.path.name}: dataset"
            )
        self._alike, _ = compare_numerics(comm, again.experiment.config.numerics)
        self.stretches = self._agreed(self._divide())

    def _agreed(self, stretches: list[Stretch]) -> list[Stretch]:
        """Return the root's ``stretches``."""
        rows = self.comm.broadcast([asdict(stretch) for stretch in stretches])
        return [Stretch(**{**row, "start": tuple(row["start"]), "goal": tuple(row["goal"])}) for row in rows]

    def _divide(self) -> list[Stretch]:
        """Return the stretches of the run, in order; those that cannot be judged here have their verdict already."""
        goals, end = self.evidence.orders, self.evidence.end
        stretches = [Stretch(*pair) for pair in zip([START, *goals], goals, strict=False)]
        if self.evidence.summary and end not in goals:
            stretches.append(Stretch(max([START, *(goal for goal in goals if goal < end)]), end))
        for stretch in stretches:
            stretch.files = [checkpoint.path.name for checkpoint in self.evidence.at(stretch.goal)]
            if why := list(dict.fromkeys(self._obstacles(stretch))):
                stretch.verdict, stretch.why = "not judged", why
        return stretches

    def _obstacles(self, stretch: Stretch) -> Iterator[str]:
        """Yield the reasons why a stretch cannot be judged here: other numerics, or settings that changed meanwhile."""
        newest, here = self.evidence.newest.meta, numerics(self.again.experiment.config.numerics)
        starts, (low, high) = self.evidence.starts, sorted((stretch.start[1], stretch.goal[1]))
        ends = [*(line["steps"] for line in starts[1:]), inf]
        made = [line for line, end in zip(starts, ends, strict=False) if line["steps"] < high and end > low]
        for checkpoint in self.evidence.at(stretch.goal):
            made.append({"settings": checkpoint.meta["config"], "numerics": checkpoint.meta["numerics"]})
        for facts in made:
            for phrase in unlike(settings(facts.get("settings") or newest["config"]), settings(newest["config"])):
                yield f"the settings were changed during the run: {phrase}"
            if facts.get("numerics") and (what := difference(facts["numerics"], here)):
                yield f"computed with {what}"
        notices = [str(line.get("text")) for line in self.evidence.lines if line["kind"] == "notice"]
        if any("compute with other numerics" in text for text in notices):
            yield "the ranks of the run had different numerics"
        if not self._alike:
            yield "the ranks that verify have different numerics"

    def judge(self, samples: int | None) -> None:
        """Recompute ``samples`` of the stretches, None for all, then compare journal and summary."""
        left = [place for place, stretch in enumerate(self.stretches) if stretch.verdict == "not sampled"]
        chosen = left if samples is None else random.SystemRandom().sample(left, min(samples, len(left)))
        for place in sorted(self.comm.broadcast(chosen)):
            self._recompute(self.stretches[place])
        self.faults += labelled("journal.jsonl", self._journal())
        last = self.comm.broadcast(next((s for s, c in enumerate(self.stretches) if c.goal == self.evidence.end), None))
        if last is not None and self.stretches[last].files:
            self.again.start_from(next(iter(self.evidence.at(self.evidence.end)), None))
            self.faults += labelled("summary.json", self._summary(self.stretches[last].verdict != "not judged"))

    def _recompute(self, stretch: Stretch) -> None:
        """Compute a stretch, and set its verdict."""
        failure: DistlenetError | None = None
        if stretch.start == START:
            self.again.start_from(None)
        else:
            self.again.start_from(next(iter(self.evidence.at(stretch.start)), None))
        try:
            self.again.advance(stretch.goal)
        except (DivergedError, NonFiniteError) as error:
            failure = error
        why: list[str] = []
        if self.again.position != stretch.goal:
            why = [f"the run does not come to this position{f': {failure}' if failure else ''}"]
        elif not stretch.files:
            why = list(labelled("summary.json", self._summary(True, failure)))
        for checkpoint in self.evidence.at(stretch.goal) if not why else ():
            why += labelled(checkpoint.path.name, differences(checkpoint, self.again.state.moments()))
        stretch.why = self.comm.broadcast(why)
        stretch.verdict = "differs" if stretch.why else "same bits"
        self.faults += labelled(of(asdict(stretch)), stretch.why)

    def _summary(self, judged: bool, failure: DistlenetError | None = None) -> list[str]:
        """Compare the summary with the current state, or with the ``failure`` after it; a collective operation.

        ``judged``: with the final test, which has other last bits under other numerics.
        """
        summary, epochs = self.evidence.summary, self.again.experiment.config.epochs
        expected = self.again.figures(self.comm.broadcast(judged and TEST in summary))
        status = summary.get("status")
        if failure or status == "complete":
            complete = self.again.state.progress.epoch == epochs
            expected["status"] = str(failure or ("complete" if complete else "stopped before its last epoch"))
        found = {name: summary.get(name) for name in expected}
        phrases = list(unlike(found, expected)) if summary else []
        if status == "complete" and TEST not in summary:
            phrases.append(f"{TEST} is missing")
        return phrases

    def _journal(self) -> Iterator[str]:
        """Yield a phrase for each line of the journal that no recomputed step, epoch or divergence agrees with."""
        everything = all(stretch.verdict == "same bits" for stretch in self.stretches)
        computed: dict[tuple[str, float], list[Line]] = {}
        for line in self.again.lines:
            event = {key: short(value) for key, value in bare(line).items()}
            computed.setdefault((line["kind"], line["steps"]), []).append(event)
        for line in self.evidence.lines:
            kind, steps = line["kind"], line["steps"]
            if possible := computed.get((kind, steps)):
                wrong = [list(unlike(bare(line), event)) for event in possible]
                if all(wrong):
                    yield f"{kind} line of step {steps}: {min(wrong, key=len)[0]}"
            elif (
                everything and kind in ("step", "epoch", "divergence") and steps <= self.evidence.newest.progress.steps
            ):
                yield f"{kind} line of step {steps}: the run has no such {kind}"
            elif kind == "start":
                yield from labelled(f"start line of step {steps}", self._start(line))

    def _start(self, line: Line) -> Iterator[str]:
        """Yield a phrase for each difference between a start in the journal and the run."""
        experiment, history = self.again.experiment, self.evidence.newest.progress.history
        if settings(line.get("settings") or {}) != settings(experiment.config.to_dict()):
            return  # an older version's, or the settings were changed
        expected = asdict(experiment.started(self.comm))
        facts = {name: expected["facts"][name] for name in STARTED}
        expected = {name: expected[name] for name in ("title", "epochs", "steps_per_epoch")} | {"facts": facts}
        if not self.evidence.newest.progress.divergences:  # else it may have been the best of an epoch given up
            scores = [entry["validation"] for entry in history[: line.get("epoch", 0)] if entry.get("validation")]
            expected["best_accuracy"] = max((score["accuracy"] for score in scores), default=None)
        found = {name: line.get(name) for name in expected}
        found["facts"] = {name: (line.get("facts") or {}).get(name) for name in STARTED}
        yield from unlike(found, expected)

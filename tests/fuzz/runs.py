"""Runs a case undisturbed in one process, and as drawn, and checks that both end the same way."""

import contextlib
import json
import os
import random
import signal
import sys
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import launches
import mpi_jobs
from fuzz.case import ALONE, LAUNCH, MPIRUN, STALL_AFTER, STOPS, Case, Fault, Leg, Phase
from fuzz.compare import differences, error_of, unsound

from distlenet.errors import CheckpointError
from distlenet.runs.checkpoint_file import read_checkpoint

HOOK = Path(__file__).resolve().with_name("hook")
TIMEOUT = 240.0  # seconds; a leg takes one or two on an idle machine
FAREWELL = 20.0  # seconds for ranks to end after their mpirun
RESTARTS = 4
ENDS = (0, 3, 8, 14)  # exit codes that an undisturbed run may have: done, refused, not finite, diverged


class Wrong(AssertionError):
    """A fault found by the search."""


@dataclass
class Trial:
    """A running case: its directories, and the changes to them."""

    case: Case
    folder: Path
    data: Path
    log: list[str] = field(default_factory=list)
    tampered: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True)
        self.whole = self.folder / "whole"
        self.run = self.folder / "run"
        self._starts = 0
        self._elsewhere = ""  # the checkpoint of another directory to resume from, until the run has started in its own

    def check(self) -> None:
        """Run all of it; raises Wrong."""
        keep_every = dict(self.case.options).get("keep-every", 0)
        for number, phase in enumerate(self.case.phases):
            self.tampered |= {"other settings"} if phase.overridden else set()
            expected = self._start(Leg(ALONE, 1), phase, self.whole, "auto" if phase.overridden else "")
            self._expect(expected.returncode in ENDS, f"exit code {expected.returncode}, expected one of {ENDS}")
            self._disturb(phase, expected, first=number == 0)
            if expected.returncode == 0:
                found = unsound(self.whole, keep_every)
                self._expect(not found, "undisturbed: " + "\n".join(found))
            if expected.returncode != 3:
                found = differences(self.run, self.whole, self.tampered, complete=expected.returncode == 0)
                if expected.returncode == 0 and "no best.h5" not in self.tampered:
                    moved = self.tampered & {"elsewhere", "full"}
                    found += unsound(self.run, None if moved else keep_every)
                self._expect(not found, "\n".join(found))
            if expected.returncode:
                break

    def _can_resume(self) -> bool:
        """Whether there is a checkpoint, which knows the run's settings."""
        return any(is_good(path) for path in (self.run / "checkpoints").glob("*.h5"))

    def _disturb(self, phase: Phase, expected: mpi_jobs.Finished, first: bool) -> None:
        """Start the phase as often as drawn, and once more if it has not ended by then."""
        over = False
        for number, leg in enumerate(phase.legs):
            over = self._leg(phase, leg, expected, fresh=first and number == 0, first=first)
        if not over:
            over = self._leg(phase, Leg(ALONE, 1), expected, fresh=False, first=first)
        self._expect(over, "the run did not come to its end")

    def _leg(self, phase: Phase, leg: Leg, expected: mpi_jobs.Finished, fresh: bool, first: bool) -> bool:
        """Start it once; return whether it reached the end of the undisturbed run."""
        resume = "" if fresh else self._elsewhere or "auto"
        last = self.run / "checkpoints" / "last.h5"
        if leg.tampered and first:
            self._tamper(leg.tampered)
        if leg.elsewhere and first and last.exists():
            resume, self.run = str(last), self.folder / f"run-{self._starts}"
            self.tampered.add("elsewhere")
            self._elsewhere = resume
        done, struck = self._start(leg, phase, self.run, resume), self._struck(leg)
        if (self.run / "journal.jsonl").exists():
            self._elsewhere = ""
        self.log.append(f"    struck: {len(struck)} of {len(leg.faults)}")
        signals = {fault.signal for fault in struck}
        self.tampered |= signals & {"full"}
        if leg.way in (*LAUNCH, "mortals") and signals & {"death", "SIGKILL", "hang"}:
            self.tampered.add("lost ranks")
        code = done.returncode
        if not struck or leg.survives or (leg.way not in LAUNCH and signals <= {"SIGUSR1", "pause"}):
            self._expect(code == expected.returncode, f"exit code {code}, expected {expected.returncode}")
        elif signals <= {*STOPS, "SIGUSR1", "pause"} and not (leg.way == "openmpi" and struck[0].target == "mpirun"):
            numbers = [signal.Signals[name] for name in signals & set(STOPS)]
            allowed = {expected.returncode, *(128 + number for number in numbers)}
            if " result status=" in done.output:  # everything is written; a shell reports the same code for a signal
                allowed |= {-number for number in numbers}
            self._expect(code in allowed, f"exit code {code}, expected one of {sorted(allowed)}")
        if code != expected.returncode:
            return False
        mine, sentences = (error_of(one.output, self.run, self.whole) for one in (done, expected))
        if leg.way in LAUNCH:  # it may have been restarted after another error
            mine = mine[len(mine) - len(sentences) :]
        self._expect(mine == sentences, f"the error is {mine}, expected {sentences}")
        return True

    def _struck(self, leg: Leg) -> list[Fault]:
        """Return the faults of the last leg that occurred."""
        return [fault for number, fault in enumerate(leg.faults) if (self._marks / f"struck-{number}").exists()]

    def _start(self, leg: Leg, phase: Phase, run: Path, resume: str) -> mpi_jobs.Finished:
        """Start the leg and wait for its end; nothing may be left behind."""
        words = self.case.words(phase, self.data, run, resume, self._can_resume())
        self._starts += 1
        self._marks = self.folder / f"leg-{self._starts}"
        self._marks.mkdir()
        (self._marks / "faults.json").write_text(json.dumps([asdict(fault) for fault in leg.faults]))
        variables = {"DISTLENET_FUZZ": str(self._marks), "PYTHONPATH": f"{HOOK}{os.pathsep}{mpi_jobs.ROOT}"}
        self.log.append(f"{leg.way} {leg.ranks}: {' '.join(words)}")
        with make_job(leg, words, variables) as job:
            done, done_by = self._finish(job, leg), time.monotonic() + FAREWELL
            self.log.append(f"    exit code {done.returncode}, {done.seconds:.1f} s\n{done.output}")
            self._expect("Traceback" not in done.output, "a traceback")
            if isinstance(job, launches.Launched):
                while (left := job.left_behind()) and time.monotonic() < done_by:
                    time.sleep(0.1)  # another job's, which is just being started
                self._expect(not left, f"left behind: {left}")
        return done

    def _finish(self, job: mpi_jobs.Job, leg: Leg) -> mpi_jobs.Finished:
        """Wait for the end of the job, and continue the processes that were paused."""
        end, paused = time.monotonic() + TIMEOUT, dict(enumerate(leg.faults))
        while job.process.poll() is None and time.monotonic() < end:
            for number, fault in list(paused.items()):
                mark = self._marks / f"paused-{number}"
                if mark.exists() and mark.read_text():
                    time.sleep(fault.pause)
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(int(mark.read_text()), signal.SIGCONT)
                    del paused[number]
            time.sleep(0.01)
        try:
            return job.finish(max(1.0, end - time.monotonic()), FAREWELL)
        except AssertionError as error:
            raise Wrong(str(error)) from None

    def _tamper(self, how: str) -> None:
        """Damage the run directory in a way that a resume repairs or ignores."""
        what, _, name = how.partition(" ")
        path = self.run / ("journal.jsonl" if name == "journal" else name)
        path = path if path.exists() else self.run / "checkpoints" / name
        others = [other for other in (self.run / "checkpoints").glob("*.h5") if other != path and is_good(other)]
        if not path.exists() or (path.name == "last.h5" and not others):
            return  # a run without any checkpoint is refused
        content, chance = path.read_bytes(), random.Random(self.case.seed)
        if what == "no":
            path.unlink()
        elif what == "cut":
            path.write_bytes(content[: chance.randint(0, len(content))])
        else:
            place = chance.randrange(len(content))
            path.write_bytes(content[:place] + bytes([content[place] ^ 255]) + content[place + 1 :])
        self.tampered.add(how)
        self.log.append(f"    {how}: {path}")

    def _expect(self, right: bool, what: str) -> None:
        if not right:
            raise Wrong(what)


def make_job(leg: Leg, words: list[str], variables: dict[str, str]) -> mpi_jobs.Job:
    """Start the command in the way of the leg."""
    if leg.way in LAUNCH:
        python = sys.executable if leg.way == "launch" else os.environ["DISTLENET_MPICH_PYTHON"]
        stall_after = STALL_AFTER if any(fault.signal == "hang" for fault in leg.faults) else 60
        options = ["-n", leg.ranks, "--max-restarts", RESTARTS, "--stall-after", stall_after]
        return launches.Launched(*options, *words, python=python, **variables)
    command = ["-m", "distlenet", *words]
    command = (
        mpi_jobs.find_runtime(leg.way).command(leg.ranks, *command) if leg.way in MPIRUN else [sys.executable, *command]
    )
    return mpi_jobs.Job(command, env=mpi_jobs.environment(**variables))


def is_good(path: Path) -> bool:
    """Whether the checkpoint can be read."""
    try:
        read_checkpoint(path)
    except CheckpointError:
        return False
    return True


def without_missing(case: Case) -> Case:
    """Return the case with what starts under an MPI that is not installed started under the other one, or alone."""
    missing = {name for name in MPIRUN if isinstance(mpi_jobs.find_runtime(name), str)}
    if not missing:
        return case

    def fitting(leg: Leg) -> Leg:
        needs = "mpich" if leg.way.endswith("mpich") else "openmpi"
        return replace(leg, way=ALONE, ranks=1, faults=()) if leg.way != ALONE and needs in missing else leg

    phases = [replace(phase, legs=tuple(map(fitting, phase.legs))) for phase in case.phases]
    return replace(case, phases=tuple(phases))

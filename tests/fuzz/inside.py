"""The legs of a case on pretend ranks: threads of this process that get signals or die in their MPI calls."""

import errno
import os
import signal
import time
import traceback
from collections.abc import Callable
from itertools import count
from pathlib import Path
from unittest import mock

import mortal
import mpi_jobs
import sessions
from fuzz.case import Fault, Leg, Phase
from fuzz.runs import Trial

from distlenet.commands.train import interval
from distlenet.errors import DistlenetError, RanksLost
from distlenet.training.signals import Signals
from distlenet.training.state import TrainState

KILLED = 137


class InnerTrial(Trial):
    """A case that starts no processes."""

    def _start(self, leg: Leg, phase: Phase, run: Path, resume: str) -> mpi_jobs.Finished:
        words = self.case.words(phase, self.data, run, resume, self._can_resume())
        self._starts += 1
        self.log.append(f"{leg.way} {leg.ranks}: {' '.join(words)}")
        deaths = {fault.rank: fault.count for fault in leg.faults if fault.signal == "death"}
        job = mortal.Job(leg.ranks, deaths) if leg.way == "mortals" else None
        self._came: list[Fault] = []
        started = time.monotonic()
        try:
            with mock.patch("os.fsync", self._disk(leg)):
                session = sessions.train_run(
                    self.data, run, leg.ranks, act=self._act(leg), mortals=job, **self._options(phase, words, resume)
                )
        except Exception as error:
            self.log.append("".join(traceback.format_exception(error)))
            self._expect(False, f"a traceback: {type(error).__name__}: {error}")
        errors = [error for error in session.codes if isinstance(error, DistlenetError)]
        lost = RanksLost in map(type, errors)  # before they trained; the others were ended
        code = KILLED if lost or not session.codes else session.code
        output = f"distlenet: error: {errors[0]}" if errors else ""
        if job:
            self._came += [fault for fault in leg.faults if fault.signal == "death" and fault.rank in job.dead]
            self.log.append(f"    {dict(job.calls)} MPI calls, {session.codes}")
        self.log.append(f"    exit code {code}, {time.monotonic() - started:.1f} s\n{output}")
        self.log += [f"    {notice}" for notice in session.notices]
        return mpi_jobs.Finished(code, output, "", time.monotonic() - started, time.time())

    def _options(self, phase: Phase, words: list[str], resume: str) -> dict:
        given = dict(self.case.options)
        save_steps, save_seconds = interval(given["checkpoint-every"]) if "checkpoint-every" in given else (0, None)
        flags = dict(phase.settings)
        if resume and "--optimizer" not in words:  # the settings are not repeated
            flags = {}
        return {
            **{"flags": flags, "resume": resume or None, "override": phase.overridden},
            **{"save_steps": save_steps, "save_seconds": save_seconds, "log_every": given["log-every"]},
            **{"keep_every": given.get("keep-every", 0), "keep_newest": given.get("keep-newest", 2)},
        }

    def _act(self, leg: Leg) -> sessions.Act:
        waiting = [fault for fault in leg.faults if fault.signal not in ("death", "full")]
        first: dict[int, int] = {}

        def act(rank: int, state: TrainState, signals: Signals) -> None:
            taken = state.progress.steps - first.setdefault(rank, state.progress.steps) + 1
            for fault in [fault for fault in waiting if (fault.rank, fault.count) == (rank, taken)]:
                waiting.remove(fault)
                self._came.append(fault)
                if fault.signal == "SIGUSR1":
                    signals.save = True
                else:
                    signals.ask_to_stop(signal.Signals[fault.signal])

        return act

    def _disk(self, leg: Leg) -> Callable[[int], None]:
        """Return the replacement of os.fsync: it fails while the disk is supposed to be full."""
        flush, calls = os.fsync, count(1)

        def fsync(descriptor: int) -> None:
            call = next(calls)
            for fault in leg.faults:
                if fault.signal == "full" and fault.count <= call < fault.count + fault.pause:
                    self._came += [fault] * (fault not in self._came)
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            flush(descriptor)

        return fsync

    def _struck(self, leg: Leg) -> list[Fault]:
        return self._came

"""Running a job to its end: starting it, and starting it again if it dies as a whole."""

import uuid
from pathlib import Path

from distlenet.launching.attempt import Attempt
from distlenet.launching.job import Job
from distlenet.launching.scratch import Guardian, scratch
from distlenet.launching.signals import Requests
from distlenet.processes import identity
from distlenet.runs.lock import JOB as OWNER
from distlenet.runs.lock import notes

NEW_STARTS = 2  # on a busy machine, Open MPI with fault tolerance sometimes fails to start
STUCK = 3  # jobs in a row that may get stuck without progress; the next ones count as restarts


def launch(job: Job, max_restarts: int = 0) -> int:
    """Run ``job`` and return its exit code; if the whole job dies, restart it from its last checkpoint.

    A signal is forwarded so that the ranks can save; a second one ends them at once.
    """
    with Requests() as requests, Guardian() as guardian:
        name, new_starts, restarts, patience = f"{identity()}-{uuid.uuid4().hex}", 0, 0, Patience(job.run)
        while requests.asked is None:
            with scratch(name, job.hosts or " ".join(job.starter) or None) as place:
                guardian.watch(place)
                end = Attempt(job, arguments_now(job, name), place, requests, guardian).run()
            guardian.watch(None)
            if end.orderly:
                return end.code
            if end.stuck and patience.lasts():
                job.say("a rank was lost at the very moment when another one joined: starting again from the last save")
                continue
            if not end.connected and new_starts < NEW_STARTS:
                new_starts += 1
                job.say("the job ended before its ranks started to work: starting it again")
                continue
            if restarts == max_restarts:
                return end.code
            pause = min(60.0, 0.5 * 2**restarts)
            restarts += 1
            job.say(f"the job died with exit code {end.code}: restart {restarts} of {max_restarts} in {pause:g} s")
            requests.pause(pause)
        return 128 + requests.asked


class Patience:
    """Bounds the starts after a job got stuck, which do not count as restarts: STUCK in a row without progress.

    Progress is a newer checkpoint in the directory ``run``: the run will then end some day, even if it always gets
    stuck again.
    """

    def __init__(self, run: Path | None) -> None:
        self._run, self._stuck = run, 0
        self._position: tuple[int, int, int] | None = None

    def lasts(self) -> bool:
        """Whether to start a job again that has got stuck."""
        before, self._position = self._position, newest_position(self._run)
        self._stuck = self._stuck + 1 if self._position == before else 1
        return self._stuck <= STUCK


def newest_position(run: Path | None) -> tuple[int, int, int] | None:
    """Return the sort key of the newest good checkpoint in the directory ``run``, or None."""
    from distlenet.runs.choice import order_of  # loads numpy and h5py, which the launcher rarely needs
    from distlenet.runs.directory import RunDirectory

    orders = map(order_of, RunDirectory(run).saved()) if run else ()
    return max((order for order in orders if order), default=None)


def arguments_now(job: Job, name: str) -> list[str]:
    """Return the arguments for the next start of ``job``, called ``name``.

    Once the run in its directory was started by this job, it is resumed from its newest checkpoint. Before that, the
    directory may still hold an old run that --overwrite has not replaced yet, and the job keeps its arguments.
    """
    if job.run is None or notes(job.run / "lock").get(OWNER) != name:
        return job.arguments
    return [*(word for word in job.arguments if word != "--overwrite"), "--resume", "auto"]  # the last --resume counts

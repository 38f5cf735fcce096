"""A scaling study: the first steps of a user's training on several numbers of ranks, in rounds.

Each job of ranks runs ``study_rank.py``. The figures are in scaling.json in the directory of the study. It is written
after each job: an interrupted study is resumed, and a finished one can be extended by rounds or numbers of ranks.
"""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from distlenet import atomic
from distlenet.atomic import why_not_written
from distlenet.bench.study_rank import KEY, cpu
from distlenet.bench.study_results import as_csv, make_rows, remarks, summarize
from distlenet.bounded import read_json
from distlenet.config import Config
from distlenet.errors import RunDirectoryError
from distlenet.handlers import ENDING
from distlenet.launching.job import ERROR, Job
from distlenet.launching.restarts import launch
from distlenet.launching.slurm import Allocation
from distlenet.numerics import numerics
from distlenet.runs.directory import able_to, listed
from distlenet.series.table import as_markdown

RESULTS = "scaling.json"
FILES = (RESULTS, "scaling.csv", "scaling.md")
STOPPED = [128 + number for number in ENDING]  # exit codes of a job that was asked to end
Found = dict[str, Any]  # the figures of one job, or its "failure" and "exit_code"


@dataclass(frozen=True)
class Study:
    """The jobs to run: each of ``counts`` numbers of ranks in each round.

    ``facts`` identify the measured training: settings, code, dataset, machine. Jobs of other facts do not compare.
    """

    path: Path
    data: str
    config: Config  # with weak scaling, batch and shards of a single rank
    counts: tuple[int, ...]
    rounds: int
    steps: int
    warm_up: int
    weak: bool
    cores: int  # of this host, or the tasks of the allocation
    dataset: str  # its name
    fingerprint: str
    code: dict[str, str | None]  # user code -> SHA-256 of its file
    allocation: Allocation | None = None
    stall_after: float = 60.0

    @cached_property
    def facts(self) -> dict[str, Any]:
        """Everything that must be equal in all jobs, as JSON."""
        return {
            "mode": "weak" if self.weak else "strong",
            "steps": self.steps,
            "warm_up": self.warm_up,
            **self.config.to_dict(),
            "dataset": self.dataset,
            "fingerprint": self.fingerprint,
            "code": self.code,
            "cpu": cpu(),
            **numerics(),
        }

    def config_of(self, ranks: int) -> Config:
        """Return the settings on ``ranks`` ranks."""
        times = ranks if self.weak else 1
        return replace(self.config, batch_size=times * self.config.batch_size, shards=times * self.config.shards)

    def run(self, tell: Callable[[int, int, Found, bool], None]) -> tuple[int, dict[str, Any]]:
        """Run the jobs that are missing; return an exit code, and the results as in scaling.json.

        ``tell`` is called with round, ranks, figures of the job, and whether it was finished before. A number of ranks
        that fails is not tried again. Raises RunDirectoryError.
        """
        found, code = self.read(), 0
        failed: set[int] = set()
        for turn, ranks in ((turn, ranks) for turn in range(1, self.rounds + 1) for ranks in self.counts):
            kept = (ranks, turn) in found
            if ranks in failed:
                continue
            if not kept:
                found[ranks, turn] = job = self.run_job(ranks)
                if "failure" in job:
                    failed.add(ranks)
                    code = code or job["exit_code"]
                if job.get("exit_code") in STOPPED:
                    del found[ranks, turn]
                    return job["exit_code"], self.save(found)
                self.save(found)
            tell(turn, ranks, found[ranks, turn], kept)
        return code, self.save(found)

    def run_job(self, ranks: int) -> Found:
        """Train on ``ranks`` ranks; return the figures, or the failure."""
        config = self.config_of(ranks)
        what = {"data": self.data, "settings": config.to_dict(), "steps": self.steps, "warm_up": self.warm_up}
        heard = Heard()
        place = self.allocation or Allocation(self.cores, ())
        job = Job(
            ranks,
            [json.dumps(what | {"stall_after": self.stall_after})],
            fault_tolerance=False,  # as under a plain mpirun
            stall_after=self.stall_after,
            output=heard.listen,
            variables=place.variables,
            module="distlenet.bench.study_rank",
            starter=place.starter(ranks),
        )
        code = launch(job)
        if code or "theta_sha256" not in heard.found:
            return {"failure": heard.reason(code), "exit_code": code or 1, "cores": self.cores}
        start = round((heard.first_step or heard.started) - heard.started, 3)
        return {**heard.found, "start_seconds": start, "cores": self.cores}

    def read(self) -> dict[tuple[int, int], Found]:
        """Return the figures of the jobs that have succeeded before, by ranks and round.

        Raises RunDirectoryError if the directory holds something else, or a study of other facts.
        """
        with able_to(f"read the directory {self.path}"):
            names = [each.name for each in sorted(self.path.iterdir())] if self.path.is_dir() else []
        if names and RESULTS not in names:
            raise RunDirectoryError(
                f"{self.path} is not the directory of a scaling study: it has {listed(names)}; choose another "
                f"directory, for example --run {self.path / 'scaling'}"
            )
        if not names:
            return {}
        facts, jobs = read_study(self.path)
        differ = [name for name in {**facts, **self.facts} if facts.get(name) != self.facts.get(name)]
        if differ:
            texts = [f"{name} {facts.get(name)!r}, now {self.facts.get(name)!r}" for name in differ[:4]]
            raise RunDirectoryError(
                f"{self.path} holds a study with {'; '.join(texts)}: choose another --run, or remove that directory"
            )
        return {key: job for key, job in jobs.items() if "failure" not in job}

    def save(self, found: dict[tuple[int, int], Found]) -> dict[str, Any]:
        """Write the results of the jobs ``found``, and return them. Raises RunDirectoryError."""
        results = summarize(self.facts, found)
        jobs = [{"ranks": ranks, "round": turn, **job} for (ranks, turn), job in sorted(found.items())]
        whole = {"facts": self.facts, "jobs": jobs, **results}
        table = "\n\n".join([results["title"], as_markdown(make_rows(results)).rstrip(), *remarks(results)]) + "\n"
        texts = (json.dumps(whole, indent=1) + "\n", as_csv(results), table)
        for name, text in zip(FILES, texts, strict=True):
            atomic.write(self.path / name, text, RunDirectoryError)
        return whole


class Heard:
    """The output of a job of ranks, line by line."""

    def __init__(self) -> None:
        self.started, self.first_step = time.monotonic(), 0.0
        self.found: Found = {}
        self._lines: list[str] = []
        self._sentence = ""

    def listen(self, line: str) -> None:
        """Note one ``line``."""
        text = line.strip()
        if text.startswith(f'{{"{KEY}": '):
            values = json.loads(text)[KEY]
            self.first_step = self.first_step or time.monotonic()
            self.found |= values
        elif found := ERROR.match(text):
            self._sentence = found[1]
        elif text and not text.startswith("distlenet launch: "):
            self._lines = [*self._lines[-9:], text]

    def reason(self, code: int) -> str:
        """Return why the job failed: its sentence, or the last lines."""
        if self._sentence:
            return self._sentence
        last = next((line for line in reversed(self._lines) if any(map(str.isalpha, line))), "it printed no reason")
        return f"the job ended with exit code {code}: {last}"


def is_study(path: Path) -> bool:
    """Whether ``path`` is the directory of a scaling study."""
    return (path / RESULTS).is_file()


def read_study(path: Path) -> tuple[dict[str, Any], dict[tuple[int, int], Found]]:
    """Return the facts of the study in ``path``, and its jobs by ranks and round; raises RunDirectoryError."""
    try:
        read = read_json(path / RESULTS)
        jobs = dict(_jobs(read["jobs"]))
        summarize(read["facts"], jobs)
    except OSError as error:
        raise RunDirectoryError(f"cannot read {path / RESULTS}: {why_not_written(error)}") from error
    except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError) as error:
        raise RunDirectoryError(
            f"{path / RESULTS} is not that of a scaling study ({error}): choose another directory, or remove it"
        ) from error
    return read["facts"], jobs


def _jobs(rows: list[Found]) -> Iterator[tuple[tuple[int, int], Found]]:
    for row in rows:
        yield (int(row["ranks"]), int(row["round"])), {k: v for k, v in row.items() if k not in ("ranks", "round")}

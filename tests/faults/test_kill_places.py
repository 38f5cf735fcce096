"""Killed before or after every call that changes a file: a resume leaves the files of an undisturbed run."""

import json
import shutil
import sys

import mpi_jobs
import pytest
from faults import runs
from fuzz.compare import content

from distlenet.runs.checkpoint_file import read_checkpoint

SETTINGS = ["--batch-size", "320", "--shards", "4", "--log-every", "1", "--display", "plain", "--train-sample", "50"]
SMALL = ["--epochs", "2", "--checkpoint-every", "2", "--keep-every", "1", "--seed", "3"]  # 3 steps an epoch
WILD = [*("--optimizer", "sgd", "--lr", "1e30", "--clip", "0", "--schedule", "constant"), "--max-heals", "2"]
GOES_BACK = "it goes back to its very start"
COURSES = {
    "a new run": ([*SMALL, "--keep-newest", "2"], None),
    "one newest checkpoint": ([*SMALL, "--keep-newest", "1"], None),
    "four newest checkpoints": ([*SMALL, "--keep-newest", "4", "--epochs", "3"], None),
    "an old run is replaced": ([*SMALL, "--overwrite"], [*SMALL, "--keep-newest", "3", "--seed", "4"]),
    "fewer newest checkpoints than before": (
        [*SMALL, "--keep-newest", "1", "--epochs", "2", "--override", "epochs", "--resume", "auto"],
        [*SMALL, "--keep-newest", "4", "--epochs", "1"],
    ),
    "without validation": ([*SMALL, "--validation", "0"], None),
    GOES_BACK: ([*SMALL, *WILD, "--checkpoint-every", "1"], None),
    f"{GOES_BACK}, one newest checkpoint": ([*SMALL, *WILD, "--checkpoint-every", "1", "--keep-newest", "1"], None),
}
EVERY = 150  # one in this many places is tried, unless all are
BATCH = 60


def run_all(jobs, tmp_path):
    """Do the jobs, (place, words) each, one after another; return their outcomes."""
    found = []
    for first in range(0, len(jobs), BATCH):
        todo, message = tmp_path / "jobs.json", tmp_path / "outcomes.jsonl"
        message.unlink(missing_ok=True)
        some = [{"place": place, "words": list(map(str, words))} for place, words in jobs[first : first + BATCH]]
        todo.write_text(json.dumps(some))
        mpi_jobs.run([sys.executable, str(runs.HERE / "places.py"), str(todo), str(message)], timeout=500).expect()
        found += [json.loads(line) for line in message.read_text().splitlines()]
    return found


def words_of(digits, run, options):
    return ["train", "--data", digits, "--run", run, *SETTINGS, *options]


def files(run):
    """Return everything that must be equal: all names in the directory, and the files' contents without times."""
    found = {str(path.relative_to(run)): None for path in sorted(run.rglob("*"))}
    for path in sorted((run / "checkpoints").glob("*.h5*")):
        held = content(read_checkpoint(path))
        facts = {name: json.dumps(held[name], sort_keys=True) for name in held if not isinstance(held[name], bytes)}
        found[str(path.relative_to(run))] = held | facts
    found["config.toml"] = (run / "config.toml").read_text()
    found["summary.json"] = runs.results(run)
    found["journal.jsonl"] = runs.journal(run)
    return found


def differences(found, expected):
    return [
        f"{name}: {'missing' if name not in found else 'not expected' if name not in expected else 'differs'}"
        for name in sorted(found.keys() | expected.keys())
        if name not in found or found.get(name) != expected.get(name)
    ]


@pytest.mark.parametrize("course", COURSES)
def test_killed_at_every_call_that_changes_a_file(soak, digits, tmp_path, course):
    options, before = COURSES[course]
    whole, old = tmp_path / "whole", tmp_path / "old"
    if before:
        assert run_all([(-1, words_of(digits, old, before))], tmp_path)[0]["code"] == 0
        shutil.copytree(old, whole)
    undisturbed = run_all([(-1, words_of(digits, whole, options))], tmp_path)[0]
    assert undisturbed["code"] in (0, 8, 14), undisturbed["output"]
    expected, places = files(whole), 2 * len(undisturbed["calls"])
    with soak.fault(f"killed at a call that changes a file: {course}") as fault:
        chosen = range(places) if soak.full else range(list(COURSES).index(course), places, EVERY)
        again = [word for word in options if word not in ("--overwrite", "--resume", "auto")]
        jobs = []
        for place in chosen:
            run = tmp_path / f"run-{place}"
            if before:
                shutil.copytree(old, run)
            jobs.append((place, words_of(digits, run, options)))
            jobs.append((-1, words_of(digits, run, [*again, "--resume", "auto"])))
        outcomes = run_all(jobs, tmp_path)
        for place, killed, resumed in zip(chosen, outcomes[::2], outcomes[1::2], strict=True):
            if "--overwrite" in options and resumed["code"] in (3, 6):  # the old run exists, at least in part
                fault.saw("refused until --overwrite is given again")
                words = words_of(digits, tmp_path / f"run-{place}", options)
                resumed = run_all([(-1, words)], tmp_path)[0]
            where = f"{'after' if place % 2 else 'before'} call {place // 2}, {undisturbed['calls'][place // 2]}"
            with fault.trial(where):
                assert killed["code"] == 137, killed["output"]
                assert resumed["code"] == undisturbed["code"], resumed["output"]
                assert "Traceback" not in resumed["output"] and "raised" not in resumed["output"], resumed["output"]
                unlike = differences(files(tmp_path / f"run-{place}"), expected)
                assert not unlike, f"{unlike} {resumed['output']}"
            shutil.rmtree(tmp_path / f"run-{place}", ignore_errors=True)

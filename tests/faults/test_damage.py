"""Damaged files: each is reported in one sentence, or harmless. No crash, and no wrong numbers."""

import json
import os
import random
import shutil
import sys

import h5py
import mpi_jobs
import pytest
from faults import runs

CUTS, FLIPS = 50, 200
OPTIONS = ["--epochs", "2", "--checkpoint-every", "3"]
STOP = 16  # of 22 steps
BATCH = 100  # commands in one process
SENTENCE = "distlenet: error: "


@pytest.fixture(scope="module")
def stopped(tmp_path_factory, digits):
    """A run that was stopped halfway through its second epoch: last.h5, last-1.h5, best.h5."""
    run = tmp_path_factory.mktemp("stopped") / "run"
    script = [sys.executable, str(mpi_jobs.JOBS / "signalled.py"), "0", "SIGTERM", str(STOP)]
    assert mpi_jobs.run([*script, *runs.train(digits, run, *OPTIONS)]).returncode == 143
    assert {path.name for path in runs.saved(run)} == {"last.h5", "last-1.h5", "best.h5"}
    return run


@pytest.fixture(scope="module")
def finished(tmp_path_factory, digits, stopped):
    """The same run, resumed to its end."""
    run = tmp_path_factory.mktemp("finished") / "run"
    shutil.copytree(stopped, run)
    assert runs.do([*runs.train(digits, run, *OPTIONS), "--resume", "auto"]).returncode == 0
    return run


def damages(path, soak, seed):
    """Yield descriptions of damages and the damaged bytes; half of the flips are in HDF5's structures."""
    image, chance = path.read_bytes(), random.Random(seed)
    structures = where_structures_are(path)
    for length in [0, *(chance.randrange(len(image)) for _ in range(soak.count(CUTS)))]:
        yield f"cut to {length} of {len(image)} bytes", image[:length]
    for number in range(soak.count(FLIPS)):
        place = chance.choice(structures) if number % 2 else chance.randrange(len(image))
        bit = chance.randrange(8)
        flipped = bytearray(image)
        flipped[place] ^= 1 << bit
        yield f"bit {bit} of byte {place} of {len(image)} flipped", bytes(flipped)


def where_structures_are(path):
    """Return the offsets of the bytes that belong to no array."""
    size, arrays = path.stat().st_size, []
    if path.suffix == ".h5":
        with h5py.File(path) as file:

            def note(name, item):
                if isinstance(item, h5py.Dataset):
                    arrays.append((item.id.get_offset(), item.id.get_storage_size()))

            file.visititems(note)
    places = set(range(size))
    for offset, length in arrays:
        places -= set(range(offset, offset + length))
    assert 0 < len(places) <= size
    return sorted(places)


def run_all(commands, tmp_path):
    """Run the command lines, many in one process; return the outcome of each."""
    outcomes = []
    while len(outcomes) < len(commands):
        todo, message = tmp_path / "commands.json", tmp_path / "outcomes.jsonl"
        todo.write_text(json.dumps(commands[len(outcomes) : len(outcomes) + BATCH]))
        message.unlink(missing_ok=True)
        done = mpi_jobs.run([sys.executable, str(runs.HERE / "many.py"), str(todo), str(message)], timeout=300)
        new = [json.loads(line) for line in message.read_text().splitlines()] if message.exists() else []
        outcomes += new
        if done.returncode:  # the next command crashed the process itself
            outcomes.append({"code": None, "output": done.output, "raised": f"left by {done.returncode}"})
    return outcomes


def harmless_or_detected(outcome, codes):
    """Whether the command succeeded; if not, check that it gave one sentence and one of the exit codes."""
    assert outcome["raised"] is None, outcome["raised"]
    if outcome["code"] == 0:
        return True
    assert outcome["code"] in codes, outcome
    *before, last = outcome["output"].splitlines()  # a run may find damage only at its end
    assert last.startswith(SENTENCE), outcome
    assert not any(SENTENCE in line or "Traceback" in line for line in before), outcome
    return False


def try_all(fault, cases, tmp_path):
    """Run the ``cases``: (description, command line, exit codes of detection, check(outcome) of success)."""
    for first in range(0, len(cases), BATCH):
        some = cases[first : first + BATCH]
        outcomes = run_all([words for _, words, _, _ in some], tmp_path)
        for (what, _, codes, check), outcome in zip(some, outcomes, strict=True):
            with fault.trial(what):
                fine = harmless_or_detected(outcome, codes)
                if fine:
                    check(outcome)
                fault.saw("harmless" if fine else "detected")


def shown(outcome, without):
    """Return the JSON that a command printed, without its path argument."""
    found = json.loads(outcome["output"])
    del found[without]
    return found


def test_a_damaged_checkpoint(soak, digits, stopped, finished, tmp_path):
    looks = {"evaluate": ["--data", str(digits), "--json"], "inspect": ["--json"]}
    paths = {"evaluate": "checkpoint", "inspect": "file"}
    good = stopped / "checkpoints/last.h5"
    right = run_all([[name, str(good), *options] for name, options in looks.items()], tmp_path)
    right = {name: shown(outcome, paths[name]) for name, outcome in zip(looks, right, strict=True)}
    with soak.fault("a damaged checkpoint") as fault:
        cases = []
        for number, (what, image) in enumerate(damages(good, soak, "checkpoint")):
            bad, run = tmp_path / f"bad-{number}.h5", tmp_path / f"run-{number}"
            bad.write_bytes(image)
            for name, options in looks.items():

                def same_numbers(outcome, name=name):
                    assert shown(outcome, paths[name]) == right[name]

                cases.append((f"{what}: {name}", [name, str(bad), *options], (5,), same_numbers))

            def same_results(outcome, run=run):
                assert runs.results(run) == runs.results(finished)
                shutil.rmtree(run)

            words = [*runs.train(digits, run, *OPTIONS), "--resume", str(bad)]
            cases.append((f"{what}: --resume PATH", words, (5,), same_results))
        try_all(fault, cases, tmp_path)


def copy(run, to):
    """Copy a run; checkpoints, which are never written in place, are linked."""
    (to / "checkpoints").mkdir(parents=True)
    for path in runs.saved(run):
        os.link(path, to / "checkpoints" / path.name)
    for name in ("config.toml", "journal.jsonl", "summary.json", "lock"):
        shutil.copy(run / name, to / name)


def replace(path, image):
    path.unlink()
    path.write_bytes(image)


def test_the_checkpoint_before_a_damaged_one(soak, digits, stopped, finished, tmp_path):
    # --resume auto: an older checkpoint always exists, so the run is resumed to the same end after any damage
    with soak.fault("--resume auto next to a damaged checkpoint") as fault:
        cases = []
        for number, (what, image) in enumerate(damages(stopped / "checkpoints/last.h5", soak, "newest")):
            run = tmp_path / f"run-{number}"
            copy(stopped, run)
            replace(run / "checkpoints/last.h5", image)

            def resumes_well(outcome, run=run):
                told = "last.h5" in outcome["output"] and "skipped" in outcome["output"]
                assert told or "resuming from" in outcome["output"]
                runs.same_end(run, finished)
                fault.saw("skipped with a notice" if told else "used")
                shutil.rmtree(run)

            cases.append((what, [*runs.train(digits, run, *OPTIONS), "--resume", "auto"], (), resumes_well))
        try_all(fault, cases, tmp_path)


def test_a_damaged_dataset(soak, digits, finished, tmp_path):
    checkpoint = str(finished / "checkpoints/last.h5")
    looks = {split: ["evaluate", checkpoint, "--split", split, "--json", "--data"] for split in ("test", "train")}
    right = run_all([[*words, str(digits)] for words in looks.values()], tmp_path)
    right = {split: shown(outcome, "data") for split, outcome in zip(looks, right, strict=True)}
    fresh = ["--epochs", "1"]
    whole = tmp_path / "whole"
    assert runs.do(runs.train(digits, whole, *fresh)).returncode == 0
    with soak.fault("a damaged dataset") as fault:
        cases = []
        for number, (what, image) in enumerate(damages(digits, soak, "dataset")):
            bad, run = tmp_path / f"bad-{number}.h5", tmp_path / f"run-{number}"
            bad.write_bytes(image)
            for split, words in looks.items():

                def same_numbers(outcome, split=split):
                    assert shown(outcome, "data") == right[split]

                cases.append((f"{what}: evaluate {split}", [*words, str(bad)], (4,), same_numbers))

            def same_results(outcome, run=run):
                assert runs.results(run) == runs.results(whole)
                shutil.rmtree(run)

            cases.append((f"{what}: train", runs.train(bad, run, *fresh), (4,), same_results))
        try_all(fault, cases, tmp_path)


@pytest.mark.parametrize("name", ["config.toml", "journal.jsonl", "summary.json"])
def test_a_damaged_file_next_to_the_checkpoints(soak, digits, stopped, finished, tmp_path, name):
    expected = runs.journal(finished)
    with soak.fault(f"--resume auto next to a damaged {name}") as fault:
        cases = []
        for number, (what, image) in enumerate(damages(stopped / name, soak, name)):
            run = tmp_path / f"run-{number}"
            copy(stopped, run)
            replace(run / name, image)

            def resumes_well(outcome, run=run):
                assert runs.results(run) == runs.results(finished)
                assert (run / "config.toml").read_bytes() == (finished / "config.toml").read_bytes()
                if name == "journal.jsonl":
                    check_remaining_lines(runs.journal(run), expected)
                else:
                    runs.same_end(run, finished)
                shutil.rmtree(run)

            cases.append((what, [*runs.train(digits, run, *OPTIONS), "--resume", "auto"], (), resumes_well))
        try_all(fault, cases, tmp_path)


def check_remaining_lines(lines, expected):
    """No line is repeated or out of order, all after the resume exist, at most one was changed by the damage."""
    strange = [line for line in lines if line not in expected]
    assert len(strange) <= 1, strange
    places = [expected.index(line) for line in lines if line in expected]
    assert places == sorted(set(places))
    after = [line for line in expected if line["steps"] > STOP + 1 or (line["kind"], line.get("epoch")) == ("epoch", 1)]
    assert lines[-len(after) :] == after


def test_damaged_settings(soak, digits, stopped, finished, tmp_path):
    # as --config of a resumed run: refused by name, or unchanged
    with soak.fault("a damaged configuration given by --config") as fault:
        cases = []
        for number, (what, image) in enumerate(damages(stopped / "config.toml", soak, "settings")):
            run, settings = tmp_path / f"run-{number}", tmp_path / f"settings-{number}.toml"
            copy(stopped, run)
            settings.write_bytes(image)

            def resumes_well(outcome, run=run):
                assert runs.results(run)["theta_sha256"] == runs.results(finished)["theta_sha256"]
                shutil.rmtree(run)

            words = [*runs.train(digits, run), "--resume", "auto", "--config", str(settings)]
            cases.append((what, words, (2, 3), resumes_well))
        try_all(fault, cases, tmp_path)

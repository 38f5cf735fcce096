"""The random search itself: a few of its cases, the variety of cases, and that it notices differences."""

import importlib
import json
import shutil
import sys
from collections import Counter
from dataclasses import fields
from pathlib import Path

import pytest
from fuzz import case, compare, settings
from fuzz.inside import InnerTrial
from fuzz.runs import HOOK, Trial, without_missing

from distlenet.config import Config

# small cases: three pretend ranks that die and resume; a rank killed under launch; a signal under MPICH, then Open MPI
SEEDS = (430, 978, 5527, 19971)


@pytest.mark.parametrize("seed", SEEDS)
def test_some_disturbed_cases_end_like_undisturbed_ones(seed, tmp_path):
    drawn = without_missing(case.Case.draw(seed))
    (InnerTrial if drawn.inside else Trial)(drawn, tmp_path / "case", drawn.small.write(tmp_path)).check()


def test_all_kinds_of_cases_are_drawn():
    cases = [case.Case.draw(seed) for seed in range(1, 1500)]
    assert cases == [case.Case.draw(seed) for seed in range(1, 1500)]
    seen = Counter()
    for drawn in cases:
        for phase in drawn.phases:
            given = dict(phase.settings)
            Config(**given)
            seen.update(f"{name} {given[name]}" for name in ("optimizer", "schedule", "activation", "on_divergence"))
            seen[Path(given["model"]).name] += 1
            seen.update(leg.way for leg in phase.legs)
            seen.update(leg.tampered for leg in phase.legs)
            seen.update((fault.place, fault.signal, fault.target) for leg in phase.legs for fault in leg.faults)
    choices = {"optimizer": settings.OPTIMIZERS, "schedule": settings.SCHEDULES, "activation": settings.ACTIVATIONS}
    expected = [f"{name} {value}" for name, values in choices.items() for value in values]
    expected += [model for model in settings.MODELS if model != "own"]
    expected += [f"networks.py:{name}" for name in settings.NETWORKS]
    expected += [*case.WAYS, *case.TAMPERED, *((place, "SIGKILL", "self") for place in case.PLACES)]
    assert not [what for what in expected if not seen[what]]


def test_all_known_names_are_drawn():
    """The lists are copies: their order decides what a seed draws."""
    known = {field.name: field.metadata.get("names") for field in fields(Config)}
    drawn = {
        **{"activation": settings.ACTIVATIONS, "pooling": settings.POOLINGS},
        **{"optimizer": settings.OPTIMIZERS, "schedule": settings.SCHEDULES},
        "model": [model for model in settings.MODELS if model != "own"],
    }
    for name, names in drawn.items():
        assert set(names) == set(known[name]), f"tests/fuzz/settings.py draws other values of {name}"


def test_every_place_where_a_fault_strikes_exists(monkeypatch):
    importlib.import_module("distlenet.runs.session")  # the hook acts when this is loaded
    monkeypatch.syspath_prepend(HOOK)
    monkeypatch.delitem(sys.modules, "sitecustomize", raising=False)
    hook = importlib.import_module("sitecustomize")
    monkeypatch.delitem(sys.modules, "sitecustomize")
    assert set(hook.PLACES) == set(case.PLACES)
    for path in hook.PLACES.values():
        module, _, names = path.partition(":")
        place = sys.modules[module]
        for name in names.split("."):
            place = getattr(place, name)
        assert callable(place)


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("summary.json", '"theta_sha256": "', '"theta_sha256": "0'),
        ("journal.jsonl", '"kind": "epoch"', '"kind": "lost"'),
        ("config.toml", "epochs = 2", "epochs = 3"),
    ],
)
def test_a_difference_is_found(trained, tmp_path, file, old, new):
    run = shutil.copytree(trained, tmp_path / "run")
    assert compare.differences(run, trained, set(), complete=True) == []
    text = (run / file).read_text()
    assert old in text
    (run / file).write_text(text.replace(old, new, 1))
    assert compare.differences(run, trained, set(), complete=True)


def test_a_difference_in_a_checkpoint_is_found(trained, tmp_path):
    run = shutil.copytree(trained, tmp_path / "run")
    shutil.copy(run / "checkpoints" / "last-1.h5", run / "checkpoints" / "last.h5")
    found = "\n".join(compare.differences(run, trained, set(), complete=True))
    assert "last.h5: theta" in found
    assert "last.h5: steps is" in found
    (run / "checkpoints" / "best.h5").unlink()
    assert "no best.h5" in compare.differences(run, trained, set(), complete=True)
    assert "no best.h5" not in compare.differences(run, trained, {"no best.h5"}, complete=True)


def test_steps_lost_with_a_cut_journal_are_not_a_difference(trained, tmp_path):
    whole = shutil.copytree(trained, tmp_path / "whole")
    with (whole / "journal.jsonl").open("a") as file:
        file.write(json.dumps({"kind": "step", "steps": 22, "loss": 0.5}) + "\n")
    assert compare.differences(trained, whole, {"cut journal"}, complete=True) == []
    assert compare.differences(trained, whole, set(), complete=True)
    assert compare.differences(whole, trained, {"cut journal"}, complete=True)  # it has one too many

"""``distlenet inspect``: what a checkpoint holds, for people and for programs."""

import json
import shutil

import h5py
import pytest

from distlenet.config import Config
from distlenet.runs.checkpoint_file import read_checkpoint


def test_for_programs(trained, distlenet, summary_of):
    done = distlenet("inspect", trained / "checkpoints/last.h5", "--json").expect()
    assert done.stderr == ""
    found = json.loads(done.stdout)
    assert len(done.stdout.splitlines()) == 1
    assert found["file"] == str(trained / "checkpoints/last.h5")
    assert found["position"] == "2 epochs and 0 steps, 22 steps in all"
    assert found["config"] == Config(epochs=2, batch_size=64).to_dict()
    assert found["parameters"]["C1/W"] == [6, 1, 5, 5]
    assert found["optimizer"] == {"velocity": [61706]}
    assert found["dataset"]["fingerprint"] == read_checkpoint(trained / "checkpoints/last.h5").dataset.fingerprint
    assert set(found["numerics"]) >= {"numpy", "blas", "kernel", "threads"}
    assert found["theta_sha256"] == summary_of(trained)["theta_sha256"]


def test_for_people(trained, distlenet):
    checkpoint = read_checkpoint(trained / "checkpoints/best.h5")
    done = distlenet("inspect", trained).expect()  # a run directory: its best
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["file", str(trained / "checkpoints/best.h5")]
    text = "\n".join(" ".join(line.split()) for line in lines)
    progress = checkpoint.progress
    for words in (
        f"best epoch {progress.best_epoch + 1}, validation {progress.best_accuracy:.4f}",
        "C3/W 16 x 6 x 5 x 5",
        "output/b 10",
        "velocity 61706",
        "batch_size 64",
        "image_shape 28 x 28",
        "class_names 0, 1, 2, 3, 4, 5, 6, 7, 8, 9",
        f"fingerprint {checkpoint.dataset.fingerprint}",
        "kernel",
    ):
        assert words in text, text
    assert lines[-1] == "all checksums match"
    assert "\x1b" not in done.stdout


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_files_that_are_not_good_checkpoints(trained, digits, tmp_path, distlenet, only_sentence, options):
    damaged = tmp_path / "damaged.h5"
    shutil.copy(trained / "checkpoints/last.h5", damaged)
    with h5py.File(damaged, "r+") as file:
        file["theta"][7] = 5
    only_sentence(distlenet("inspect", damaged, *options), 5, "damaged.h5 is damaged: /theta")
    only_sentence(distlenet("inspect", digits, *options), 5, "not a checkpoint of this program")
    only_sentence(distlenet("inspect", tmp_path / "none.h5", *options), 5, "there is no checkpoint")
    only_sentence(distlenet("inspect", tmp_path, *options), 5, "is not a run directory")

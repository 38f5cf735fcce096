"""``distlenet evaluate``: the same numbers in one process and under mpirun, and one sentence for each fault."""

import json
import re
import shutil

import drawn
import h5py
import numpy as np
import pytest

from distlenet.data.corruptions import CORRUPTIONS


@pytest.mark.parametrize("split", ["test", "train", "validation"])
def test_same_json_on_several_ranks(any_mpi, split, trained, digits, distlenet):
    arguments = ["evaluate", trained, "--data", digits, "--split", split, "--json"]
    alone = distlenet(*arguments).expect()
    figures = json.loads(alone.stdout)
    assert figures["count"] == {"test": 1350, "train": 642, "validation": 58}[split] == np.sum(figures["confusion"])
    assert figures["accuracy"] == np.trace(figures["confusion"]) / figures["count"]
    assert figures["error"] == 1 - figures["accuracy"]
    assert [item["name"] for item in figures["classes"]] == list("0123456789")
    for ranks in (2, 5) if split == "test" else (3,):  # 3 chunks of the training images, 1 of the validation images
        assert distlenet(*arguments, runtime=any_mpi, ranks=ranks).expect().stdout == alone.stdout


def test_under_corruptions(trained, digits, tmp_path, distlenet, openmpi, only_sentence):
    words = ["evaluate", trained, "--data", digits, "--corrupt", "--split", "train"]
    alone = distlenet(*words, "--json").expect()
    figures = json.loads(alone.stdout)
    assert set(figures["corrupted"]) == set(CORRUPTIONS)
    assert figures["corrupted_mean"] == pytest.approx(np.mean(list(figures["corrupted"].values())))
    assert figures["corrupted_mean"] < figures["accuracy"]
    assert figures["accuracy"] == json.loads(distlenet(*words[:4], *words[5:], "--json").stdout)["accuracy"]
    assert distlenet(*words, "--json", runtime=openmpi, ranks=3).expect().stdout == alone.stdout
    pytest.importorskip("matplotlib")
    pytest.importorskip("jinja2")
    done = distlenet(*words, "--out", tmp_path / "page").expect()
    page = (tmp_path / "page/report.html").read_text()
    assert all(kind in page and kind in done.stdout for kind in CORRUPTIONS)
    assert (tmp_path / "page/corruptions.svg").exists()
    only_sentence(distlenet(*words[:4], "--out", tmp_path / "page"), 2, "--corrupt")


def test_examples_are_images_of_the_split(trained, digits, tmp_path, distlenet):
    """Validation images are the last rows of train: the page must not show the first ones."""
    pytest.importorskip("matplotlib")
    pytest.importorskip("jinja2")
    pages = []
    for split in ("train", "validation"):
        words = ["--split", split, "--out", tmp_path / split]
        distlenet("evaluate", trained, "--data", digits, "--corrupt", *words).expect()
        pages.append(re.findall('data:image/png[^"]*', (tmp_path / split / "report.html").read_text()))
    assert len(pages[0]) == len(pages[1]) == 45 and not {*pages[0]} & {*pages[1]}


def test_agrees_with_the_run(trained, digits, distlenet, summary_of):
    for name in (trained, trained / "checkpoints/best.h5"):
        figures = json.loads(distlenet("evaluate", name, "--data", digits, "--json").stdout)
        assert figures["accuracy"] == summary_of(trained)["test_accuracy"]
        assert figures["loss"] == summary_of(trained)["test_loss"]


def test_tables(trained, digits, distlenet, any_mpi):
    alone = distlenet("evaluate", trained, "--data", digits).expect()
    assert "\x1b" not in alone.output
    for word in ("precision", "recall", "f1"):
        assert word in alone.stdout.lower()
    several = distlenet("evaluate", trained, "--data", digits, runtime=any_mpi, ranks=2)
    assert several.stdout == alone.stdout  # no escape codes, and each line once


def test_another_dataset_of_few_training_images(trained, tmp_path, distlenet):
    # fewer than the run's shards or validation images, which does not matter for its test images
    path = tmp_path / "few.h5"
    drawn.write(path, 3, 30)
    assert json.loads(distlenet("evaluate", trained, "--data", path, "--json").expect().stdout)["count"] == 30


def test_other_size_of_images(trained, other_size, distlenet, only_sentence, openmpi):
    arguments = ["evaluate", trained, "--data", other_size]
    only_sentence(distlenet(*arguments), 4, "24", "28", "was trained on")
    only_sentence(distlenet(*arguments, runtime=openmpi, ranks=2), 4, "24", "28")


def test_other_classes(trained, tmp_path, distlenet, only_sentence):
    path = tmp_path / "letters.h5"
    drawn.write(path, 100, classes="0123456789AB")
    only_sentence(distlenet("evaluate", trained, "--data", path), 4, "12 classes", "10")


def test_no_validation_images(digits, tmp_path, distlenet, only_sentence):
    run = tmp_path / "run"
    distlenet("train", "--data", digits, "--run", run, "--epochs", 1, "--validation", 0, "--display", "quiet").expect()
    only_sentence(distlenet("evaluate", run, "--data", digits, "--split", "validation"), 4, "use another --split")


@pytest.mark.parametrize("ranks", [1, 2])
def test_damaged_images(any_mpi, ranks, trained, digits, tmp_path, distlenet, only_sentence):
    # the second block of checksums: with two ranks, only rank 1 reads it
    path = tmp_path / "damaged.h5"
    shutil.copy(digits, path)
    with h5py.File(path, "r+") as file:
        file["test/images"][1200, 14, 14] ^= 1
    where = {"runtime": any_mpi, "ranks": 2} if ranks == 2 else {}
    done = distlenet("evaluate", trained, "--data", path, **where)
    only_sentence(done, 4, "rows 1,000 to 1,349 of /test do not match their SHA-256")


def test_no_checkpoint(digits, tmp_path, distlenet, only_sentence, trained):
    (tmp_path / "text.h5").write_text("hello")
    for path, words in [
        (tmp_path / "nowhere", "there is no checkpoint"),
        (tmp_path, "is not a run directory"),
        (tmp_path / "text.h5", "is not a readable checkpoint"),
        (digits, "not a checkpoint of this program"),
    ]:
        only_sentence(distlenet("evaluate", path, "--data", digits), 5, words)
    only_sentence(distlenet("evaluate", trained, "--data", tmp_path / "none.h5"), 4, "there is no dataset")

"""``distlenet prepare`` with the user's own data, and training on images and classes of other numbers."""

import json
import os

import numpy as np
import pytest
from commands.test_prepare import run
from data.test_csv import rows, write  # the small tables of the reader's own tests

from distlenet.data.file.dataset_file import open_digit_file
from distlenet.errors import DataError, UsageError

RNG = np.random.default_rng(4)


def pictures(count, size, classes):
    """Images that a network can tell apart: class k has a bright patch at a place of its own."""
    labels = np.arange(count) % classes
    images = RNG.integers(0, 60, (count, *size), np.uint8)
    for image, label in zip(images, labels, strict=True):
        row, column = divmod(label, 8)
        image[2 + row : 5 + row, 3 + column : 7 + column] = 255
    return images, labels


def archive(path, size, classes, count=1300):
    images, labels = pictures(count, size, classes)
    np.savez(path, x_train=images, y_train=labels, x_test=images[:300], y_test=labels[:300])
    return path


def test_the_result_is_reported(tmp_path, capsys):
    out, table = tmp_path / "out.h5", write(tmp_path / "mine.csv", rows())
    assert run("csv", "--from", table, "--out", out, "--test-share", "0.3") == 0
    message = capsys.readouterr().out
    for words in ("wrote", "28 train, 12 test", "4 x 4 pixels", "4: 0, 1, 2, 3", "30 % of each class", str(table)):
        assert words in message
    with open_digit_file(out) as digits:
        digits.verify("train")
        assert digits.class_names == ("0", "1", "2", "3") and digits.name == "mine"


def test_a_second_time_nothing_is_done_and_other_data_are_left_alone(tmp_path, capsys):
    out, table = tmp_path / "out.h5", write(tmp_path / "mine.csv", rows())
    run("csv", "--from", table, "--out", out)
    before = out.read_bytes()
    run("csv", "--from", table, "--out", out)
    assert "unchanged" in capsys.readouterr().out
    with pytest.raises(DataError, match=r"holds other data: mine .* add --force"):
        run("csv", "--from", table, "--out", out, "--seed", "3")
    assert out.read_bytes() == before
    run("csv", "--from", table, "--out", out, "--seed", "3", "--force")
    assert out.read_bytes() != before
    (tmp_path / "thesis").write_text("my thesis")
    with pytest.raises(DataError, match="to replace the file, add --force"):
        run("csv", "--from", table, "--out", tmp_path / "thesis")


@pytest.mark.parametrize("dataset", ["fashion", "kmnist", "qmnist", "emnist"])
def test_published_datasets_ask_for_their_files(dataset, tmp_path):
    with pytest.raises(DataError, match=r"pass the directory with .*ubyte.* as --from"):
        run(dataset, "--out", tmp_path / "a.h5")


@pytest.mark.parametrize(
    ("size", "classes", "display", "model"),
    [((32, 32), 2, "plain", []), ((20, 30), 62, "live", []), ((17, 13), 3, "plain", ["--pooling", "max"])],
)
def test_images_of_other_sizes_and_classes_of_other_numbers(size, classes, display, model, tmp_path, distlenet):
    """From a file of the user's to its evaluation, with augmentation: nothing knows of 28 x 28 or of ten."""
    data, directory = tmp_path / "data.h5", tmp_path / "run"
    assert run("npz", "--from", archive(tmp_path / "a.npz", size, classes), "--out", data) == 0
    distlenet(
        *("train", "--data", data, "--run", directory, "--epochs", 1, "--batch-size", 64, "--display", display, *model)
    ).expect()
    summary = json.loads((directory / "summary.json").read_text())
    assert 0 <= summary["test_accuracy"] <= 1
    distlenet("evaluate", directory, "--data", data).expect()
    evaluated = json.loads(distlenet("evaluate", directory, "--data", data, "--json").stdout)
    assert np.shape(evaluated["confusion"]) == (classes, classes)
    assert evaluated["accuracy"] == summary["test_accuracy"]
    assert f"{size[0]} x {size[1]}" in distlenet("inspect", directory).expect().stdout


def test_images_too_small_for_the_network_end_in_a_sentence(tmp_path, distlenet, only_sentence):
    data = tmp_path / "data.h5"
    run("csv", "--from", write(tmp_path / "mine.csv", rows()), "--out", data)
    done = distlenet("train", "--data", data, "--run", tmp_path / "run", "--validation", 0)
    only_sentence(done, 3, "does not fit")


@pytest.mark.parametrize("kind", ["csv", "npz", "folder", "mnist", "fashion"])
@pytest.mark.parametrize("name", ["a" * 300, "loop", "plain/below", "pipe"])
def test_places_that_cannot_be_read_are_one_sentence(kind, name, tmp_path):
    (tmp_path / "plain").touch()
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="cannot read|there is no|is a pipe"):
        run(kind, "--from", tmp_path / name, "--out", tmp_path / "out.h5")
    assert not (tmp_path / "out.h5").exists()


def test_validation_images_are_named_in_the_next_command(tmp_path, capsys):
    images, labels = pictures(60, (12, 12), 3)
    parts = {"train": slice(30), "val": slice(30, 50), "test": slice(50, 60)}
    arrays = {f"x_{part}": images[rows] for part, rows in parts.items()}
    np.savez(tmp_path / "a.npz", **arrays, **{f"y_{part}": labels[rows] for part, rows in parts.items()})
    assert run("npz", "--from", tmp_path / "a.npz", "--out", tmp_path / "a.h5") == 0
    message = capsys.readouterr().out
    assert "50 train, 10 test" in message and "note         the 20 validation images are the last" in message
    assert message.rstrip().endswith("--run runs/first --validation 20")
    run("npz", "--from", tmp_path / "a.npz", "--out", tmp_path / "a.h5")
    assert "unchanged" in (again := capsys.readouterr().out) and "--validation 20" in again


def test_a_source_is_never_replaced(tmp_path):
    table = write(tmp_path / "mine.csv", rows())
    (tmp_path / "link.csv").symlink_to(table)
    before = table.read_bytes()
    for arguments in (("--from", table, "--out", table), ("--from", table, "--out", tmp_path / "link.csv")):
        with pytest.raises(UsageError, match="is a file to read, and would be replaced"):
            run("csv", *arguments, "--force")
    with pytest.raises(UsageError, match="is a file to read"):
        run("csv", "--from", write(tmp_path / "b.csv", rows()), "--test", table, "--out", table, "--force")
    assert table.read_bytes() == before

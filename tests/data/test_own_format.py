"""User-defined dataset formats: the result of the function becomes a dataset or gives one sentence."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from distlenet.data.file.writer import silent
from distlenet.data.sources.formats import format_of
from distlenet.errors import ConfigError, DataError

OWN = Path(__file__).parent.parent / "own"
HEAD = "import numpy as np\nimages, labels = np.arange(40 * 144).reshape(40, 12, 12) % 256, np.arange(40) % 2\n"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def read(name, place=None, **options):
    return format_of(name).read(place, silent, **options)


def test_the_example(folder):
    shutil.copy(OWN / "jsonl.py", folder)
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (40, 12, 15))
    lines = [json.dumps({"pixels": image.tolist(), "label": i % 2}) for i, image in enumerate(images)]
    place = folder / "mine.jsonl"
    place.write_text("\n".join(lines) + "\n")
    dataset = read("jsonl.py:jsonl", place, share=0.25)
    assert dataset.train[0].shape == (30, 12, 15) and dataset.test[0].shape == (10, 12, 15)
    assert sorted(image.tobytes() for image in np.concatenate([dataset.train[0], dataset.test[0]])) == sorted(
        image.tobytes() for image in images.astype(np.uint8)
    )
    assert (dataset.name, dataset.class_names, dataset.origin) == ("mine", ("0", "1"), str(place))
    assert dataset.source.startswith("read by jsonl of jsonl.py, SHA-256 ")


def test_training_and_test_images_and_arrays_of_other_names(folder):
    text = (
        "def own(place):\n    return dict(x_train=images, y_train=labels, x_test=images[:4], y_test=labels[:4], more=1)"
    )
    (folder / "own.py").write_text(HEAD + text)
    dataset = read("own.py:own")
    assert len(dataset.train[1]) == 40 and len(dataset.test[1]) == 4 and dataset.name == "own"
    assert "skipped: more" in dataset.notes


def test_lists_and_fractions_are_arrays_too(folder):
    (folder / "own.py").write_text(
        f"{HEAD}def own(place):\n    return dict(x=(images / 255).tolist(), y=labels.tolist())"
    )
    assert read("own.py:own").train[0].max() == 255


@pytest.mark.parametrize(
    ("returned", "says"),
    [
        ("None", "returned NoneType, expected a dict of arrays: x_train"),
        ("(images, labels)", "returned tuple, expected a dict of arrays"),
        ("{}", "returned nothing, expected a dict of arrays"),
        ("dict(images=images)", r"returned images \(int64 \(40, 12, 12\)\), expected a dict of arrays"),
        ("dict(x_test=images, y_test=labels)", "expected a dict of arrays: x_train"),
        ("dict(images=images, labels=labels[1:])", r"labels of format own.py:own has shape \(39,\), expected \(40,\)"),
        ("dict(images=images - 1, labels=labels)", "images of format own.py:own has values from -1 to 254"),
        ("dict(images=images * np.nan, labels=labels)", "images of format own.py:own holds NaN or infinity"),
        ("dict(images=[[1], [1, 2]], labels=labels)", "failed: ValueError: "),
        ("dict(x_train=images, y_train=labels, x_test=images[:, 1:], y_test=labels)", "expected one size"),
        ("1 / 0", "format own.py:own without --from failed: ZeroDivisionError"),
        ("place.read_text()", "format own.py:own without --from failed: AttributeError"),
    ],
)
def test_at_fault(folder, returned, says):
    (folder / "own.py").write_text(f"{HEAD}def own(place):\n    return {returned}\n")
    with pytest.raises(DataError, match=says) as caught:
        read("own.py:own")
    assert "own.py:own" in str(caught.value) and "\n" not in str(caught.value)


def test_a_file_that_cannot_be_read(folder):
    (folder / "own.py").write_text("def own(place):\n    return place.read_text()\n")
    with pytest.raises(DataError, match=r"format own.py:own with --from /gone failed: FileNotFoundError"):
        read("own.py:own", Path("/gone"))


def test_code_that_cannot_be_loaded(folder):
    (folder / "own.py").write_text("def own():\n    return {}\n")
    for name, says in (
        ("gone.py:own", "there is no format file .*/gone.py"),
        ("own.py:wn", "format own.py:wn: .* defines no function 'wn'"),
        ("own.py:own", r"format own.py:own takes \(\), expected \(place\)"),
    ):
        with pytest.raises(ConfigError, match=says):
            read(name)

import dataclasses
import hashlib
import re

import numpy as np
import pytest
from drawn import write_idx

from distlenet.data.file.writer import silent
from distlenet.data.sources.catalogue import LIKE_MNIST, MD5, PUBLISHED
from distlenet.data.sources.idx import idx_sha256
from distlenet.data.sources.published import read_emnist, read_published
from distlenet.errors import DataError

RNG = np.random.default_rng(0)
IMAGES = {n: RNG.integers(0, 256, (n, 28, 28), np.uint8) for n in (70, 30)}


def write(folder, name, labels=None, suffix=".gz"):
    """Write the four files of a published dataset; labels run through all classes."""
    known = PUBLISHED[name]
    folder.mkdir(parents=True, exist_ok=True)
    for place, count in ((0, 70), (2, 30)):
        write_idx(folder / f"{known.files[place]}{suffix}", IMAGES[count])
        numbers = (np.arange(count) % len(known.class_names) + known.first_label).astype(np.uint8)
        if labels is not None:
            numbers[:] = labels
        if name == "qmnist":  # eight columns of 32-bit integers, the label first
            numbers = np.column_stack([numbers, *[np.arange(count) * 1000] * 7]).astype(np.int32)
        write_idx(folder / f"{known.files[place + 1]}{suffix}", numbers)
    return folder


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("name", sorted(PUBLISHED.keys() - {"mnist"}))
def test_images_labels_and_classes_arrive(name, suffix, tmp_path):
    place = write(tmp_path, name, suffix=suffix)
    known = PUBLISHED[name]
    dataset = read_published(place, silent, name=name)
    for (images, labels), count in ((dataset.train, 70), (dataset.test, 30)):
        expected = IMAGES[count].transpose(0, 2, 1) if name.startswith("emnist") else IMAGES[count]
        np.testing.assert_array_equal(images, expected)
        assert images.flags.c_contiguous and images.dtype == labels.dtype == np.uint8
        np.testing.assert_array_equal(labels, np.arange(count) % len(known.class_names))
    assert dataset.class_names == known.class_names and dataset.name == known.name
    assert "MD5" not in dataset.source  # these are not the published files, so the source does not claim it


def test_the_splits_of_emnist_have_the_published_classes():
    counts = {"byclass": 62, "bymerge": 47, "balanced": 47, "letters": 26, "digits": 10, "mnist": 10}
    for split, count in counts.items():
        names = PUBLISHED[f"emnist-{split}"].class_names
        assert len(set(names)) == len(names) == count
    byclass, merged = PUBLISHED["emnist-byclass"].class_names, PUBLISHED["emnist-balanced"].class_names
    assert (byclass[9], byclass[10], byclass[35], byclass[36], byclass[61]) == ("9", "A", "Z", "a", "z")
    assert (merged[36], merged[46]) == ("a", "t") and "c" not in merged and "C" in merged


@pytest.mark.parametrize("below", ["gzip", "EMNIST/raw", "raw"])
def test_the_usual_folders_are_searched(below, tmp_path):
    write(tmp_path / below, "emnist-letters")
    dataset = read_emnist(tmp_path, silent, split="letters")
    assert dataset.origin == str(tmp_path / below)
    assert dataset.train[1].min() == 0 and dataset.train[1].max() == 25


def test_missing_files_are_named(tmp_path):
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte.*t10k-labels.*github.*as --from DIR"):
        read_published(None, silent, name="fashion")
    with pytest.raises(DataError, match="there is no directory"):
        read_published(tmp_path / "nowhere", silent, name="fashion")
    place = write(tmp_path, "emnist-letters")
    (place / "emnist-letters-test-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(DataError, match="has no emnist-letters-test-labels-idx1-ubyte .*nist.gov"):
        read_emnist(place, silent, split="letters")


@pytest.mark.parametrize(("name", "label"), [("fashion", 10), ("emnist-letters", 0), ("emnist-letters", 27)])
def test_labels_out_of_range(name, label, tmp_path):
    with pytest.raises(DataError, match=rf"labels.*row 0 has label {label}, expected [01] to (9|26)$"):
        read_published(write(tmp_path, name, labels=label), silent, name=name)


def test_files_that_do_not_match(tmp_path):
    place = write(tmp_path, "fashion")
    write_idx(place / f"{LIKE_MNIST[1]}.gz", np.zeros(69, np.uint8))
    with pytest.raises(DataError, match=r"holds uint8 \(69,\), expected whole numbers, one for each of 70 images"):
        read_published(place, silent, name="fashion")
    write_idx(place / f"{LIKE_MNIST[0]}.gz", np.zeros(70, np.uint8))
    with pytest.raises(DataError, match=r"train-images.*expected images"):
        read_published(place, silent, name="fashion")


def test_another_dataset_under_the_same_names_is_recognised(tmp_path, monkeypatch):
    """The files of Fashion-MNIST, KMNIST and MNIST have the same names."""
    place = write(tmp_path, "fashion")
    sums = [hashlib.md5((place / f"{file}.gz").read_bytes()).hexdigest() for file in LIKE_MNIST]
    monkeypatch.setitem(MD5, sums[0], "KMNIST's train-images-idx3-ubyte")
    with pytest.raises(DataError, match="is KMNIST's train-images-idx3-ubyte, expected Fashion-MNIST's"):
        read_published(place, silent, name="fashion")


def test_mnist_itself_is_recognised(tmp_path, monkeypatch):
    place = write(tmp_path, "kmnist", suffix="")
    known = PUBLISHED["mnist"]
    images = dataclasses.replace(known.contents[0], sha256=idx_sha256(IMAGES[70]))
    monkeypatch.setitem(PUBLISHED, "mnist", dataclasses.replace(known, contents=(images, *known.contents[1:])))
    with pytest.raises(DataError, match="holds MNIST itself, not KMNIST; use `distlenet prepare mnist`"):
        read_published(place, silent, name="kmnist")


def test_the_source_says_if_the_files_are_the_published_ones(tmp_path, monkeypatch):
    place = write(tmp_path, "fashion")
    sums = tuple(hashlib.md5((place / f"{file}.gz").read_bytes()).hexdigest() for file in LIKE_MNIST)
    monkeypatch.setitem(PUBLISHED, "fashion", dataclasses.replace(PUBLISHED["fashion"], md5=sums))
    assert "their published MD5" in read_published(place, silent, name="fashion").source


def test_checksums_are_well_formed():
    assert len(MD5) == 12 and all(re.fullmatch("[0-9a-f]{32}", md5) for md5 in MD5)

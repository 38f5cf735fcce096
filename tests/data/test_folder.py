import os
import shutil
import sys

import numpy as np
import pytest

from distlenet.data.file.writer import silent
from distlenet.data.sources.folder import read_folder
from distlenet.data.sources.picture import read_image
from distlenet.errors import DataError, UsageError

Image = pytest.importorskip("PIL.Image", reason="the extra `pictures` (Pillow) is not installed")
RNG = np.random.default_rng(3)


def picture(path, array, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)
    return path


def light_on_dark(level=200, shape=(28, 28)):
    array = RNG.integers(0, 20, shape, np.uint8)
    array[shape[0] // 4 : -shape[0] // 4, shape[1] // 4 : -shape[1] // 4] = level
    return array


@pytest.fixture
def folder(tmp_path):
    """Three classes of ten pictures each; those of class k have grey level 80 * k + 60."""
    for number, name in enumerate(("2", "10", "cat")):
        for i in range(10):
            picture(tmp_path / "all" / name / f"{i}.png", light_on_dark(80 * number + 60))
    return tmp_path / "all"


def test_classes_are_folders_in_natural_order_and_every_picture_is_there_once(folder):
    (folder / "2" / ".DS_Store").write_bytes(b"?")
    (folder / "cat" / "Thumbs.db").write_bytes(b"?")
    dataset = read_folder(folder, silent, share=0.3)
    assert dataset.class_names == ("2", "10", "cat") and dataset.name == "all"
    assert len(dataset.train[0]) == 21 and np.bincount(dataset.test[1]).tolist() == [3, 3, 3]
    seen = set()
    for images, labels in (dataset.train, dataset.test):
        np.testing.assert_array_equal(images[:, 14, 14], 80 * labels + 60)
        seen |= {image.tobytes() for image in images}
    assert len(seen) == 30
    assert len(set(dataset.train[1][:8].tolist())) > 1  # shuffled
    again, other = (read_folder(folder, silent, share=0.3, seed=seed) for seed in (1998, 7))
    np.testing.assert_array_equal(dataset.train[0], again.train[0])
    assert (dataset.train[0] != other.train[0]).any()


def test_folders_train_and_test(folder):
    both = folder.parent / "both"
    shutil.copytree(folder, both / "train")
    shutil.copytree(folder, both / "test")
    dataset = read_folder(both, silent)
    assert len(dataset.train[0]) == len(dataset.test[0]) == 30
    assert dataset.test[1].tolist() == sorted(dataset.test[1].tolist())
    (both / "test" / "dog").mkdir()
    with pytest.raises(DataError, match="dog: not a class in both"):
        read_folder(both, silent)
    shutil.rmtree(both / "train")
    with pytest.raises(DataError, match="a folder test but none called train"):
        read_folder(both, silent)


def test_dark_ink_on_light_paper_is_inverted_and_reported(folder):
    for path in folder.rglob("*.png"):
        picture(path, 255 - np.asarray(Image.open(path)))
    dataset = read_folder(folder, silent)
    np.testing.assert_array_equal(dataset.train[0][:, 14, 14], 80 * dataset.train[1] + 60)
    assert "inverted" in dataset.source
    assert "inverted" not in read_folder(folder, silent, ink="light").source


@pytest.mark.parametrize("size", [(28, 28), (32, 32), (20, 30)])
def test_pictures_of_any_size_get_a_common_one(size, folder):
    picture(folder / "cat" / "large.jpg", light_on_dark(shape=(300, 100)))
    picture(folder / "cat" / "small.png", light_on_dark(shape=(5, 9)))
    dataset = read_folder(folder, silent, size=size)
    assert dataset.train[0].shape[1:] == size


def test_proportions_are_kept_and_margins_take_the_border(tmp_path):
    array = np.full((40, 20), 30, np.uint8)
    array[5:35, 5:15] = 220
    small = read_image(picture(tmp_path / "a.png", array), (28, 28))[0]
    assert (small[:, :6] == 30).all() and (small[:, -6:] == 30).all()
    rows, columns = np.nonzero(small > 128)
    assert 1.5 < np.ptp(rows) / np.ptp(columns) < 4


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n and no more"])
def test_an_unreadable_picture_is_named(content, folder):
    (folder / "cat" / "odd.png").write_bytes(content)
    with pytest.raises(DataError, match=r"cat/odd.png is .*; replace or remove it"):
        read_folder(folder, silent)


def test_a_picture_that_is_cut_off_is_named(folder):
    path = picture(folder / "10" / "cut.jpg", light_on_dark(shape=(200, 200)))
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(DataError, match=r"10/cut.jpg is not a readable picture"):
        read_folder(folder, silent)


def test_empty_folders(folder, tmp_path):
    (folder / "empty").mkdir()
    with pytest.raises(DataError, match="empty holds no picture"):
        read_folder(folder, silent)
    with pytest.raises(DataError, match="there is no directory"):
        read_folder(tmp_path / "nowhere", silent)
    with pytest.raises(DataError, match="has 0 folders, expected 2 to 256"):
        read_folder(folder / "empty", silent)


def test_without_pillow_the_extra_is_named(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(UsageError, match=r"pip install .*\[pictures\]"):
        read_folder(folder, silent)


def level(folder, number, count=4):
    for i in range(count):
        picture(folder / f"{i}.png", light_on_dark(number + i))


def part(place, number, count=4):
    for step, name in enumerate(("cat", "dog")):
        level(place / name, number + 20 * step, count)


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("training", "testing"),
        ("Train", "Test"),
        ("TRAIN", "TEST"),
        ("train_set", "test-set"),
        ("Training Data", "tst"),
        ("1_train", "2_test"),  # within longer names
        ("mnist_train", "mnist-eval"),
        ("train", "holdout"),
    ],
)
def test_folders_of_training_and_test_pictures_by_other_names(train, test, tmp_path):
    part(tmp_path / train, 60)
    part(tmp_path / test, 160, 2)
    dataset = read_folder(tmp_path, silent)
    assert dataset.class_names == ("cat", "dog") and dataset.notes == () and dataset.validation == 0
    assert sorted(dataset.train[0][:, 14, 14].tolist()) == [60, 61, 62, 63, 80, 81, 82, 83]
    assert dataset.test[0][:, 14, 14].tolist() == [160, 161, 180, 181]


@pytest.mark.parametrize("name", ["val", "valid", "validation", "Validation", "dev"])
def test_validation_pictures_are_the_last_training_pictures_and_that_is_reported(name, tmp_path):
    part(tmp_path / "train", 60)
    part(tmp_path / name, 110, 3)
    part(tmp_path / "test", 160)
    dataset = read_folder(tmp_path, silent)
    assert (len(dataset.train[1]), dataset.validation) == (14, 6)
    assert sorted(dataset.train[0][-6:, 14, 14].tolist()) == [110, 111, 112, 130, 131, 132]
    assert "`train --validation 6`" in dataset.notes[0]


def test_without_test_pictures_validation_pictures_are_used(tmp_path):
    part(tmp_path / "train", 60)
    part(tmp_path / "val", 110)
    dataset = read_folder(tmp_path, silent)
    assert dataset.test[0][:, 14, 14].tolist() == [110, 111, 112, 113, 130, 131, 132, 133]
    assert "they are used as test images" in dataset.notes[0]


def test_files_left_by_file_managers_are_ignored(tmp_path):
    part(tmp_path / "train", 60)
    part(tmp_path / "test", 160)
    for folder in (".ipynb_checkpoints", "__MACOSX", "@eaDir"):
        for root in (tmp_path, tmp_path / "train", tmp_path / "train" / "cat", tmp_path / "test" / "dog"):
            level(root / folder, 200)
    for name in ("._0.png", ".DS_Store", "Thumbs.db", "desktop.ini", "Icon\r"):
        (tmp_path / "train" / "dog" / name).write_bytes(b"?")
    (tmp_path / "train" / "cat" / "empty").mkdir()
    dataset = read_folder(tmp_path, silent)
    assert dataset.train[0].max() < 100 and len(dataset.train[0]) == len(dataset.test[0]) == 8


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (("train/cat/0.png", "train/cat/young/0.png", "train/dog/0.png"), "young is a folder inside a class folder"),
        (("a/cat/0.png", "a/dog/0.png"), r"has 1 folders \(is it --from .*/a\?\), expected 2 to 256"),
        (("train/0.png", "test/0.png"), "test, train hold pictures but no folders, expected a folder for each class"),
        (("train/cat/0.png", "train/dog/0.png", "bird/0.png"), "has the folders train and also bird"),
        (("train/cat/0.png", "Training/cat/0.png"), "Training and train both hold train images"),
        (("val/cat/0.png", "test/cat/0.png"), "has a folder test, val but none called train"),
        (("train/cat/0.png", "train/dog/0.png", "test/cat/0.png"), "dog: not a class in both"),
        (("train/cat/0.png", "train/dog/0.png", "val/bird/0.png"), "bird, cat, dog: not a class in both"),
        (("cat/0.png", "d\nog/0.png"), "has a folder 'd.*nog', expected a name that can be printed"),
        (("0.png", "1.png"), "has 0 folders, expected 2 to 256"),
    ],
)
def test_pictures_with_an_ambiguous_class_are_refused(made, message, tmp_path):
    for name in made:
        picture(tmp_path / "all" / name, light_on_dark())
    with pytest.raises(DataError, match=message):
        read_folder(tmp_path / "all", silent)


def test_classes_may_be_called_train_and_test(tmp_path):
    for name in ("train", "tram", "test"):
        level(tmp_path / name, 60)
    assert read_folder(tmp_path, silent, share=0.25).class_names == ("test", "train", "tram")


def test_a_broken_link_and_a_pipe_are_named(folder):
    (folder / "cat" / "link.png").symlink_to("nowhere.png")
    with pytest.raises(DataError, match=r"link.png is a broken link; remove it"):
        read_folder(folder, silent)
    (folder / "cat" / "link.png").unlink()
    os.mkfifo(folder / "cat" / "pipe.png")
    with pytest.raises(DataError, match=r"pipe.png is not a file; remove it"):
        read_folder(folder, silent)


def test_files_next_to_the_classes_and_copies_of_training_pictures_are_reported(folder):
    (folder / "labels.csv").write_text("0.png,cat")
    shutil.copy(folder / "cat" / "0.png", folder / "stray.png")
    dataset = read_folder(folder, silent, share=0.3)
    assert f"2 files in {folder} (labels.csv, stray.png)" in dataset.notes[0] and len(dataset.notes) == 1
    for path in sorted((folder / "2").iterdir())[1:]:
        shutil.copy(folder / "2" / "0.png", path)
    assert read_folder(folder, silent, share=0.3).notes[1].startswith("3 of the 9 test images are also training images")


def test_parts_inside_class_folders_are_refused_with_advice(tmp_path):
    for name in "ab":
        picture(tmp_path / name / "test" / "0.png", light_on_dark())
    with pytest.raises(DataError, match="make the part the outer folder: test/a"):
        read_folder(tmp_path, silent)

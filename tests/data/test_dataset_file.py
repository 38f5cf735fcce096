import gzip
import hashlib
import importlib
import json
import os
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import h5py
import mpi_jobs
import numpy as np
import pytest

from distlenet import atomic
from distlenet.data.file.dataset_file import BlockStream, open_digit_file, write_digit_file
from distlenet.errors import DataError

NAMES = tuple("0123456789")


def digits(count, seed=0, shape=(8, 6)):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, *shape), np.uint8), rng.integers(0, 10, count, np.uint8)


TRAIN, TEST = digits(2300), digits(1000, 1)


def write(path, train=TRAIN, test=TEST, **changed):
    texts = {"name": "noise", "class_names": NAMES, "source": "a random generator"}
    return write_digit_file(path, train=train, test=test, **{**texts, **changed})


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    path = tmp_path_factory.mktemp("digits") / "noise.h5"
    write(path)
    return path


@pytest.fixture
def path(original, tmp_path):
    """A copy that the test may damage."""
    copy = tmp_path / "noise.h5"
    copy.write_bytes(original.read_bytes())
    return copy


def only_file_in(directory):
    return [entry.name for entry in directory.iterdir()]


# ---- writing


def test_everything_written_is_read_back(original):
    with open_digit_file(original) as file:
        assert (file.path, file.name, file.class_names) == (original, "noise", NAMES)
        assert file.source == "a random generator"
        assert file.image_shape == (8, 6)
        assert (file.length("train"), file.length("test")) == (2300, 1000)
        for split, expected in (("train", TRAIN), ("test", TEST)):
            images, labels = file.read(split, 0, file.length(split), verify=True)
            np.testing.assert_array_equal(images, expected[0])
            np.testing.assert_array_equal(labels, expected[1])
            assert images.dtype == labels.dtype == np.uint8
            assert images.flags.c_contiguous
            file.verify(split)
        pixels = TRAIN[0] / 255.0
        assert file.mean == pytest.approx(pixels.mean(), rel=1e-14)
        assert file.std == pytest.approx(pixels.std(), rel=1e-14)


def test_layout_and_digests_are_as_documented(original):
    with h5py.File(original) as file:
        expected = []
        for split, (images, labels) in (("train", TRAIN), ("test", TEST)):
            for part in ("images", "labels", "sha256"):
                dataset = file[f"{split}/{part}"]
                assert dataset.dtype == np.uint8 and dataset.chunks is None and dataset.compression is None
            sums = [
                hashlib.sha256(images[i : i + 1000].tobytes() + labels[i : i + 1000].tobytes()).digest()
                for i in range(0, len(labels), 1000)
            ]
            assert file[f"{split}/sha256"][()].tobytes() == b"".join(sums)
            assert file[f"{split}/sha256"].shape == (len(sums), 32)
            expected += sums
        assert file.attrs["format_version"] == 1
        assert json.loads(file.attrs["class_names"]) == list(NAMES)
    with open_digit_file(original) as file:
        assert file.fingerprint == hashlib.sha256(b"".join(expected)).hexdigest()


def test_same_data_gives_the_same_bytes_and_other_data_another_fingerprint(original, tmp_path):
    write(tmp_path / "again.h5")
    assert (tmp_path / "again.h5").read_bytes() == original.read_bytes()
    other = TRAIN[0].copy()
    other[2299, 7, 5] ^= 1
    with open_digit_file(original) as file:
        assert write(tmp_path / "other.h5", train=(other, TRAIN[1])) != file.fingerprint


@pytest.mark.parametrize("length", [1, 7, 999, 1000, 1001, 2300])
def test_the_block_lengths_of_a_stream_do_not_matter(original, tmp_path, length):
    def blocks():
        for row in range(0, 2300, length):
            yield TRAIN[0][row : row + length], TRAIN[1][row : row + length]

    write(tmp_path / "streamed.h5", train=BlockStream(2300, (8, 6), blocks))
    assert (tmp_path / "streamed.h5").read_bytes() == original.read_bytes()


def test_progress_reaches_the_end_of_each_split(tmp_path):
    seen = {}
    write(tmp_path / "a.h5", progress=lambda stage, done, total: seen.__setitem__(stage, (done, total)))
    assert seen == {"writing train": (2300, 2300), "writing test": (1000, 1000)}


def test_text_may_be_in_any_script(tmp_path):
    names = ("ноль", "один", "два", "三", "四", "5", "6", "7", "8", "9")
    write(tmp_path / "a.h5", name="chiffres écrits", class_names=names)
    with open_digit_file(tmp_path / "a.h5") as file:
        assert (file.name, file.class_names) == ("chiffres écrits", names)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"train": digits(0)}, "no images"),
        ({"test": digits(5, shape=(8, 7))}, "training images are"),
        ({"train": (TRAIN[0].astype(float), TRAIN[1])}, "float64"),
        ({"train": (TRAIN[0][:-1], TRAIN[1])}, "train has images|train ended"),
        ({"train": (TRAIN[0], TRAIN[1][:-1])}, "train has images"),
        ({"train": (TRAIN[0], TRAIN[1] + 10)}, "row 0 has label 1., expected 0 to 9"),
        ({"train": (np.full((5, 8, 6), 7, np.uint8), np.zeros(5, np.uint8))}, "are equal"),
        ({"train": (TRAIN[0].reshape(2300, 48), TRAIN[1])}, "rows, columns"),
        ({"class_names": ["a"] * 10}, "class names"),
        ({"source": "two\nlines"}, "one line"),
        ({"name": ""}, "one line"),
        ({"train": BlockStream(2301, (8, 6), lambda: [TRAIN])}, "ended after 2,300"),
        ({"train": BlockStream(2299, (8, 6), lambda: [TRAIN])}, "more than the 2,299"),
    ],
)
def test_wrong_arguments_leave_the_old_file(path, changed, says):
    before = path.read_bytes()
    with pytest.raises(DataError, match=says):
        write(path, **changed)
    assert path.read_bytes() == before
    assert only_file_in(path.parent) == ["noise.h5"]


def test_an_interrupted_writer_leaves_the_old_file(path):
    before = path.read_bytes()

    def blocks():
        yield TRAIN[0][:1500], TRAIN[1][:1500]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(path, train=BlockStream(2300, (8, 6), blocks))
    assert path.read_bytes() == before
    assert only_file_in(path.parent) == ["noise.h5"]


def test_a_full_disk_is_reported_before_writing(path, monkeypatch):
    monkeypatch.setattr(atomic.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000})())
    with pytest.raises(DataError, match="disk is full"):
        write(path)
    assert only_file_in(path.parent) == ["noise.h5"]


FILL = """
import resource
import numpy as np
from distlenet.data.file.dataset_file import write_digit_file
from distlenet.errors import DataError
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
images, labels = np.arange(3000 * 48, dtype=np.uint8).reshape(3000, 8, 6), np.zeros(3000, np.uint8)
try:
    write_digit_file({path!r}, train=(images, labels), test=(images, labels), name="a",
                     class_names="01", source="b")
except DataError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on the size of files")
@pytest.mark.parametrize("limit", [0, 1000, 100_000, 200_000, 293_000])
def test_a_disk_that_fills_up_while_writing(path, limit):
    # in a separate process, because HDF5 must also let the process end silently after such a failure
    before = path.read_bytes()
    command = [sys.executable, "-c", FILL.format(limit=limit, path=str(path))]
    env = mpi_jobs.environment()
    done = subprocess.run(command, env=env, check=False, capture_output=True, text=True, timeout=60)  # into pipes
    assert (done.returncode, done.stderr) == (0, "")
    assert "disk is full" in done.stdout and done.stdout.count("\n") == 1
    assert path.read_bytes() == before
    assert only_file_in(path.parent) == ["noise.h5"]


def test_a_path_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot write"):
        write(tmp_path / "file" / "a.h5")


def test_a_link_to_another_folder_stays_a_link(tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "a.h5").symlink_to(tmp_path / "far" / "b.h5")
    write(tmp_path / "a.h5")
    assert (tmp_path / "a.h5").is_symlink() and (tmp_path / "far" / "b.h5").is_file()


def test_a_reader_keeps_the_file_it_opened_while_it_is_replaced(path):
    with open_digit_file(path) as file:
        write(path, train=digits(1200, 9))
        np.testing.assert_array_equal(file.read("train", 0, 2300, verify=True)[0], TRAIN[0])


# ---- reading


def test_the_former_module_name_still_works():
    assert importlib.import_module("distlenet.data." + "digitfile").open_digit_file is open_digit_file


@pytest.mark.parametrize("verify", [False, True])
@pytest.mark.parametrize("rows", [(0, 0), (0, 1), (0, 1000), (999, 1001), (1000, 2000), (287, 2300), (2300, 2300)])
def test_any_rows(original, rows, verify):
    with open_digit_file(original) as file:
        images, labels = file.read("train", *rows, verify=verify)
    np.testing.assert_array_equal(images, TRAIN[0][slice(*rows)])
    np.testing.assert_array_equal(labels, TRAIN[1][slice(*rows)])


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (("train", -1, 5), "rows within 0 to 2299"),
        (("train", 5, 4), "rows within 0 to 2299"),
        (("train", 0, 2301), "rows within 0 to 2299"),
        (("val", 0, 1), "no split 'val'"),
    ],
)
def test_missing_rows(original, rows, says):
    with open_digit_file(original) as file, pytest.raises(DataError, match=says):
        file.read(*rows)


def flip(path, name, row):
    with h5py.File(path) as file:
        dataset = file[name]
        at = dataset.id.get_offset() + row * int(np.prod(dataset.shape[1:]))
    with path.open("r+b") as raw:
        raw.seek(at)
        byte = raw.read(1)[0]
        raw.seek(at)
        raw.write(bytes([byte ^ 1]))


@pytest.mark.parametrize("name", ["train/images", "train/labels"])
def test_a_damaged_row_is_found_only_when_its_block_is_read(path, name):
    flip(path, name, 1500)
    with open_digit_file(path) as file:
        file.read("train", 0, 1000, verify=True)
        file.verify("train", 2000, 2300)
        file.verify("test")
        file.read("train", 1400, 1401)  # unverified
        for check in (
            lambda: file.read("train", 1999, 2300, verify=True),
            lambda: file.verify("train", 1000, 1001),
            lambda: file.verify("train"),
        ):
            with pytest.raises(DataError, match="rows 1,000 to 1,999 of /train do not match"):
                check()


def test_other_damage(path):
    flip(path, "train/images", 2299)
    with h5py.File(path, "r+") as file:
        file["train/labels"][1234] = 10
    with open_digit_file(path) as file:
        with pytest.raises(DataError, match="rows 2,000 to 2,299"):  # the last block is short
            file.verify("train", 2000)
        with pytest.raises(DataError, match="row 1234 is 10, expected 0 to 9"):
            file.read("train", 1000, 2000)
    flip(path, "test/sha256", 0)
    with pytest.raises(DataError, match="checksums are damaged"):
        open_digit_file(path)


def test_a_file_that_is_cut_off_while_it_is_open(path):
    with open_digit_file(path) as file:
        os.truncate(path, 5000)
        with pytest.raises(DataError, match=r"cannot read rows 1,000 to 1,999 of /train .* ends at or before byte"):
            file.read("train", 1000, 2000)


def test_threads_read_at_the_same_time(original):
    with open_digit_file(original) as file, ThreadPoolExecutor(8) as threads:
        for images, labels in threads.map(lambda _: file.read("train", 300, 2200, verify=True), range(100)):
            np.testing.assert_array_equal(images, TRAIN[0][300:2200])
            np.testing.assert_array_equal(labels, TRAIN[1][300:2200])


def test_a_closed_file_is_not_read(original):
    with open_digit_file(original) as file:
        pass
    with pytest.raises(DataError, match="cannot read rows"):
        file.read("train", 0, 1)


# ---- refusals


def refused(path, says):
    with pytest.raises(DataError, match=says) as raised:
        open_digit_file(path)
    message = str(raised.value)
    assert str(path) in message and "\n" not in message and len(message) < 500
    assert "distlenet prepare" in message  # what to do


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("train.csv", b"label,p0,p1\n5,0,0\n", r"not HDF5 but a table \(CSV\).*`distlenet prepare csv --from .*csv`"),
        ("mnist.npz", b"PK\x03\x04", r"not HDF5 but a numpy archive.*`distlenet prepare npz --from .*npz`"),
        ("train-images-idx3-ubyte.gz", gzip.compress(b"\0\0\x08\x03"), r"IDX file.*`distlenet prepare mnist --from"),
        ("a.parquet", b"PAR1", "Parquet table.*np.savez.*distlenet prepare npz"),
        ("a.pt", b"PK\x03\x04", "PyTorch file.*np.savez.*distlenet prepare npz"),
        ("mnist.h5", b"<html>", "HTML page"),
        ("no.h5", None, "there is no dataset"),
        ("folder", os.mkdir, "not a file but a directory"),
        ("empty", b"", "is empty"),
        ("text", b"once upon a time", "not HDF5"),
    ],
)
def test_other_kinds_of_files_are_named_with_advice(tmp_path, name, content, says):
    if callable(content):
        content(tmp_path / name)
    elif content is not None:
        (tmp_path / name).write_bytes(content)
    refused(tmp_path / name, says)


@pytest.mark.parametrize("share", [0.001, 0.3, 0.7, 0.999])
def test_a_file_that_is_cut_off(path, share):
    size = path.stat().st_size
    os.truncate(path, int(size * share))
    refused(path, f"{int(size * share):,} bytes, expected {size:,}" if share > 0.1 else "cannot open|damaged|cut off")


def test_hdf5_of_another_kind_names_the_missing_parts(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["train/images"] = TRAIN[0]
        file["x"] = 1
    refused(tmp_path / "a.h5", "another kind.*no /train/labels, /train/sha256, /test/images")


def test_float_images_with_nan_are_reported(tmp_path, path):
    images = TRAIN[0][:20] / np.float32(255)
    images[7, 0, 0] = np.nan
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["train/images"] = images
    refused(tmp_path / "a.h5", "/train/images row 7 holds NaN")
    replace(path, "train/images", images)
    refused(path, "holds float32, expected uint8 .and /train/images row 7 holds NaN")


@pytest.mark.parametrize(("version", "says"), [(0, "an older format .0, expected 1"), (2, "a newer"), ("1", "integer")])
def test_other_versions(path, version, says):
    with h5py.File(path, "r+") as file:
        file.attrs["format_version"] = version
    refused(path, says)


def replace(path, name, data, **options):
    with h5py.File(path, "r+") as file:
        del file[name]
        file.create_dataset(name, data=data, **options)


@pytest.mark.parametrize(
    ("name", "data", "options", "says"),
    [
        ("train/images", TRAIN[0].astype(np.int8), {}, "holds int8, expected uint8"),
        ("train/images", TRAIN[0].reshape(2300, 48), {}, "expected 3 dimensions"),
        ("train/labels", TRAIN[1][:, None], {}, "expected 1 dimensions"),
        ("train/labels", TRAIN[1][:-1], {}, "2,300 rows and /train/labels 2,299"),
        ("train/labels", None, {"dtype": "u1", "shape": None}, "/train/labels has no shape"),
        ("train/images", TRAIN[0], {"chunks": True}, "chunked or compressed.*h5repack"),
        ("train/images", TRAIN[0], {"compression": "gzip"}, "chunked or compressed"),
        ("train/sha256", np.zeros((2, 32), np.uint8), {}, r"expected \(3, 32\)"),
        ("train/sha256", np.zeros((3, 32), np.uint8), {}, "checksums are damaged"),
        ("test/images", np.zeros((1000, 8, 5), np.uint8), {}, "test images"),
        ("train/images", np.zeros((2300, 0, 6), np.uint8), {}, "training images are|sides"),
    ],
)
def test_other_datasets(path, name, data, options, says):
    """For missing datasets, and for data that are not plain bytes in the file, see test_hdf5."""
    if data is None:
        with h5py.File(path, "r+") as file:
            del file[name]
            file[name] = h5py.Empty("u1")
    else:
        replace(path, name, data, **options)
    refused(path, says)


@pytest.mark.parametrize(("shape", "says"), [((0, 8, 6), "split test is empty"), ((2, 513, 1), "sides of 1 to 512")])
def test_shapes_beyond_the_limits(path, shape, says):
    for split in ("test", "train") if shape[0] else ("test",):
        replace(path, f"{split}/images", np.zeros(shape, np.uint8))
        replace(path, f"{split}/labels", np.zeros(shape[0], np.uint8))
        replace(path, f"{split}/sha256", np.zeros((min(shape[0], 1), 32), np.uint8))
    refused(path, says)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("class_names", '["a", 1]', "class_names is not"),
        ("class_names", "[" * 20000, "class_names is not"),
        ("class_names", '{"a": 1}', "class_names is not"),
        ("name", b"\xff\xfe", "not a line of text"),
        ("source", "a\x1b[2J", "not a line of text"),
        ("name", 3, "not a line of text"),
        ("name", ["a", "b"], "is an array"),
        ("pixel_mean", float("nan"), "expected 0 to 1"),
        ("pixel_std", 0.0, "expected 1e-06 to 1"),
        ("pixel_std", "wide", "expected 1e-06 to 1"),
        ("fingerprint", "0" * 64, "checksums are damaged"),
        ("source", None, "no attribute source"),
    ],
)
def test_wrong_attributes(path, name, value, says):
    with h5py.File(path, "r+") as file:
        del file.attrs[name]
        if value is not None:
            file.attrs[name] = value
    refused(path, says)


def test_a_file_that_another_process_writes(path):
    hold = f"import h5py; f = h5py.File({str(path)!r}, 'r+'); print('open', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as writer:
        try:
            assert writer.stdout.readline() == "open\n"
            with pytest.raises(DataError, match=r"locked: another process .* HDF5_USE_FILE_LOCKING=FALSE"):
                open_digit_file(path)
        finally:
            writer.communicate("\n", timeout=30)


def everything(path):
    with open_digit_file(path) as file:
        rows = [file.read(split, 0, file.length(split), verify=True) for split in ("train", "test")]
        told = (file.name, file.class_names, file.source, file.mean, file.std, file.fingerprint)
        return *told, *(array.tobytes() for pair in rows for array in pair)


def test_any_change_or_cut_is_an_error_or_harmless(original, tmp_path):
    """The file has 4 kB of structures and 160 kB of data: bytes are changed in both, and it is cut anywhere."""
    whole = original.read_bytes()
    expected = everything(original)
    with h5py.File(original) as file:
        first = file["train/images"].id.get_offset()
    dice = random.Random(1998)
    spoiled = [whole[: dice.randrange(len(whole))] for _ in range(100)]
    for place in [first] * 400 + [len(whole)] * 200:
        data = bytearray(whole)
        data[dice.randrange(place)] ^= dice.randrange(1, 256)
        spoiled.append(bytes(data))
    messages = []
    for data in spoiled:
        (tmp_path / "a.h5").write_bytes(data)
        try:
            assert everything(tmp_path / "a.h5") == expected
        except DataError as error:
            messages.append(str(error))
    assert len(messages) > 300
    assert all("\n" not in message and len(message) < 500 for message in messages)

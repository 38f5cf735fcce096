import dataclasses
import gzip
import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from drawn import write_idx

from distlenet.data.file.dataset_file import open_digit_file
from distlenet.data.file.header import block_digests, fingerprint_of
from distlenet.data.sources import drawing
from distlenet.data.sources.catalogue import LIKE_MNIST, PUBLISHED, Content
from distlenet.data.sources.download import Patience
from distlenet.data.sources.drawing import draw_digits, read_drawn
from distlenet.data.sources.idx import idx_sha256
from distlenet.data.sources.prepare import prepare
from distlenet.data.sources.published import cache_directory, read_mnist
from distlenet.errors import DataError, DownloadError

RNG = np.random.default_rng(0)
ARRAYS = (
    RNG.integers(0, 256, (1200, 28, 28), np.uint8),
    np.arange(1200, dtype=np.uint8) % 10,
    RNG.integers(0, 256, (300, 28, 28), np.uint8),
    np.arange(300, dtype=np.uint8) % 10,
)
NO_PATIENCE = Patience(silence=30, pause=0, attempts=1)


@pytest.fixture
def place(bare, monkeypatch, tmp_path):
    """A directory of four small files that pass for MNIST, on a machine without any other copy."""
    (tmp_path / "place").mkdir()
    known, contents = PUBLISHED["mnist"], []
    for file, array in zip(LIKE_MNIST, ARRAYS, strict=True):
        path = tmp_path / "place" / f"{file}.gz"
        write_idx(path, array)
        packed = path.read_bytes()
        contents.append(Content(array.shape, idx_sha256(array), hashlib.sha256(packed).hexdigest(), len(packed)))
    monkeypatch.setitem(PUBLISHED, "mnist", dataclasses.replace(known, contents=tuple(contents)))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "place"


@pytest.fixture
def mirror(place):
    """The URL of a server with the four files."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(place)))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


OUT = Path("datasets/mnist.h5")
FINGERPRINT = fingerprint_of([block_digests(*ARRAYS[:2]), block_digests(*ARRAYS[2:])])


def prepare_mnist(out, *, place=None, mirrors=(), **options):
    read = partial(read_mnist, place, mirrors=mirrors, patience=NO_PATIENCE)
    return prepare(out, read, fingerprint=FINGERPRINT, **options)


def prepare_synthetic(out, *, force=False, **counts):
    return prepare(out, partial(read_drawn, None, **counts), force=force)


def test_mnist_from_a_directory(place):
    stages = {}
    prepared = prepare_mnist(OUT, place=place, progress=lambda stage, *n: stages.__setitem__(stage, n))
    assert prepared.written and prepared.origin == str(place)
    assert (prepared.file.length("train"), prepared.file.length("test")) == (1200, 300)
    assert stages == {"reading MNIST": (4, 4), "writing train": (1200, 1200), "writing test": (300, 300)}
    with open_digit_file(OUT) as digits:
        assert digits.name == "MNIST"
        assert digits.source == (
            "MNIST handwritten digits (Yann LeCun, Corinna Cortes, Chris Burges), verified by SHA-256"
        )
        assert digits.fingerprint == prepared.file.fingerprint == FINGERPRINT
        np.testing.assert_array_equal(digits.read("test", 0, 300)[0], ARRAYS[2])


def test_a_second_call_does_nothing(place):
    prepare_mnist(OUT, place=place)
    before = OUT.stat()
    prepared = prepare_mnist(OUT)  # and needs no source
    assert not prepared.written and prepared.origin == ""
    assert (OUT.stat().st_ino, OUT.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert prepare_mnist(OUT, place=place, force=True).written


def test_a_damaged_file_is_refused_and_replaced_with_force(place):
    prepare_mnist(OUT, place=place)
    whole = OUT.read_bytes()
    at = whole.index(ARRAYS[0][700].tobytes())
    OUT.write_bytes(whole[:at] + b"?" + whole[at + 1 :])
    with pytest.raises(DataError, match=r"rows 0 to 999 .* --force"):
        prepare_mnist(OUT, place=place)
    prepare_mnist(OUT, place=place, force=True)
    assert OUT.read_bytes() == whole


@pytest.mark.parametrize("content", [b"my thesis", b"", b"\x89HDF\r\n\x1a\n and no more"])
def test_other_files_are_left_alone(place, content):
    Path("thesis").write_bytes(content)
    for make in (partial(prepare_mnist, place=place), partial(prepare_synthetic, train=10, test=10)):
        with pytest.raises(DataError, match="to replace the file, add --force") as raised:
            make(Path("thesis"))
        assert str(raised.value).count("--force") == 1
    assert Path("thesis").read_bytes() == content


def test_digits_of_another_kind_are_left_alone(place):
    prepare_synthetic(OUT, train=100, test=100)
    with pytest.raises(DataError, match=r"holds other data: drawn digits .* 100 \+ 100 images; add --force"):
        prepare_mnist(OUT, place=place)
    assert prepare_mnist(OUT, place=place, force=True).file.name == "MNIST"
    with pytest.raises(DataError, match="holds other data: MNIST"):
        prepare_synthetic(OUT, train=100, test=100)


def test_mnist_is_downloaded_and_kept(place, mirror):
    prepared = prepare_mnist(OUT, mirrors=(mirror,))
    cache = cache_directory()
    assert prepared.origin == str(cache) and cache.is_relative_to(place.parent / "home")
    assert sorted(path.name for path in cache.iterdir()) == sorted(f"{file}.gz" for file in LIKE_MNIST)
    OUT.unlink()
    assert prepare_mnist(OUT, mirrors=()).written  # from the cache


def test_a_damaged_or_half_filled_cache_is_completed(place, mirror):
    cache = cache_directory()
    cache.mkdir(parents=True)
    (cache / f"{LIKE_MNIST[0]}.gz").write_bytes(b"junk")
    (cache / f"{LIKE_MNIST[1]}.gz").write_bytes((place / f"{LIKE_MNIST[1]}.gz").read_bytes())
    assert prepare_mnist(OUT, mirrors=(mirror,)).written


def test_offline_reports_the_attempts_and_gives_advice(place, mirror):
    mirrors = (f"{mirror}nowhere/", "http://127.0.0.1:1/")
    with pytest.raises(DownloadError) as raised:
        prepare_mnist(OUT, mirrors=mirrors)
    message = str(raised.value)
    for words in ("answered 404", "127.0.0.1:1 failed", "--from", "$DISTLENET_MNIST", "prepare synthetic"):
        assert words in message
    assert "\n" not in message and not OUT.exists()


def test_a_mirror_with_other_digits_is_refused(place, mirror):
    path = place / f"{LIKE_MNIST[3]}.gz"
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-1] + b"\7"))
    with pytest.raises(DownloadError, match=r"SHA-256|offers"):
        prepare_mnist(OUT, mirrors=(mirror,))


def test_drawn_digits_are_labelled_as_such_and_reproducible(tmp_path):
    first, second = tmp_path / "a.h5", tmp_path / "b.h5"
    prepared = prepare_synthetic(first, train=1500, test=200, seed=3)
    prepare_synthetic(second, train=1500, test=200, seed=3)
    assert first.read_bytes() == second.read_bytes()
    assert prepared.written and (prepared.file.length("train"), prepared.file.length("test")) == (1500, 200)
    assert prepared.file.name == "drawn digits"
    assert "not MNIST" in prepared.file.source and "seed 3" in prepared.file.source
    assert not prepare_synthetic(first, train=1500, test=200, seed=3).written
    for other in ({"train": 1499}, {"test": 201}, {"seed": 4}):
        with pytest.raises(DataError, match="holds other data"):
            prepare_synthetic(first, **{"train": 1500, "test": 200, "seed": 3, **other})


def test_test_digits_differ_from_training_digits_and_do_not_depend_on_their_number(tmp_path):
    def rows(train):
        path = tmp_path / f"{train}.h5"
        prepare_synthetic(path, train=train, test=300)
        with open_digit_file(path) as digits:
            return [digits.read(split, 0, digits.length(split))[0] for split in ("train", "test")]

    (some, test), (more, same_test) = rows(500), rows(1100)
    np.testing.assert_array_equal(test, same_test)
    np.testing.assert_array_equal(some, more[:500])
    assert not {image.tobytes() for image in more} & {image.tobytes() for image in test}


@pytest.mark.parametrize("distinct", [500, 1000, 1300])
def test_a_few_digits_are_repeated(tmp_path, distinct):
    path, few = tmp_path / "many.h5", draw_digits(distinct, 3)
    prepared = prepare_synthetic(path, train=4100, test=200, seed=3, distinct=distinct)
    assert f"the first {distinct:,} training images are repeated" in prepared.file.source
    with open_digit_file(path) as digits:
        images, labels = digits.read("train", 0, 4100, verify=True)
    rows = np.arange(4100) % distinct
    np.testing.assert_array_equal(images, few[0][rows])
    np.testing.assert_array_equal(labels, few[1][rows])
    assert not prepare_synthetic(path, train=4100, test=200, seed=3, distinct=distinct).written
    with pytest.raises(DataError, match="holds other data"):
        prepare_synthetic(path, train=4100, test=200, seed=3)


def test_as_many_distinct_as_training_digits_changes_nothing(tmp_path):
    prepare_synthetic(tmp_path / "a.h5", train=700, test=200)
    assert not prepare_synthetic(tmp_path / "a.h5", train=700, test=200, distinct=700).written


def test_a_changed_way_of_drawing_is_noticed(tmp_path, monkeypatch):
    prepare_synthetic(tmp_path / "a.h5", train=20, test=20)
    draw = drawing.draw_digits
    monkeypatch.setattr(drawing, "draw_digits", lambda *args: (255 - draw(*args)[0], draw(*args)[1]))
    with pytest.raises(DataError, match="holds other data"):
        prepare_synthetic(tmp_path / "a.h5", train=20, test=20)


@pytest.mark.parametrize("counts", [(0, 1), (1, 0), (-5, 1), (10**9 + 1, 1)])
def test_impossible_counts(tmp_path, counts):
    with pytest.raises(DataError, match="expected 1 to"):
        prepare_synthetic(tmp_path / "a.h5", train=counts[0], test=counts[1])


def test_concurrent_calls_leave_one_whole_file(place):
    with ThreadPoolExecutor(6) as threads:
        for prepared in threads.map(lambda _: prepare_mnist(OUT, place=place, force=True), range(6)):
            assert prepared.written
    assert [path.name for path in OUT.parent.iterdir()] == ["mnist.h5"]
    with open_digit_file(OUT) as digits:
        digits.verify("train")
        digits.verify("test")

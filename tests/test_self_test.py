"""The known training, and the self-test of doctor: injected faults are found, and the right part is named."""

import json
import shutil
import sys

import mpi_jobs
import numpy as np
import pytest
import unlike
from drawn import MNIST, needs_mnist

from distlenet.doctor import self_test as module
from distlenet.doctor.known import KNOWN, Drawn, train_known
from distlenet.doctor.self_test import self_test

MATMUL = np.matmul
KNOWN_MNIST = "f0d5a8f65e57c6d89e43fc609bcf1f6db5ef9e396e1988b33b43e6a32bd53be6"


def test_a_sound_machine():
    found = self_test()
    assert found["repeats"] and found["known"] and found["culprit"] is None
    assert found["portable"] == KNOWN and found["native"] not in (KNOWN, "")


@pytest.mark.parametrize("machine", [unlike.OLD_BLAS, unlike.PLAIN_NUMPY], ids=["old BLAS", "plain numpy"])
def test_the_known_bits_on_older_machines(machine):
    done = mpi_jobs.run([sys.executable, "-m", "distlenet", "doctor", "--json"], env=mpi_jobs.environment(**machine))
    found = json.loads(done.expect().stdout)["ranks"][0]["self_test"]
    assert found["known"] and found["repeats"] and found["culprit"] is None


def test_the_known_bits_on_arm64(request, tmp_path):
    if not request.config.getoption("soak") or not shutil.which("apt-get"):
        pytest.skip("a soak test, which needs apt-get and a network")
    program = (
        "import platform; from distlenet.doctor import known; "
        "print(platform.machine(), known.train_known(known.Drawn(), 'portable'))"
    )
    done = mpi_jobs.run([str(mpi_jobs.ROOT / "tests/arm64.sh"), str(tmp_path), "-c", program], timeout=900)
    assert done.expect().stdout.split() == ["aarch64", KNOWN]


@pytest.fixture(scope="module")
def known_digits(tmp_path_factory):
    path = tmp_path_factory.mktemp("known") / "digits.h5"
    mpi_jobs.distlenet("prepare", "synthetic", "--train", 1280, "--test", 100, "--out", path).expect()
    return path


@needs_mnist
def test_the_known_bits_of_mnist(distlenet, tmp_path):
    distlenet("prepare", "mnist", "--from", MNIST, "--out", tmp_path / "mnist.h5").expect()
    words = ["--data", tmp_path / "mnist.h5", "--run", tmp_path / "run", "--numerics", "portable", "--recipe", "fast"]
    words += ["--epochs", 1, "--seed", 1, "--shards", 8, "--batch-size", 256, "--display", "quiet"]
    distlenet("train", *words).expect()
    assert json.loads((tmp_path / "run/summary.json").read_text())["theta_sha256"] == KNOWN_MNIST


def test_the_specification_states_the_known_bits():
    page = (mpi_jobs.ROOT / "distlenet/arithmetic/README.md").read_text(encoding="utf-8")
    assert f"`{KNOWN}`" in page and f"`{KNOWN_MNIST}`" in page


@pytest.mark.parametrize("ranks", [1, 3])
def test_the_command_line_ends_with_the_known_bits(ranks, known_digits, openmpi, distlenet, tmp_path):
    words = ["--data", known_digits, "--run", tmp_path / "run", "--numerics", "portable", "--epochs", 1]
    words += ["--batch-size", 64, "--shards", 4, "--validation", 0, "--display", "quiet"]
    distlenet("train", *words, runtime=openmpi if ranks > 1 else None, ranks=ranks).expect()
    summary = json.loads((tmp_path / "run/summary.json").read_text())
    assert (summary["theta_sha256"], summary["steps"]) == (KNOWN, 20)


def rounding_blas(a, b, *args, **options):
    """Like a BLAS that adds up float64 products in float32."""
    found = MATMUL(a, b, *args, **options)
    if found.dtype == np.float64:
        found[...] = found.astype(np.float32)
    return found


def nearly_right_blas(a, b, *args, **options):
    """Like a BLAS with a fault in the last bit of one sum, which a training may not notice."""
    found = MATMUL(a, b, *args, **options)
    if found.dtype == np.float64:
        found.flat[0] = np.nextafter(found.flat[0], 1e9)
    return found


@pytest.mark.parametrize("blas", [rounding_blas, nearly_right_blas])
def test_a_blas_that_is_wrong(blas, monkeypatch):
    monkeypatch.setattr(np, "matmul", blas)
    found = self_test()
    assert found["repeats"] and found["known"] == (blas is nearly_right_blas)
    assert found["culprit"].startswith("the BLAS (") and "a product of 16 x 150 and 150 x 640" in found["culprit"]


def test_a_numpy_that_is_wrong(monkeypatch):
    monkeypatch.setattr(np, "rint", lambda x, *out: np.floor(np.add(x, 0.501), *out))
    found = self_test()
    assert found["repeats"] and not found["known"]
    assert found["culprit"].startswith(f"numpy {np.__version__}: its rint differs from IEEE 754")


@pytest.mark.parametrize("part", [0.2, 0.5, 0.8], ids=["first native run", "second native run", "portable run"])
def test_a_cpu_that_is_wrong_once(part, monkeypatch):
    calls, hit = 0, None

    def faulty(a, b, *args, **options):
        nonlocal calls
        calls, found = calls + 1, MATMUL(a, b, *args, **options)
        found += found.dtype.type(calls == hit)
        return found

    monkeypatch.setattr(np, "matmul", faulty)
    assert self_test()["culprit"] is None
    calls, hit = 0, int(part * calls)
    assert self_test()["culprit"].startswith("this CPU, or its memory")


def test_a_fault_of_unknown_origin(monkeypatch):
    digits = Drawn()
    digits.images[0, 14, 14] ^= 1
    monkeypatch.setattr(module, "Drawn", lambda: digits)
    assert self_test()["culprit"].startswith("unknown")
    assert train_known(digits, "portable") != KNOWN


def test_doctor_reports_the_culprit_and_fails(monkeypatch, distlenet, tmp_path):
    monkeypatch.setattr(np, "matmul", rounding_blas)
    done = distlenet("doctor", "--run", tmp_path)
    done.expect(19, "WRONG bits")
    assert "the cause is the BLAS" in " ".join(done.stdout.split())

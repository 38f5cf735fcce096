"""Portable arithmetic gives the same bits with every BLAS kernel, number of threads and set of CPU features."""

import sys
from functools import cache

import mpi_jobs
import pytest

JOB = mpi_jobs.ROOT / "tests/jobs/portable_steps.py"
MOST = (
    "X86_V4 X86_V3 AVX512_SKX AVX512_ICL AVX2 FMA3"  # names differ between versions of numpy; unknown ones are ignored
)
SOME = [("Haswell", "2"), ("Prescott", "1")]
ALL = [(kernel, threads) for kernel in ("Zen", "Sandybridge", "Nehalem", "SkylakeX") for threads in ("1", "2")]


@cache
def lines(**variables: str) -> str:
    """Return what the job prints with these environment variables."""
    environment = mpi_jobs.environment(**variables, NPY_DISABLE_CPU_FEATURES_WARN="0")
    return mpi_jobs.run([sys.executable, "-W", "ignore", str(JOB)], env=environment).expect().stdout


@pytest.mark.parametrize(("kernel", "threads"), SOME)
def test_kernels_and_threads(kernel, threads):
    assert lines(OPENBLAS_CORETYPE=kernel, OPENBLAS_NUM_THREADS=threads) == lines()
    assert lines().count("\n") > 20


def test_cpu_features_of_numpy():
    assert lines(NPY_DISABLE_CPU_FEATURES=MOST) == lines()


@pytest.mark.skipif("--soak" not in sys.argv, reason="a soak test: --soak")
@pytest.mark.parametrize(("kernel", "threads"), ALL)
def test_more_kernels_and_threads(kernel, threads):
    if kernel == "SkylakeX" and "avx512f" not in open("/proc/cpuinfo").read():
        pytest.skip("this CPU has no AVX-512")
    assert lines(OPENBLAS_CORETYPE=kernel, OPENBLAS_NUM_THREADS=threads) == lines()

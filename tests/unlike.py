"""Environments in which this machine computes like an older one."""

import numpy as np

_umath = np._core._multiarray_umath
# numpy's loops for all machines, instead of those that it has for this CPU's features
PLAIN_NUMPY = {
    "NPY_DISABLE_CPU_FEATURES": " ".join(name for name in _umath.__cpu_dispatch__ if _umath.__cpu_features__.get(name))
}
OLD_BLAS = {"OPENBLAS_CORETYPE": "Prescott"}

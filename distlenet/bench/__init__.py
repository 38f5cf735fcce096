"""Benchmarks of this machine: the real training loop on random pictures, compared with PyTorch if installed.

``race``, ``growth`` and ``costmodel`` are programs of their own, ``worker`` and ``exchange`` ranks of the jobs that
are timed: started by ``python -m``, they run one BLAS thread a rank, as the command line does.
"""

import os

for _variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):  # before numpy loads; an explicit setting wins
    os.environ.setdefault(_variable, "1")

"""Benchmarks of this machine: the real training loop on random pictures, compared with PyTorch if installed.

``race``, ``growth`` and ``costmodel`` are separate programs; ``worker`` and ``exchange`` are ranks of the timed jobs.
All are started by ``python -m`` and run one BLAS thread per rank, as the command line does.
"""

import os

for _variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):  # before numpy loads; an explicit setting wins
    os.environ.setdefault(_variable, "1")

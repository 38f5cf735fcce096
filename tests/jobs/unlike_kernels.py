"""distlenet on ranks whose BLAS uses another kernel each, as on hosts with different CPUs."""

import os
import sys

rank = next(int(os.environ[name]) for name in ("OMPI_COMM_WORLD_RANK", "PMI_RANK") if name in os.environ)
os.environ["OPENBLAS_CORETYPE"] = ("Haswell", "Nehalem", "Prescott")[rank]

from distlenet.cli import main

sys.exit(main(sys.argv[1:]))

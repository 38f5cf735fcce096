"""``hampered.py KIND RANK SIZE arguments...``: the command line on one core a rank, and one rank that is kept slow.

KIND: "load" sleeps SIZE milliseconds in each load; "threads" computes with SIZE BLAS threads; "stress" has a process of
niceness SIZE on its core; "shared" puts the rank and the next one on one core; "none" changes nothing.
"""

import contextlib
import os
import subprocess
import sys
import time

kind, slow, size = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
names = ("OMPI_COMM_WORLD_RANK", "PMI_RANK")
rank = next(int(os.environ[name]) for name in names if name in os.environ)
cores = sorted(os.sched_getaffinity(0))
place = slow if kind == "shared" and rank == slow + 1 else rank
if kind == "threads" and rank == slow:
    os.environ["OPENBLAS_NUM_THREADS"] = str(int(size))  # OpenBLAS starts no more threads than the cores it may use
else:
    os.sched_setaffinity(0, {cores[place % len(cores)]})  # before MPI starts its threads

from distlenet.cli import main
from distlenet.data.leaves import Leaves

stress = None
if kind == "load" and rank == slow:
    load = Leaves.load

    def sleepy(*arguments):
        time.sleep(size / 1000)
        return load(*arguments)

    Leaves.load = sleepy
if kind == "stress" and rank == slow:
    busy = f"import os\nos.nice({int(size)})\nparent = os.getppid()\nwhile os.getppid() == parent: sum(range(10**5))"
    stress = subprocess.Popen([sys.executable, "-c", busy])
try:
    code = main(sys.argv[4:])
finally:
    if stress:
        with contextlib.suppress(OSError):
            stress.kill()
        stress.wait()
sys.exit(code)

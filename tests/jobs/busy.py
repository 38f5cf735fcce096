"""``busy.py SECONDS``: the last rank computes for that long without MPI, then all add up; the root prints the sum."""

import sys
import time

import numpy as np

from distlenet.errors import RanksLost
from distlenet.parallel.mpi_recovery import RecoverableCommunicator

comm = RecoverableCommunicator()
if comm.rank == comm.size - 1:
    end, matrix = time.monotonic() + float(sys.argv[1]), np.eye(200)
    while time.monotonic() < end:
        matrix = matrix @ matrix
values = np.ones(1)
try:
    comm.allreduce(values)
except RanksLost as error:
    sys.exit(str(error))
if comm.is_root:
    print("sum", values[0])
comm.leave(0)

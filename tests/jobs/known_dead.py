"""Rank 1 dies; rank 0 takes part in a sum only once MPI knows of it, and prints what happened."""

import os
import signal
import sys
import time

import numpy as np
from mpi4py import MPI

from distlenet.errors import RanksLost
from distlenet.parallel.mpi_recovery import RecoverableCommunicator

comm = RecoverableCommunicator()
kind, leaves, values = sys.argv[1], np.ones((1, 10), np.float32), np.ones(1)


def add() -> None:
    if kind == "leaves":
        comm.allreduce_leaves(leaves, comm.size)
    else:
        comm.allreduce(values)


add()
if comm.rank == 1:
    os.kill(os.getpid(), signal.SIGKILL)
while not comm._comm.Get_failed().size:
    MPI.COMM_SELF.Iprobe()
    time.sleep(0.01)
try:
    add()
    print("a sum without rank 1", flush=True)
except RanksLost:
    print("rank 1 is missed", flush=True)
comm.leave(0)

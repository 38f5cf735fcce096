"""Run by several ranks: rank 1 fails in the way named by the first argument while the others wait for it."""

import sys
import time
from pathlib import Path

import numpy as np

from distlenet.errors import DataError
from distlenet.parallel.agreement import all_or_nothing
from distlenet.parallel.connect import connect

FAILURES = {
    "ValueError": ValueError("a defect"),
    "DistlenetError": DataError("the disk is torn"),
    "SystemExit": SystemExit(3),
    "SystemExit with text": SystemExit("this is the end"),
    "KeyboardInterrupt": KeyboardInterrupt(),
}

comm = connect()
with all_or_nothing(comm):
    comm.allreduce(np.zeros(1))
    if comm.rank == 1:
        Path(sys.argv[2]).write_text(str(time.time()))
        raise FAILURES[sys.argv[1]]
    comm.allreduce(np.zeros(1))

"""``signalled.py RANK SIGNAL STEP arguments...``: the command line, but a rank gets a signal during a step.

SIGNAL may also be HANG: the rank waits forever for something other than a rank.
"""

import os
import signal
import sys

from distlenet.cli import main
from distlenet.parallel import connect as launcher
from distlenet.training import loop

rank, name, wanted = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
compute_leaves, connect = loop.compute_leaves, launcher.connect
comm = None


def remember_the_communicator(*arguments):
    global comm  # noqa: PLW0603
    comm = connect(*arguments)
    return comm


def send_the_signal_first(state, *rest):
    if state.progress.steps == wanted and comm.rank == rank:
        if name == "HANG":
            os.read(os.pipe()[0], 1)
        os.kill(os.getpid(), getattr(signal, name))
    return compute_leaves(state, *rest)


launcher.connect = remember_the_communicator
loop.compute_leaves = send_the_signal_first
sys.exit(main(sys.argv[4:]))

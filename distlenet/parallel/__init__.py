"""Communication between ranks: one protocol with a serial and an MPI implementation.

mpi4py is imported only in ``mpi*.py``, and only if a launcher started the process.
"""

from distlenet.parallel.communicator import Communicator, Serial
from distlenet.parallel.tree import owned_shards

__all__ = ["Communicator", "Serial", "owned_shards"]

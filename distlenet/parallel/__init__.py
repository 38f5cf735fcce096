"""How ranks add up what they computed: one protocol, a serial and an MPI communicator behind it.

mpi4py is imported only in ``mpi*.py`` here, and only when a launcher started the process.
"""

from distlenet.parallel.communicator import Communicator, Serial
from distlenet.parallel.tree import owned_shards

__all__ = ["Communicator", "Serial", "owned_shards"]

"""The limits of this machine that bound every peer: a large matrix product and a large copy, by numpy on one core."""

import numpy as np

from distlenet.bench.peers.ours import version
from distlenet.bench.peers.peer import Peer, Work

NEEDS = ()
INSTALL = ""
SIDE = 1024
PRODUCT_FLOPS = 2 * SIDE**3
FLOATS = 2**24  # 64 MiB, more than the caches hold
COPY_BYTES = 2 * 4 * FLOATS  # read and written


class Limits(Peer):
    """Matrix product and copy."""

    name = "numpy"
    kinds = ("sgemm", "bandwidth")

    def __init__(self, work: Work) -> None:
        self.version = version()
        a, source = np.ones((SIDE, SIDE), np.float32), np.ones(FLOATS, np.float32)
        product, copied = np.empty_like(a), np.empty_like(source)
        self.tasks = {
            "sgemm": lambda: np.matmul(a, a, out=product),
            "bandwidth": lambda: np.copyto(copied, source),
        }


PEERS = (Limits,)

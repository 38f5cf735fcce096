"""The limits and the checksums of a dataset file: one SHA-256 digest per block of 1,000 rows.

A rank that reads its own shard verifies just the blocks it touches; the fingerprint of the whole file
is the SHA-256 of the digests, so it costs nothing to know which data a file holds.
"""

import hashlib
from collections.abc import Iterable

import numpy as np

from distlenet.activity import advance

FORMAT_VERSION = 1
BLOCK_ROWS = 1000
DIGEST_BYTES = 32
SPLITS = ("train", "test")
LARGEST_SIDE = 512  # pixels; far beyond what the network takes, small enough to bound every read
LONGEST_TEXT = 30_000  # bytes of an attribute, so that it fits into the checksummed header


def block_count(rows: int) -> int:
    """Return the number of blocks of ``rows`` rows; the last block may be short."""
    return -(-rows // BLOCK_ROWS)


def block_digests(images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the digests, uint8 (blocks, 32), of rows that start at a block boundary.

    ``images`` is C-contiguous uint8 (n, rows, columns), ``labels`` is uint8 (n,). A digest is the
    SHA-256 of the block's image bytes followed by its label bytes.
    """
    digests = np.empty((block_count(len(labels)), DIGEST_BYTES), np.uint8)
    for block in range(len(digests)):
        rows = slice(block * BLOCK_ROWS, (block + 1) * BLOCK_ROWS)
        digest = hashlib.sha256(images[rows])
        digest.update(labels[rows])
        digests[block] = np.frombuffer(digest.digest(), np.uint8)
        advance()
    return digests


def fingerprint(digests: Iterable[np.ndarray]) -> str:
    """Return the SHA-256, in hexadecimal, of the digests of all splits (train, then test)."""
    whole = hashlib.sha256()
    for of_split in digests:  # (blocks, 32) each
        whole.update(np.ascontiguousarray(of_split))
    return whole.hexdigest()

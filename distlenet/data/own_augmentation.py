"""A user-defined augmentation: a function of a leaf's images and of the plan's random numbers."""

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np

from distlenet.arithmetic import NATIVE, Arithmetic
from distlenet.data.plan import OWN
from distlenet.errors import ConfigError, OwnCodeError
from distlenet.own_code import load, running
from distlenet.trust import Trust

TRIAL = 4  # random images that it is tried on


class OwnAugmentation:
    """Calls the user's function ``(images, random)`` for each leaf, before the built-in augmentation.

    It gets ``images`` (n, rows, columns) uint8, 0 for the background to 255, which it may overwrite, and ``random``, a
    numpy Generator, or under --numerics portable a generator with some of its methods. It returns (n, rows, columns)
    uint8. The generator depends on the run's seed and the leaf's epoch, step and shard. The images are therefore
    independent of the number of ranks, provided that the function draws only from this generator and keeps no state.

    Raises UntrustedCodeError if ``trust`` does not admit it. Raises ConfigError, in one sentence, if it cannot be
    loaded or fails on random images of ``rows`` x ``columns`` pixels.
    """

    def __init__(self, name: str, rows: int, columns: int, trust: Trust, arithmetic: Arithmetic = NATIVE) -> None:
        self.name, self._arithmetic = f"augmentation {name}", arithmetic
        self._augment: Callable[..., Any]
        self._augment, source = load(name, trust, "augmentation", "images, random")
        self.code_sha256 = source.sha256
        images = np.random.default_rng(1).integers(0, 256, (TRIAL, rows, columns), np.uint8)
        before = np.random.get_state()  # noqa: NPY002
        try:
            answers = [self.apply(images.copy(), 1, 0, 0, 0).tobytes() for _ in range(2)]
        finally:
            np.random.set_state(before)  # noqa: NPY002
        if answers[0] != answers[1]:
            raise ConfigError(
                f"{self.name} gives different results for the same images and random numbers, expected equal ones: "
                "draw only from the generator that is passed in, and keep no state"
            )
        self.answer = hashlib.sha256(answers[0]).hexdigest()

    def apply(self, images: np.ndarray, seed: int, epoch: int, step: int, shard: int) -> np.ndarray:
        """Return the augmented ``images`` (n, rows, columns) uint8 of a leaf; raises OwnCodeError."""
        shape = images.shape
        with running(f"{self.name} on {shape[0]} images of {shape[1]} x {shape[2]} pixels"):
            found = self._augment(images, self._arithmetic.stream(seed, OWN, epoch, step, shard))
        if not isinstance(found, np.ndarray) or (found.dtype, found.shape) != (np.uint8, shape):
            what = f"{found.dtype} {found.shape}" if isinstance(found, np.ndarray) else type(found).__name__
            raise OwnCodeError(f"{self.name} returned {what}, expected uint8 {shape}")
        return found

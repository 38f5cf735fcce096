"""The optimizer and the schedule of a run: known by name, or user-defined.

User-defined ones are tried on random numbers before the first step, to find faults that would otherwise show only after
hours: state that a checkpoint would not hold, results that differ from call to call, arrays of wrong shape or dtype.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from math import isfinite
from numbers import Real

import numpy as np

from distlenet.config import Config
from distlenet.errors import ConfigError, DistlenetError, OwnCodeError, nearest
from distlenet.nn.optimizers import OPTIMIZERS, Optimizer
from distlenet.nn.schedules import SCHEDULES, Schedule
from distlenet.own_code import load, running
from distlenet.paths import is_custom
from distlenet.trust import NOTHING, Trust

STEPS, HALF = 4, 2  # steps of an optimizer's trial; after half of them it is restored from its state
POSITIONS = 1000  # most steps at which a schedule is tried


def build_optimizer(
    config: Config, decays: np.ndarray, trust: Trust = NOTHING, matrices: Sequence[tuple[slice, tuple[int, int]]] = ()
) -> Optimizer:
    """Return the optimizer of ``config`` for parameters with these ``decays`` (parameters,) and ``matrices``: see Net.

    Raises ConfigError if there is no such optimizer, or if a user-defined one, which ``trust`` admits, is at fault.
    """
    name = config.optimizer
    if is_custom(name):
        return own_optimizer(config, decays, trust)
    _check_known(name, OPTIMIZERS, "optimizer", "CLASS")
    optimizer = OPTIMIZERS[name](config, decays)
    optimizer.matrices = matrices
    return optimizer


def build_schedule(config: Config, steps: int, trust: Trust = NOTHING) -> Schedule:
    """Return the schedule of ``config`` for a run of ``steps``: a function from the step, counted from 0, to the rate.

    Raises ConfigError if there is no such schedule, or if a user-defined one, which ``trust`` admits, is at fault.
    """
    name = config.schedule
    if is_custom(name):
        return OwnSchedule(name, config.lr, steps, trust)
    _check_known(name, SCHEDULES, "schedule", "FUNCTION")
    return SCHEDULES[name](config, steps)


def _check_known(name: str, choices: Iterable[str], what: str, kind: str) -> None:
    """Raise ConfigError unless ``name`` is one of ``choices``."""
    if name.endswith(".py"):
        raise ConfigError(f"{what} {name}: name the {kind.lower()} too, {name}:{kind}")
    if name not in choices:
        known = ", ".join(choices)
        raise ConfigError(f"{what} {name!r} is unknown{nearest(name, choices)}: one of {known}, or FILE.py:{kind}")


def own_optimizer(config: Config, decays: np.ndarray, trust: Trust) -> Optimizer:
    """Return an optimizer of the user's class ``config.optimizer``, a subclass of Optimizer.

    Its ``update(theta, gradient, lr)`` changes ``theta`` (parameters,) float32 in place, given the mean ``gradient``
    (parameters,) float32, which it may overwrite, and the rate, a float32 number. Its memory from step to step is
    ``self.state``: float32 vectors of the same length under ``state_names``. ``self.steps`` counts from 1, and
    ``self.decay`` (parameters,) is the weight decay. ``self.settings`` holds the settings that ``takes`` names. Nothing
    else is saved in a checkpoint.

    Raises UntrustedCodeError if ``trust`` does not admit it. Raises ConfigError, in one sentence, if it cannot be
    loaded, fails its trial, or is not such a class.
    """
    name = f"optimizer {config.optimizer}"
    make, source = load(config.optimizer, trust, "optimizer")
    if not (isinstance(make, type) and issubclass(make, Optimizer)):
        raise ConfigError(f"{name} is not a subclass of Optimizer, expected class NAME(distlenet.nn.Optimizer)")
    names = make.state_names
    if not (isinstance(names, tuple | list) and all(isinstance(key, str) and key.isidentifier() for key in names)):
        raise ConfigError(f'{name} has state_names = {names!r:.80}, expected a tuple of names like ("mean",)')
    if not (isinstance(make.takes, tuple | list) and all(isinstance(key, str) for key in make.takes)):
        raise ConfigError(f'{name} has takes = {make.takes!r:.80}, expected a tuple of settings like ("momentum",)')
    settings = [item.name for item in fields(Config)]
    for key in make.takes:
        if key not in settings:
            raise ConfigError(f"{name}: takes names {key!r}, which is not a setting{nearest(key, settings)}")
    taken = {"average"} if "curvature_samples" in make.takes else {"average", "curvature"}  # the training loop's own
    if reserved := taken & set(names):
        raise ConfigError(f"{name} has {reserved.pop()!r} among its state_names, expected another name: it is reserved")

    def build() -> Optimizer:
        with running(name, ConfigError):
            return make(config, decays)

    optimizer = build()
    optimizer.code_sha256, optimizer.answer = source.sha256, _try_optimizer(build, len(decays), name)
    _watch(optimizer, name)
    return optimizer


def _try_optimizer(build: Callable[[], Optimizer], size: int, name: str) -> str:
    """Take a few steps on random numbers; return the SHA-256 of the results. Raises ConfigError."""
    rng = np.random.default_rng(1)
    start = rng.normal(0, 0.1, size).astype(np.float32)
    gradients = rng.normal(0, 0.01, (STEPS, size)).astype(np.float32)

    def take(optimizer: Optimizer, theta: np.ndarray, steps: range) -> dict[str, np.ndarray]:
        """Return copies of theta and the state after ``steps``."""
        with running(name, ConfigError), np.errstate(all="ignore"):
            for step in steps:
                optimizer.step(theta, gradients[step].copy(), 0.01)
                _check_state(optimizer, theta)
        return {"theta": theta.copy()} | {key: vector.copy() for key, vector in optimizer.state.items()}

    before = np.random.get_state()  # noqa: NPY002
    try:
        optimizer, theta = build(), start.copy()
        half = take(optimizer, theta, range(HALF))
        whole = take(optimizer, theta, range(HALF, STEPS))
        again = take(build(), start.copy(), range(STEPS))
        restored = build()
        for key, vector in restored.state.items():
            vector[:] = half[key]
        restored.steps = HALF
        resumed = take(restored, half["theta"], range(HALF, STEPS))
    finally:
        np.random.set_state(before)  # noqa: NPY002
    if np.array_equal(whole["theta"], start):
        raise ConfigError(f"{name} did not change theta, expected a change in place: theta -= lr * gradient")
    if strange := [key for key, vector in whole.items() if not np.isfinite(vector).all()]:
        raise ConfigError(f"{name} made {strange[0]} NaN or infinite within {STEPS} steps, expected finite numbers")
    if _digest(again) != _digest(whole):
        raise ConfigError(
            f"{name} gives different results for the same numbers when it is created again, expected the same: use no "
            "random numbers, and keep no state outside self"
        )
    if _digest(resumed) != _digest(whole):
        raise ConfigError(
            f"{name} gives different results after it is restored from a checkpoint, expected the same: keep all "
            "its state in self.state, under state_names, and count with self.steps"
        )
    return _digest(whole)


def _check_state(optimizer: Optimizer, theta: np.ndarray) -> None:
    """Raise OwnCodeError if the state is no longer vectors like ``theta`` (parameters,)."""
    for key, vector in optimizer.state.items():
        if not isinstance(vector, np.ndarray) or (vector.dtype, vector.shape) != (theta.dtype, theta.shape):
            found = f"{vector.dtype} {vector.shape}" if isinstance(vector, np.ndarray) else type(vector).__name__
            raise OwnCodeError(f'self.state["{key}"] is {found}, expected {theta.dtype} {theta.shape}')


def _watch(optimizer: Optimizer, name: str) -> None:
    """Make a failing step restore theta and the state, and raise OwnCodeError.

    Every rank makes the same update of the same numbers, so the step fails on every rank.
    """
    step = optimizer.step

    def watched(theta: np.ndarray, gradient: np.ndarray, lr: float) -> None:
        before, steps = {key: vector.copy() for key, vector in optimizer.state.items()}, optimizer.steps
        parameters = theta.copy()
        try:
            with running(name):
                step(theta, gradient, lr)
                _check_state(optimizer, theta)
        except DistlenetError as error:
            theta[:], optimizer.steps = parameters, steps
            optimizer.state.update(before)
            error.of_every_rank()
            raise

    optimizer.step = watched  # type: ignore[method-assign]


def _digest(vectors: dict[str, np.ndarray]) -> str:
    """Return the SHA-256 of ``vectors``."""
    digest = hashlib.sha256()
    for key, vector in sorted(vectors.items()):
        digest.update(key.encode() + vector.tobytes())
    return digest.hexdigest()


class OwnSchedule:
    """A user-defined schedule: its function ``(peak, steps)`` returns a function from the step to the rate.

    The step is 0 to ``steps`` - 1. The rate is a finite number of at least 0 and depends only on the step: a resumed
    run starts in the middle, and a healed one repeats some steps.

    Raises UntrustedCodeError if ``trust`` does not admit it. Raises ConfigError, in one sentence, if it cannot be
    loaded, fails, or returns other rates.
    """

    def __init__(self, name: str, peak: float, steps: int, trust: Trust) -> None:
        self.name = f"schedule {name}"
        make, source = load(name, trust, "schedule", "peak, steps")
        self.code_sha256 = source.sha256
        with running(self.name, ConfigError):
            self._rate = make(peak, steps)
        if not callable(self._rate):
            kind = type(self._rate).__name__
            raise ConfigError(f"{self.name} returned {kind}, expected a function from the step to the rate")
        tried = sorted({round(step) for step in np.linspace(0, max(0, steps - 1), min(POSITIONS, max(1, steps)))})
        rates = [self._ask(step) for step in tried]
        for step, rate in reversed(list(zip(tried, rates, strict=True))):
            if (again := self._ask(step)) != rate:
                raise ConfigError(
                    f"{self.name} gives {rate!r} and then {again!r} for step {step}, expected the same rate in every "
                    "call: compute it from the step alone"
                )
        self.answer = hashlib.sha256(json.dumps(rates).encode()).hexdigest()

    def __call__(self, step: int) -> float:
        """Return the rate of ``step``; raises OwnCodeError on every rank, since all call it with the same step."""
        try:
            return self._ask(step)
        except OwnCodeError as error:
            error.of_every_rank()
            raise

    def _ask(self, step: int) -> float:
        with running(f"{self.name} at step {step}"):
            rate = self._rate(step)
        if not isinstance(rate, Real) or not isfinite(rate) or rate < 0:
            shown = f"{rate!r:.80}"
            raise OwnCodeError(f"{self.name} gives {shown} for step {step}, expected a finite number of at least 0")
        return float(rate)

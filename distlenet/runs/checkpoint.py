"""A checkpoint in memory: everything needed to resume a run or to use its network.

``checkpoint_file.py`` writes it to an HDF5 file and reads it back.
"""

from dataclasses import asdict, dataclass, field, replace
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from distlenet.bounded import MIB
from distlenet.config import CODE, Config
from distlenet.data.slices import DatasetFacts
from distlenet.errors import CheckpointError, ConfigError, UntrustedCodeError
from distlenet.nn import Net, build_net, list_layers
from distlenet.numerics import is_finite
from distlenet.paths import is_custom
from distlenet.training.state import Progress, Running, Snapshot, TrainState
from distlenet.trust import NOTHING, Trust

LARGEST_META = 32 * MIB  # bytes of JSON, enough for the history of about 60,000 epochs


def check(progress: Progress) -> None:
    """Raise ValueError, TypeError, KeyError or OverflowError if no run can have this ``progress``."""
    sums, watch = asdict(progress.running).values(), asdict(progress.watch).values()
    epoch, accuracy = progress.best_epoch, progress.best_accuracy
    sound = (
        all(type(count) is int and count >= 0 for count in (progress.epoch, progress.step, progress.steps))
        and progress.epoch + progress.step <= progress.steps < 2**63  # an epoch has at least one step
        and all(type(value) in (int, float) and isfinite(value) for value in sums)
        and (progress.running.count > 0 or progress.step == 0)
        and all(type(value) in (int, float, type(None)) for value in watch)
        and type(progress.history) is type(progress.divergences) is list
        and all(type(entry["epoch"]) is type(entry["step"]) is int for entry in progress.history)
        and (type(epoch) is type(accuracy) is type(None) or (type(epoch) is int and epoch >= 0))
        and (accuracy is None or 0 <= accuracy <= 1)
        and 0 < progress.factor <= 1
    )
    if not sound:
        raise ValueError("its progress makes no sense")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint in memory, its checksums verified.

    ``trust`` tells which user-defined code ``build_net`` may run; by default none.
    """

    path: Path
    meta: dict[str, Any]  # JSON: "config", "dataset", "numerics", "layers", "code" (SHA-256 by setting)
    now: Snapshot
    good: Snapshot | None = None  # the state to go back to, if it differs from ``now``
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)  # of /parameters by name ("C1/W"), if present
    trust: Trust = NOTHING

    @classmethod
    def of(cls, path: Path, facts: dict[str, Any], trust: Trust) -> "Checkpoint":
        """Return the checkpoint ``path`` without its vectors, from ``facts`` of format 2.

        Raises TypeError, KeyError, ValueError or OverflowError if they make no sense.
        """
        meta = {name: facts[name] for name in ("config", "dataset", "numerics")}
        code = facts.get("code") or {}
        code = {"model": code} if isinstance(code, str) else code  # as older versions wrote it
        meta |= {"layers": facts.get("layers"), "code": code}
        now = Snapshot(Progress.of(facts["progress"]), {})
        good = Snapshot(Progress.of(facts["good"]), {}) if facts.get("good") else None
        for moment in filter(None, (now, good)):
            check(moment.progress)
        DatasetFacts.of(meta["dataset"])
        if not (type(meta["config"]) is type(meta["numerics"]) is dict):
            raise ValueError("its configuration or numerics make no sense")
        if type(code) is not dict or not code.keys() <= set(CODE):
            raise ValueError("its code makes no sense")
        if not all(type(sha) is str and len(sha) == 64 and sha.isalnum() for sha in code.values()):
            raise ValueError("its code makes no sense")
        return cls(path, meta, now, good, trust=trust)

    def facts(self) -> dict[str, Any]:
        """Return everything except the vectors as JSON of format 2."""
        good = asdict(self.good.progress) if self.good else None
        return {"progress": asdict(self.progress), "good": good, **self.meta}

    @property
    def progress(self) -> Progress:
        """The run's position and history."""
        return self.now.progress

    @property
    def position(self) -> tuple[int, int]:
        """Steps and complete epochs of the run. An epoch is complete after its evaluation."""
        return self.progress.steps, self.progress.epoch

    @property
    def theta(self) -> np.ndarray:
        """The parameters (parameters,) float32."""
        return self.now.vectors["theta"]

    @property
    def optimizer(self) -> dict[str, np.ndarray]:
        """The optimizer's vectors by name, each (parameters,) float32."""
        names = (name for name in self.now.vectors if name.startswith("optimizer/"))
        return {name.removeprefix("optimizer/"): self.now.vectors[name] for name in names}

    @property
    def best_theta(self) -> np.ndarray | None:
        """The parameters (parameters,) of the best epoch so far, None without one."""
        return self.now.vectors.get("best/theta")

    @property
    def averaged(self) -> np.ndarray:
        """The parameters (parameters,) to use for predictions: the average over the steps if the optimizer kept one."""
        return self.now.vectors.get("optimizer/average", self.theta)

    def at_best(self) -> "Checkpoint":
        """Return a checkpoint with the best parameters so far, or this one if there is no best epoch.

        No run can be resumed from it, because it lacks the optimizer's vectors of that epoch.
        """
        epoch, best = self.progress.best_epoch, self.best_theta
        if best is None or epoch is None:
            return self
        history = [entry for entry in self.progress.history if entry["epoch"] <= epoch]
        steps = history[-1]["step"] if history else self.progress.steps
        progress = replace(self.progress, epoch=epoch + 1, step=0, steps=steps, running=Running(), history=history)
        return replace(self, now=Snapshot(progress, {"theta": best, "best/theta": best}), good=None)

    @property
    def config(self) -> Config:
        """The configuration of the run that wrote it."""
        try:
            return Config(**self.meta["config"])
        except (TypeError, KeyError, ConfigError) as error:
            raise CheckpointError(f"{self.path} holds a configuration this version cannot read: {error}") from error

    @property
    def dataset(self) -> DatasetFacts:
        """The facts of the dataset."""
        return DatasetFacts.of(self.meta["dataset"])

    @property
    def model(self) -> str:
        """The name of the network; a user-defined one is replaced by the one that the command line names, if any.

        Raises ConfigError if the command line names another network than the checkpoint's built-in one.
        """
        model = self.config.model
        named = self.trust.named
        if named is None or (is_custom(model) and is_custom(named)):
            return named or model
        if named != model:
            run = ": name a run before the pictures, without --model" if Path(named).is_dir() else ""
            raise ConfigError(f"{self.path} holds the network {model}: leave --model {named} out{run}")
        return model

    def admit(self) -> None:
        """Raise UntrustedCodeError if the network is code that ``trust`` does not admit."""
        if is_custom(self.model):
            try:
                self.trust.admit(self.model)
            except UntrustedCodeError as error:
                raise UntrustedCodeError(f"{self.path}: {error}") from error

    def expected_size(self) -> int | None:
        """Return the number of parameters of a built-in network, or None for a user-defined one."""
        try:
            return None if is_custom(self.config.model) else self._build().size
        except CheckpointError:  # perhaps written by a newer version, and not damaged
            return None

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the parameters by name ("C1/W"), without running user-defined code."""
        if self.shapes or is_custom(self.config.model):
            return self.shapes
        return {name: parameter.shape for name, parameter in self._build().parameters.items()}

    def build_net(self) -> Net:
        """Return the network with the checkpoint's parameters.

        Raises CheckpointError if they do not fit or are not finite, UntrustedCodeError if ``trust`` does not admit the
        network's code.
        """
        self.admit()
        net = self._build()
        if self.theta.shape != net.theta.shape:
            raise CheckpointError(f"{self.path} has {self.theta.size} parameters, expected {net.size} for {self.model}")
        self._check_layers(net)
        with np.errstate(all="ignore"):
            finite = is_finite(self.averaged)
        if not finite:
            wrong = self.averaged.size - np.count_nonzero(np.isfinite(self.averaged))
            raise CheckpointError(
                f"{self.path} has {wrong:,} of {self.averaged.size:,} parameters that are NaN or infinite: its run "
                "diverged, and the network is useless; use a checkpoint of an earlier epoch"
            )
        trained = self.meta["code"].get("model")
        if net.code_sha256 and trained and trained != net.code_sha256:
            self.trust.tell(
                f"{self.model} has changed since {self.path} was trained (its SHA-256 was {trained:.12}, is now "
                f"{net.code_sha256:.12}): the layers are the same, but they may compute other results"
            )
        net.theta[:] = self.averaged
        return net

    def _build(self) -> Net:
        config, dataset = replace(self.config, model=self.model), self.dataset
        try:
            return build_net(config, (1, *dataset.image_shape), len(dataset.class_names), self.trust)
        except UntrustedCodeError:
            raise
        except (ConfigError, MemoryError) as error:
            raise CheckpointError(f"{self.path} holds a network this version cannot build: {error}") from error

    def _check_layers(self, net: Net) -> None:
        """Raise CheckpointError if the code now builds another network than the one that was trained."""
        trained, now = self.meta.get("layers"), list_layers(net)
        if isinstance(trained, list) and trained != now:
            differing = next((pair for pair in zip(trained, now, strict=False) if pair[0] != pair[1]), None)
            what = f"{differing[0]!s:.200} is now {differing[1]}" if differing else f"{len(trained)} are now {len(now)}"
            raise CheckpointError(
                f"{self.path} was trained with other layers than {self.model} has now: {what}; restore the "
                "earlier version of the code, or train again"
            )

    def restore(self, state: TrainState) -> None:
        """Set ``state`` to that of the checkpoint; its network and optimizer must be of the same kind."""
        kind = state.vectors().keys() - {"best/theta"}
        if self.theta.shape != state.net.theta.shape or self.now.vectors.keys() - {"best/theta"} != kind:
            raise CheckpointError(
                f"{self.path} has {self.theta.size} parameters and optimizer state {sorted(self.optimizer)}, expected "
                f"{state.net.size} and {sorted(state.optimizer.state)}: it belongs to another model or optimizer"
            )
        if self.good and self.good.vectors.keys() - {"best/theta"} != kind:
            raise CheckpointError(f"{self.path} holds a good state of another kind than its current one")
        for moment in filter(None, (self.now, self.good)):
            if any(vector.shape != self.theta.shape for vector in moment.vectors.values()):
                size = self.theta.size
                raise CheckpointError(f"{self.path} holds vectors of other lengths than its {size} parameters")
        self._check_layers(state.net)
        state.adopt(self.now, self.good)

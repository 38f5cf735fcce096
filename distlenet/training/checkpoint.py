"""A checkpoint in memory: all that a run needs to go on, or a prediction to start.

``checkpoint_file.py`` writes it to an HDF5 file and reads it back.
"""

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from distlenet.config import Config
from distlenet.errors import CheckpointError, ConfigError, UntrustedCodeError
from distlenet.nn import NOTHING, Net, Trust, build_model, is_custom, outline
from distlenet.training.divergence import LossWatch
from distlenet.training.snapshot import Snapshot
from distlenet.training.state import Running, TrainState, is_finite


@dataclass(frozen=True)
class DatasetFacts:
    """What a network must know of the data it was trained on."""

    name: str
    fingerprint: str
    image_shape: tuple[int, int]
    class_names: tuple[str, ...]
    mean: float  # by which pixels of 0 to 1 are normalised: the training pixels' own, or the model's
    std: float


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint in memory, its checksums verified.

    ``trust`` says which code ``build_net`` may run: none, unless whoever opened the file handed on the user's word.
    """

    path: Path
    theta: np.ndarray  # (parameters,) float32
    optimizer: dict[str, np.ndarray]  # each (parameters,) float32
    best_theta: np.ndarray | None  # (parameters,) float32
    meta: dict[str, Any]
    good: dict[str, np.ndarray] = field(default_factory=dict)  # a snapshot's vectors, each (parameters,) float32
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)  # of /parameters, if the file has them: "C1/W" ...
    trust: Trust = NOTHING

    @property
    def position(self) -> tuple[int, int]:
        """Steps and complete epochs of the run: after an epoch's last step its evaluation is still to come."""
        return self.meta["position"]["steps"], self.meta["position"]["epoch"]

    @property
    def averaged(self) -> np.ndarray:
        """The parameters (parameters,) that answer: their average over the steps, if one was kept."""
        return self.optimizer.get("average", self.theta)

    def at_best(self) -> "Checkpoint":
        """Return what this knows of the best epoch so far, itself if none was chosen.

        The optimizer's vectors of that epoch are not known: no run can go on from it.
        """
        epoch = self.meta["best"]["epoch"]
        if self.best_theta is None or epoch is None:
            return self
        history = [entry for entry in self.meta["history"] if entry["epoch"] <= epoch]
        position = {"epoch": epoch + 1, "step": 0, "steps": history[-1]["step"] if history else self.position[0]}
        meta = self.meta | {"position": position | {"running": asdict(Running())}, "history": history}
        return replace(self, theta=self.best_theta, optimizer={}, meta=meta, good={})

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
        facts = self.meta["dataset"]
        return DatasetFacts(
            **{
                **facts,
                "image_shape": tuple(facts["image_shape"]),
                "class_names": tuple(facts["class_names"]),
            }
        )

    @property
    def model(self) -> str:
        """The network: as the command line names it where it is the user's own and ``trust`` names one.

        Raises ConfigError if the command line names another one than that known by name.
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
        """Return the number of parameters of a network known by name; None of any other, which may be of any size."""
        try:
            return None if is_custom(self.config.model) else self._build().size
        except CheckpointError:  # of a newer version, perhaps: it may be whole
            return None

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the parameters by name, "C1/W"; no code is run for it."""
        if self.shapes or is_custom(self.config.model):
            return self.shapes
        return {name: parameter.shape for name, parameter in self._build().parameters.items()}

    def build_net(self) -> Net:
        """Return the network with the checkpoint's parameters.

        Raises CheckpointError if they do not fit or are not finite, UntrustedCodeError if the network is code that
        ``trust`` does not admit.
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
                "diverged, and the network can compute nothing; use a checkpoint of an earlier epoch"
            )
        trained = self.meta.get("code")
        if net.code_sha256 and trained and trained != net.code_sha256:
            self.trust.tell(
                f"{self.model} has changed since {self.path} was trained (its SHA-256 was {trained:.12}, is now "
                f"{net.code_sha256:.12}): the layers are the same, but they may compute something else"
            )
        net.theta[:] = self.averaged
        return net

    def _build(self) -> Net:
        config, dataset = self.config, self.dataset
        try:
            return build_model(
                self.model,
                (1, *dataset.image_shape),
                len(dataset.class_names),
                config.activation,
                config.pooling,
                rubbish=config.rubbish,
                trust=self.trust,
            )
        except UntrustedCodeError:
            raise
        except (ConfigError, MemoryError) as error:
            raise CheckpointError(f"{self.path} holds a network this version cannot build: {error}") from error

    def _check_layers(self, net: Net) -> None:
        """Raise CheckpointError if the code builds another network by now than the one that was trained."""
        trained, now = self.meta.get("layers"), list_layers(net)
        if isinstance(trained, list) and trained != now:
            differing = next((pair for pair in zip(trained, now, strict=False) if pair[0] != pair[1]), None)
            what = f"{differing[0]!s:.200} is now {differing[1]}" if differing else f"{len(trained)} are now {len(now)}"
            raise CheckpointError(
                f"{self.path} was trained with other layers than {self.model} has now: {what}; bring the code "
                "back to what it was, or train anew"
            )

    def restore(self, state: TrainState) -> None:
        """Bring ``state`` to the checkpoint's position; its network and optimizer must be of the same kind."""
        if self.theta.shape != state.net.theta.shape or set(self.optimizer) != set(state.optimizer.state):
            raise CheckpointError(
                f"{self.path} has {self.theta.size} parameters and optimizer state {sorted(self.optimizer)}, expected "
                f"{state.net.size} and {sorted(state.optimizer.state)}: it belongs to another model or optimizer"
            )
        vectors = [*self.optimizer.values(), *([] if self.best_theta is None else [self.best_theta])]
        if any(vector.shape != self.theta.shape for vector in vectors):
            raise CheckpointError(f"{self.path} holds vectors of other lengths than its {self.theta.size} parameters")
        self._check_layers(state.net)
        state.net.theta[:] = self.theta
        for name, vector in self.optimizer.items():
            state.optimizer.state[name][:] = vector
        position = self.meta["position"]
        state.epoch, state.step = position["epoch"], position["step"]
        state.optimizer.steps = position["steps"]
        state.running = Running(**position["running"])
        state.history = list(self.meta["history"])
        best = self.meta["best"]
        state.best_accuracy, state.best_epoch = best["accuracy"], best["epoch"]
        state.best_theta = self.best_theta
        health = self.meta["health"]
        if health:  # versions that did not watch the loss wrote none
            state.factor, state.divergences = health["factor"], list(health["divergences"])
            state.watch = LossWatch(**health["watch"])
        state.good = Snapshot.of(state)
        if health and health["good"]:
            names, expected = (set(vectors) - {"best/theta"} for vectors in (self.good, state.good.vectors))
            if names != expected or any(vector.shape != self.theta.shape for vector in self.good.values()):
                raise CheckpointError(f"{self.path} holds a state to go back to that is of another kind than its own")
            state.good = Snapshot(health["good"], self.good)


def list_layers(net: Net) -> list[str]:
    """Return a line for each layer, "C1: Conv2d to 6 x 28 x 28, 156 parameters"."""
    return [
        f"{row.name}: {row.kind} to {' x '.join(map(str, row.shape))}, {row.parameters} parameters"
        for row in outline(net)
    ]

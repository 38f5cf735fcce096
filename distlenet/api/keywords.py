"""The keywords of ``distlenet.train``, for type checkers and editors; their meaning: ``distlenet train --help``."""

import os
from collections.abc import Callable, Sequence
from typing import TypedDict

from distlenet.training.events import Event

Callback = Callable[[Event], object]  # what it returns is ignored


class Settings(TypedDict, total=False):
    """The settings of a run: the fields of ``distlenet.config.Config``."""

    epochs: int
    batch_size: int
    shards: int
    seed: int
    numerics: str
    validation: int
    augmentation: str
    rotate: float
    shift: float
    zoom: float
    elastic: float
    disturb: float
    train_sample: int
    test_curve: bool
    memory_limit: int
    model: str
    activation: str
    pooling: str
    init: str
    sigma: float
    rubbish: float
    optimizer: str
    lr: float
    schedule: str
    label_smoothing: float
    weight_decay: float
    clip: float
    average: float
    warmup: float
    decay: float
    momentum: float
    beta1: float
    beta2: float
    rho: float
    epsilon: float
    mu: float
    step_limit: float
    curvature_samples: int
    on_divergence: str
    max_heals: int


class Keywords(Settings, total=False):
    """All keywords of ``train`` but ``display``."""

    recipe: str | None
    config: str | os.PathLike[str] | None
    resume: str | os.PathLike[str] | None
    overwrite: bool
    override: str | Sequence[str]
    callbacks: Callback | Sequence[Callback]
    save_steps: int
    save_seconds: float | None
    keep_newest: int
    keep_every: int
    log_every: int
    stall_after: float | None
    tensorboard: bool
    trace: int
    debug: bool
    trust_code: bool

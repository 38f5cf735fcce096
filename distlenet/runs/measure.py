"""Measure a checkpoint on a dataset, by all ranks."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from distlenet.data.augmentation import Resampler
from distlenet.data.file.dataset_file import open_digit_file
from distlenet.data.slices import DatasetSlice, Slices, whole_test
from distlenet.errors import DataError
from distlenet.numerics import difference, numerics
from distlenet.parallel import Communicator
from distlenet.parallel.agreement import in_agreement
from distlenet.runs import rank_comparison
from distlenet.runs.choice import find_checkpoint
from distlenet.training.evaluation import Result, evaluate
from distlenet.trust import Trust

SPLITS = ("test", "train", "validation")


@dataclass(frozen=True)
class Measured:
    """What a checkpoint reached on a dataset, the same on every rank."""

    checkpoint: str  # path
    data: str  # path
    split: str
    class_names: tuple[str, ...]
    result: Result
    start: int  # first row of the images in the dataset's split; validation images are rows of train
    stop: int  # row behind the last one
    notes: list[str]  # what the user should know
    corrupted: dict[str, Result] = field(default_factory=dict)  # on the same images, corrupted: by kind


def measure(
    checkpoint_path: str | os.PathLike[str],
    data: str | os.PathLike[str],
    split: str,
    comm: Communicator,
    trust: Trust | None = None,
    corruptions: Sequence[str] = (),
) -> Measured:
    """Evaluate a checkpoint file, or the best one of a run directory, on ``split``, one of SPLITS.

    It is also evaluated on these images under each of ``corruptions``, names in data/corruptions.py.
    Raises, on every rank, CheckpointError, DataError, ConfigError.
    """
    notes: list[str] = []
    with in_agreement(comm):
        checkpoint = find_checkpoint(checkpoint_path, notes.append, trust)
        net, trained = checkpoint.build_net(), checkpoint.dataset
        if what := difference(checkpoint.meta["numerics"], numerics(checkpoint.config.numerics)):
            notes.append(f"{checkpoint.path} was computed with {what}: the last bits of the loss may differ")
        digits = open_digit_file(data)
        if (digits.image_shape, len(digits.class_names)) != (trained.image_shape, len(trained.class_names)):
            raise DataError(
                f"{digits.path} has {digits.image_shape} pixels and {len(digits.class_names)} classes, but "
                f"{checkpoint.path} was trained on {trained.image_shape} and {len(trained.class_names)}"
            )
        part: DatasetSlice | None = whole_test(digits, checkpoint.config)
        if split != "test":
            part = getattr(Slices.of(digits, checkpoint.config), split)
        if part is None:
            raise DataError(f"the run of {checkpoint.path} held no validation images back: use another --split")
    rank_comparison.compare_ranks(
        comm,
        lambda: [
            *rank_comparison.of_package(),
            rank_comparison.Fact("option split", split),
            rank_comparison.Fact("option corrupt", list(corruptions)),
            *rank_comparison.of_parameters(net),
            *rank_comparison.of_settings(checkpoint.config),
            *rank_comparison.of_dataset(digits),
            *rank_comparison.of_network(comm, checkpoint.config.model, net),
        ],
    )
    resampler = Resampler(*trained.image_shape, trained.mean, trained.std, net.arithmetic)
    result = evaluate(net, part, resampler, comm)
    corrupted = {kind: evaluate(net, replace(part, corruption=kind), resampler, comm) for kind in corruptions}
    return Measured(
        checkpoint=str(checkpoint.path),
        data=str(digits.path),
        split=split,
        class_names=trained.class_names,
        result=result,
        start=part.start,
        stop=part.stop,
        notes=notes,
        corrupted=corrupted,
    )

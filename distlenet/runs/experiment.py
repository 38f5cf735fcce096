"""From options to everything a rank needs to train: settings, data, plan, network, optimizer."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from distlenet.arithmetic import choose
from distlenet.config import Config, changes, check_names, check_ranks
from distlenet.data.augmentation import Resampler, build_augmentation
from distlenet.data.file.dataset_file import open_digit_file
from distlenet.data.leaves import Leaves
from distlenet.data.plan import Plan
from distlenet.data.slices import DatasetFacts, Slices
from distlenet.errors import CheckpointError, ConfigError, DataError
from distlenet.nn import Net, build_net, build_optimizer, build_schedule, input_statistics
from distlenet.nn.fingerprint import check_computes
from distlenet.nn.portability import list_unportable
from distlenet.nn.schedules import Schedule
from distlenet.numerics import difference, numerics
from distlenet.parallel import Communicator, owned_shards
from distlenet.parallel.agreement import in_agreement
from distlenet.recipes import build_config
from distlenet.runs.checkpoint_file import read_checkpoint
from distlenet.runs.rank_comparison import (
    Fact,
    compare_ranks,
    of_dataset,
    of_network,
    of_options,
    of_own_code,
    of_package,
    of_settings,
)
from distlenet.training.evaluation import EpochEnd
from distlenet.training.events import Event, RunStarted
from distlenet.training.postmortem import Recorder
from distlenet.training.signals import Signals
from distlenet.training.state import TrainState
from distlenet.trust import NOTHING, Trust, source_sha256


@dataclass(frozen=True)
class RunOptions:
    """The options of a run, in addition to the settings that decide its mathematics."""

    data: str
    run_directory: str
    recipe: str | None = None
    config_file: str | None = None
    flags: Mapping[str, Any] = field(default_factory=dict)
    resume: str | None = None
    overwrite: bool = False
    override: tuple[str, ...] = ()  # settings that a resumed run may change
    save_steps: int = 0  # steps between checkpoints, 0: after epochs only
    save_seconds: float | None = None
    keep_every: int = 0  # epochs between checkpoints that are kept, 0: none
    keep_newest: int = 2
    log_every: int = 50
    audit: int | None = None  # steps between two audits, 0: none; None: the usual, on several ranks
    audit_all: bool = False  # audit every leaf of every step
    stall_after: float = 0.0  # seconds without progress until the ranks say so, 0: never
    trace: int = 0  # steps on the timeline, 0: none is written
    debug: bool = False
    tensorboard: bool = False
    trust: Trust = NOTHING  # the user code that may run
    callbacks: tuple[Callable[[Event], object], ...] = ()  # the root calls each with every event, see callbacks.py


@dataclass(frozen=True)
class Experiment:
    """One rank's part of a run that is about to start."""

    config: Config
    dataset: DatasetFacts
    slices: Slices
    plan: Plan
    state: TrainState
    schedule: Schedule
    leaves: Leaves
    epoch_end: EpochEnd
    notices: list[str]  # how this run differs from the one it resumes
    facts: list[Fact]  # by which a new rank is judged
    recorder: Recorder = field(default_factory=Recorder)

    def started(self, comm: Communicator) -> RunStarted:
        """Return the first event of a run, or of a resumed one."""
        config, plan, validation, progress = self.config, self.plan, self.slices.validation, self.state.progress
        numbers = numerics(config.numerics)
        streamed = " (streamed)" if self.leaves.streamed else ""
        facts = {
            "ranks": comm.description,
            "images": f"{plan.samples:,} for training{streamed}, {len(validation or ()):,} for validation",
            "batch": f"{config.batch_size} = {config.shards} shards x {plan.leaf}",
            "optimizer": f"{config.optimizer}, {config.schedule} {config.lr:g}, seed {config.seed}",
            "augmentation": str(self.leaves.augmentation),
            "numerics": f"{numbers['arithmetic']}, numpy {numbers['numpy']}, {numbers['kernel']} kernel, BLAS threads "
            f"{numbers['threads']}",
        }
        return RunStarted(
            title=f"{config.model} on {self.dataset.name}",
            facts=facts,
            epochs=config.epochs,
            steps_per_epoch=plan.steps_per_epoch,
            epoch=progress.epoch,
            step=progress.step,
            best_accuracy=progress.best_accuracy,
            best_epoch=progress.best_epoch,
        )


def set_up(
    options: RunOptions, comm: Communicator, signals: Signals, origin: dict[str, Any] | None = None
) -> Experiment:
    """Build the experiment on every rank; an error on one is raised on all, with one sentence.

    ``origin`` is the ``meta`` of the checkpoint to resume from, the configuration alone before the first one, or
    None for a new run.
    """
    with in_agreement(comm):
        check_names(options.override, "--override")
        base = origin["config"] if origin else None
        config = build_config(options.recipe, options.config_file, options.flags, base)
        options.trust.check(config.code)
        digits = open_digit_file(options.data)
    given = of_options(vars(options))
    facts = compare_ranks(comm, lambda: [*of_package(), *given, *of_settings(config), *of_dataset(digits)])
    with in_agreement(comm):
        slices = Slices.of(digits, config)
        check_ranks(config, comm.size, resumed=bool(origin and "dataset" in origin))
        mean, std = input_statistics(config.model, digits.mean, digits.std)
        dataset = DatasetFacts(digits.name, digits.fingerprint, digits.image_shape, digits.class_names, mean, std)
        notices = compare(origin, config, dataset, options.override) if origin and "dataset" in origin else []
        tests = owned_shards(comm.rank, comm.size, digits.length("test"))
        digits.verify("test", tests.start, tests.stop)  # now, not after hours of training
        if held := slices.validation:  # not after the first epoch
            mine = owned_shards(comm.rank, comm.size, len(held))
            digits.verify("train", held.start + mine.start, held.start + mine.stop)
    arithmetic = choose(config.numerics)
    plan = Plan(len(slices.train), config.shards, config.batch_size, config.seed, arithmetic=arithmetic)
    resampler = Resampler(*digits.image_shape, mean, std, arithmetic)
    with in_agreement(comm):
        state = make_state(config, dataset, options.trust, resumed=bool(origin and "dataset" in origin))
        if "model" in config.code:
            check_computes(state.net, config.model)
        if arithmetic.name == "portable":
            notices += list_unportable(state.net, state.optimizer)
        schedule = build_schedule(config, config.epochs * plan.steps_per_epoch, options.trust)
        augmentation = build_augmentation(config, *digits.image_shape, options.trust)
        own: dict[str, Any] = {"optimizer": state.optimizer, "schedule": schedule, "augmentation": augmentation.own}
        state.code = {
            name: part.code_sha256 for name, part in (own | {"model": state.net}).items() if name in config.code
        }
        mine = owned_shards(comm.rank, comm.size, config.shards)
        leaves = Leaves(digits, plan, mine, augmentation, resampler, config.memory_limit * 2**20)
    facts += compare_ranks(comm, lambda: [*of_network(comm, config.model, state.net), *of_own_code(comm, config, own)])
    watched_test = slices.test if config.test_curve else None
    epoch_end = EpochEnd(slices.sample, slices.validation, watched_test, resampler, comm, signals)
    return Experiment(config, dataset, slices, plan, state, schedule, leaves, epoch_end, notices, facts)


def compare(meta: dict[str, Any], config: Config, dataset: DatasetFacts, override: tuple[str, ...]) -> list[str]:
    """Compare a checkpoint's ``meta`` with the run that resumes from it; return notices for the user.

    Raises ConfigError if a setting that changes the results differs and is not named in ``override``, DataError if the
    dataset is a different one.
    """
    found = meta["dataset"]
    if found["fingerprint"] != dataset.fingerprint:
        raise DataError(
            f"the run was started on a dataset with fingerprint {found['fingerprint'][:12]}, this one has "
            f"{dataset.fingerprint[:12]}: give the same --data, or start another run"
        )
    notices = []
    for name, before, after, decisive in changes(Config(**meta["config"]), config):
        if decisive and name not in override:
            raise ConfigError(
                f"the run was started with {name} = {before!r}, now it is {after!r}: this would change its results; "
                f"leave the setting out, or insist with --override {name}"
            )
        notices.append(f"{name} was {before!r}, is now {after!r}")
    for name, before in meta["code"].items():
        after = source_sha256(getattr(config, name))
        if not after or before == after:
            continue
        hashes = f"its SHA-256 was {before:.12}, is now {after:.12}"
        what = f"the code of {getattr(config, name)} has changed since the run was started ({hashes})"
        if name not in override:
            raise ConfigError(
                f"{what}: this would change its results; change it back, or insist with --override {name}"
            )
        notices.append(what)
    # the fingerprint does not cover the mean and standard deviation of the pixels; another model may have its own
    then, here = (found["mean"], found["std"]), (dataset.mean, dataset.std)
    if then != here and meta["config"].get("model", config.model) == config.model:
        raise DataError(
            f"the run was started with pixels of mean {then[0]!r} and standard deviation {then[1]!r}, the dataset now "
            f"has {here[0]!r} and {here[1]!r}: its attributes were changed; prepare it again, or start another run"
        )
    what = difference(meta["numerics"], numerics(config.numerics))
    if what:
        notices.append(f"the checkpoint was computed with {what}: from now on the last bits may differ")
    return notices


def make_state(config: Config, dataset: DatasetFacts, trust: Trust = NOTHING, resumed: bool = False) -> TrainState:
    """Return the state at the start of a run: a function of the configuration, and of code that ``trust`` admits.

    The state of a ``resumed`` run is replaced soon, so it does not read the checkpoint that it started from.
    """
    net = build_net(config, (1, *dataset.image_shape), len(dataset.class_names), trust)
    if config.init.endswith(".h5"):
        adopt(net, Path(config.init), resumed)
    else:
        net.initialize(config.init, config.seed, config.sigma)
    optimizer = build_optimizer(config, net.decays, trust, net.matrices)
    if "curvature" in optimizer.state:
        net.require_curvature()  # now, and not within the first step
    return TrainState(net, optimizer)


def adopt(net: Net, path: Path, resumed: bool) -> None:
    """Give ``net`` the parameters of the checkpoint ``path``, unless ``resumed``; raises CheckpointError."""
    if resumed:
        return
    found = read_checkpoint(path).averaged
    if found.shape != net.theta.shape:
        raise CheckpointError(
            f"--init {path} has {found.size} parameters, expected {net.size}: it is another network's"
        )
    net.theta[:] = found

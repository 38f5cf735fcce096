"""One run from its options to its summary: everything around the loop."""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from distlenet.config import Config, build_config
from distlenet.data.augmentation import Augmentation, Resampler
from distlenet.data.digitfile import DigitFile, open_digit_file
from distlenet.data.leaves import Leaves
from distlenet.data.plan import Plan
from distlenet.errors import ConfigError, LaunchError
from distlenet.nn import build_model, build_optimizer, build_schedule
from distlenet.parallel import Communicator, owned_shards
from distlenet.parallel.launcher import in_agreement
from distlenet.training.checkpoint import DatasetFacts
from distlenet.training.epoch_end import EpochEnd
from distlenet.training.evaluation import Part
from distlenet.training.events import Event, Listener, Notice, RunFinished, RunStarted, StepDone
from distlenet.training.journal import Journal
from distlenet.training.keeper import CheckpointKeeper
from distlenet.training.loop import Stopped, train
from distlenet.training.numerics import numerics
from distlenet.training.rundir import RunDirectory
from distlenet.training.state import TrainState
from distlenet.training.stopping import Signals


@dataclass(frozen=True)
class Options:
    """What a run is asked to do, besides the settings that decide its mathematics."""

    data: str
    run_directory: str
    recipe: str | None = None
    config_file: str | None = None
    flags: Mapping[str, Any] = field(default_factory=dict)
    resume: str | None = None
    overwrite: bool = False
    keep_every: int = 0
    log_every: int = 50
    debug: bool = False


class Announcer:
    """Passes events to the listeners; a listener may announce events of its own."""

    def __init__(self, listeners: list[Listener]) -> None:
        self.listeners = listeners

    def __call__(self, event: Event) -> None:
        for listener in self.listeners:
            listener.on(event)


def run_training(options: Options, comm: Communicator, signals: Signals, listeners: list[Listener]) -> int:
    """Train as ``options`` say; ``listeners`` are the root's, empty elsewhere. Returns the exit code."""
    begun = time.perf_counter()
    with in_agreement(comm):
        config = build_config(options.recipe, options.config_file, options.flags)
        digits = open_digit_file(options.data)
        parts = divide(config, digits)
        check_ranks(config, comm, parts["train"].stop)
    check_same_data(digits, comm)
    dataset = DatasetFacts(
        digits.name, digits.fingerprint, digits.image_shape, digits.class_names, digits.mean, digits.std
    )
    plan = Plan(parts["train"].stop, config.shards, config.batch_size, config.seed)
    resampler = Resampler(*digits.image_shape, digits.mean, digits.std)
    with in_agreement(comm):
        state = make_state(config, dataset)
        schedule = build_schedule(
            config.schedule, config.lr, config.epochs * plan.steps_per_epoch, config.warmup, config.decay
        )
        augmentation = Augmentation(config.rotate, config.shift, config.zoom)
        leaves = Leaves(digits, plan, owned_shards(comm.rank, comm.size, config.shards), augmentation, resampler)
    announce = Announcer(listeners)
    directory = RunDirectory(options.run_directory)
    notices: list[str] = []
    with in_agreement(comm):
        if comm.is_root:
            directory.open(resume=options.resume is not None, overwrite=options.overwrite)
            notices = prepare_directory(directory, options, config, state)
            keeper = CheckpointKeeper(
                directory.checkpoints, state, config, dataset, announce, every=options.keep_every
            )
            listeners += [Journal(directory.journal, options.log_every, state.steps), keeper]
    share_state(state, comm)
    epoch_end = EpochEnd(
        parts["sample"],
        parts["validation"],
        parts["test"] if config.test_curve else None,
        resampler,
        comm,
        len(digits.class_names),
    )
    announce(
        RunStarted(
            title=f"{config.model} on {digits.name}, {options.recipe or 'standard'}",
            facts=describe(config, digits, comm, plan),
            epochs=config.epochs,
            steps_per_epoch=plan.steps_per_epoch,
            epoch=state.epoch,
            step=state.step,
            best_accuracy=state.best_accuracy,
            best_epoch=state.best_epoch,
        )
    )
    for text in notices + compare_numerics(comm):
        announce(Notice(text, "warning"))
    if options.debug:
        watch_closely(state, leaves, config, dataset, announce)
    status, code, images, trained = "complete", 0, 0, time.perf_counter()
    steps: list[tuple[float, float]] = []  # (seconds, of which exchange) of each step on this rank
    try:
        with np.errstate(all="ignore"):  # non-finite numbers are looked for explicitly, once a step
            for event in train(state, leaves, epoch_end, schedule, config.epochs, comm, signals):
                if isinstance(event, StepDone):
                    images += event.count
                    steps.append((event.seconds, event.exchange_seconds))
                announce(event)
    except Stopped as stop:
        status, code = str(stop), stop.exit_code
    seconds = time.perf_counter() - trained
    summary = {
        "status": status,
        "epochs": state.epoch,
        "steps": state.steps,
        "ranks": comm.size,
        "seconds": round(seconds, 3),
        "total_seconds": 0.0,
        "images_per_second": round(images / seconds, 1) if images else 0.0,
        "reduce_share": reduce_share(steps, comm),
        "theta_sha256": state.theta_sha256(),
        "seed": config.seed,
        "parameters": state.net.size,
        "data": digits.name,
    }
    if status == "complete":
        summary |= final_test(state, epoch_end, parts["test"], config)
    summary["total_seconds"] = round(time.perf_counter() - begun, 3)
    summary["run"] = str(directory.path)
    if comm.is_root:
        directory.write_summary(summary)
    announce(RunFinished(summary))
    return code


def divide(config: Config, digits: DigitFile) -> dict[str, Part | None]:
    """Cut the dataset: what is trained on, what choices are made on, and what is read once at the end."""
    total = digits.length("train")
    held = total // 12 if config.validation < 0 else config.validation
    rest = total - held
    if rest < config.shards:
        raise ConfigError(
            f"{held} of {total} training images are held back for validation: {rest} are left for {config.shards} "
            "shards, expected at least one each; lower --validation or --shards"
        )
    sample = rest if config.train_sample < 0 else max(1, min(config.train_sample, rest))
    return {
        "train": Part(digits, "train", 0, rest),
        "sample": Part(digits, "train", 0, sample),
        "validation": Part(digits, "train", rest, total) if held else None,
        "test": Part(digits, "test", 0, digits.length("test")),
    }


def check_ranks(config: Config, comm: Communicator, images: int) -> None:
    """Refuse more ranks than shards: a rank without a shard would have nothing to do."""
    if comm.size > config.shards:
        raise LaunchError(
            f"{comm.size} ranks, but the training set is cut into {config.shards} shards: start at most "
            f"{config.shards} ranks, or set --shards {comm.size} or more (this changes the results)"
        )


def check_same_data(digits: DigitFile, comm: Communicator) -> None:
    """Refuse ranks that read different datasets, as hosts without a shared disk may."""
    with in_agreement(comm):
        expected = comm.share(digits.fingerprint)
        if digits.fingerprint != expected:
            raise ConfigError(
                f"rank {comm.rank} on {os.uname().nodename} reads another dataset from {digits.path} (fingerprint "
                f"{digits.fingerprint[:12]}) than rank 0 ({expected[:12]}): copy the same file to every host"
            )


def make_state(config: Config, dataset: DatasetFacts) -> TrainState:
    """Return the state at the start of a run: a function of the configuration alone."""
    net = build_model(
        config.model, (1, *dataset.image_shape), len(dataset.class_names), config.activation, config.pooling
    )
    net.initialize(config.init, config.seed, config.sigma)
    optimizer = build_optimizer(
        config.optimizer,
        net.decays,
        config.weight_decay,
        momentum=config.momentum,
        beta1=config.beta1,
        beta2=config.beta2,
        rho=config.rho,
        epsilon=config.epsilon,
    )
    return TrainState(net, optimizer)


def prepare_directory(
    directory: RunDirectory, options: Options, config: Config, state: TrainState
) -> list[str]:
    """Resume if asked to, and write config.toml; returns what the user should know. Root only."""
    from distlenet.training.resume import resume

    notices = resume(directory, options.resume, config, state) if options.resume else []
    directory.write_text("config.toml", config.to_toml())
    return notices


def share_state(state: TrainState, comm: Communicator) -> None:
    """Give every rank the root's state: parameters, optimizer, position, history."""
    comm.share_array(state.net.theta)
    for vector in state.optimizer.state.values():
        comm.share_array(vector)
    position = comm.share(
        [state.epoch, state.step, state.steps, vars(state.running), state.history, state.best_accuracy, state.best_epoch]
    )
    state.epoch, state.step, state.optimizer.steps, running, state.history, *best = position
    vars(state.running).update(running)
    state.best_accuracy, state.best_epoch = best
    if comm.share(state.best_theta is not None):
        if state.best_theta is None:
            state.best_theta = np.empty_like(state.net.theta)
        comm.share_array(state.best_theta)


def describe(config: Config, digits: DigitFile, comm: Communicator, plan: Plan) -> dict[str, str]:
    """Return what the header of the display shows."""
    augmented = f"rotation {config.rotate:g} degrees, shift {config.shift:g} px, zoom {100 * config.zoom:g} %"
    return {
        "ranks": comm.description,
        "images": f"{plan.samples:,} for training, {digits.length('train') - plan.samples:,} for validation",
        "batch": f"{config.batch_size} = {config.shards} shards x {plan.leaf}",
        "optimizer": f"{config.optimizer}, {config.schedule} {config.lr:g}, seed {config.seed}",
        "augmentation": augmented if Augmentation(config.rotate, config.shift, config.zoom).active else "none",
        "numerics": f"numpy {numerics()['numpy']}, {numerics()['kernel']} kernel, {numerics()['threads']} BLAS thread(s)",
    }


def compare_numerics(comm: Communicator) -> list[str]:
    """Return a warning if ranks compute with unlike numerics, or would crowd their cores."""
    rows = comm.gather([os.uname().nodename, numerics(), os.cpu_count()])
    warnings = []
    unlike = [rank for rank, row in enumerate(rows) if row[1] != rows[0][1]]
    if unlike:
        warnings.append(
            f"ranks {', '.join(map(str, unlike))} compute with other numerics than rank 0 ({rows[unlike[0]][1]} against "
            f"{rows[0][1]}): the result will differ from a run on like hosts in the last bits"
        )
    for host in dict.fromkeys(row[0] for row in rows):
        threads = sum(row[1]["threads"] or 1 for row in rows if row[0] == host)
        cores = next(row[2] for row in rows if row[0] == host)
        if threads > cores:
            warnings.append(f"{host}: {threads} BLAS threads over all ranks, but {cores} cores: expect it to be slow")
    return warnings


def reduce_share(steps: list[tuple[float, float]], comm: Communicator) -> float:
    """Return the median over the steps of the shortest exchange of any rank, over the median step.

    The shortest: a rank that waits for a late one spends that time in the exchange as well.
    """
    if not steps:
        return 0.0
    exchange = np.array(comm.gather([round(exchange, 7) for _, exchange in steps])).min(axis=0)
    return round(float(np.median(exchange) / np.median([seconds for seconds, _ in steps])), 4)


def final_test(state: TrainState, epoch_end: EpochEnd, test: Part, config: Config) -> dict[str, Any]:
    """Read the test set, once, with the parameters that were chosen on the validation set."""
    chosen = "last"
    if state.best_theta is not None:
        chosen = f"best (epoch {state.best_epoch + 1})"
        state.net.theta[:] = state.best_theta
    result = epoch_end.evaluate(state, test)
    return {
        "test_accuracy": result.accuracy,
        "test_error": 1 - result.accuracy,
        "test_loss": result.loss,
        "val_accuracy": state.best_accuracy,
        "evaluated": chosen,
    }


def watch_closely(
    state: TrainState, leaves: Leaves, config: Config, dataset: DatasetFacts, announce: Announcer
) -> None:
    """The checks of --debug: the gradient of the actual network, then every number of every layer."""
    from distlenet.nn.debugging import watch
    from distlenet.nn.gradcheck import check_gradients

    net = build_model(
        config.model,
        (1, *dataset.image_shape),
        len(dataset.class_names),
        config.activation,
        config.pooling,
        dtype=np.float64,
    )
    net.theta[:] = state.net.theta
    x, labels = leaves.load(0, 0, leaves.shards[0])
    checks = check_gradients(net, x[..., :4].astype(np.float64), labels[:4])
    worst = max(checks, key=lambda check: check.worst)
    announce(
        Notice(
            f"gradient check of {len(checks)} parameters: largest deviation from finite differences "
            f"{worst.worst:.1e} ({worst.name})",
            "info" if worst.worst < 1e-4 else "warning",
        )
    )
    watched = watch(state.net)
    for listener in announce.listeners:
        if hasattr(listener, "watched"):
            listener.watched = watched

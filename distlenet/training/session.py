"""One run from its options to its summary: the loop and what is around it."""

import time

import numpy as np

from distlenet.data.augmentation import Augmentation
from distlenet.errors import RunDirectoryError
from distlenet.parallel import Communicator
from distlenet.parallel.launcher import in_agreement
from distlenet.training.announcer import Announcer
from distlenet.training.checkpoint import Checkpoint
from distlenet.training.checks import compare_numerics
from distlenet.training.events import Listener, Notice, RunFinished, RunStarted, StepDone
from distlenet.training.experiment import Experiment, Options, set_up
from distlenet.training.journal import Journal
from distlenet.training.keeper import CheckpointKeeper
from distlenet.training.loop import train
from distlenet.training.numerics import numerics
from distlenet.training.resume import find_source, restore
from distlenet.training.rundir import RunDirectory
from distlenet.training.scrutiny import watch_closely
from distlenet.training.state import TrainState
from distlenet.training.stopping import Signals, Stopped
from distlenet.training.summary import final_test, summarize


def run_training(options: Options, comm: Communicator, signals: Signals, listeners: list[Listener]) -> int:
    """Train as ``options`` say; ``listeners`` are the root's, empty elsewhere. Returns the exit code."""
    begun = time.perf_counter()
    announce, directory = Announcer(listeners), RunDirectory(options.run_directory)
    signals.orphans_stop = comm.size > 1
    origin: Checkpoint | None = None
    notices: list[str] = []
    with in_agreement(comm):
        if comm.is_root and options.resume:
            directory.open(resume=True)
            origin, notices = find_source(directory, options.resume)
    experiment = set_up(options, comm, signals, comm.share(origin.meta if origin else None))
    config, state = experiment.config, experiment.state
    with in_agreement(comm):
        if comm.is_root:
            if not options.resume:
                directory.open(overwrite=options.overwrite)
            if origin:
                notices.append(restore(origin, directory, state))
            write_from_now_on(directory, options, experiment, announce)
            signals.save_seconds = options.save_seconds
    share_state(state, comm)
    announce(
        RunStarted(
            title=f"{config.model} on {experiment.dataset.name}",
            facts=describe(experiment, comm),
            epochs=config.epochs,
            steps_per_epoch=experiment.plan.steps_per_epoch,
            epoch=state.epoch,
            step=state.step,
            best_accuracy=state.best_accuracy,
            best_epoch=state.best_epoch,
        )
    )
    for text in notices + experiment.notices:
        announce(Notice(text))
    for text in compare_numerics(comm):
        announce(Notice(text, "warning"))
    if options.debug:
        watch_closely(experiment, announce)
    status, code, trained, tested = "complete", 0, time.perf_counter(), {}
    steps: list[tuple[float, float, int]] = []  # (seconds, of which exchange, images) of each step on this rank
    try:
        with np.errstate(all="ignore"):  # non-finite numbers are looked for explicitly, once a step
            for event in train(
                state,
                experiment.leaves,
                experiment.epoch_end,
                experiment.schedule,
                config.epochs,
                comm,
                signals,
                options.save_steps,
            ):
                if isinstance(event, StepDone):
                    steps.append((event.seconds, event.exchange_seconds, event.count))
                announce(event)
            seconds, theta = time.perf_counter() - trained, state.theta_sha256()
            tested = final_test(experiment)
    except Stopped as stop:
        status, code = str(stop), stop.exit_code
        seconds, theta = time.perf_counter() - trained, state.theta_sha256()
    summary = summarize(experiment, comm, status, seconds, steps) | {"theta_sha256": theta} | tested
    summary |= {"total_seconds": round(time.perf_counter() - begun, 3), "run": str(directory.path)}
    if comm.is_root:
        try:
            directory.write_summary(summary)
        except RunDirectoryError as error:  # the run itself is done, and its figures are shown
            announce(Notice(str(error), "warning"))
            code = code or error.exit_code
    announce(RunFinished(summary))
    return code


def write_from_now_on(directory: RunDirectory, options: Options, experiment: Experiment, announce: Announcer) -> None:
    """Add the listeners that write to the run directory; root only."""
    config, state = experiment.config, experiment.state
    directory.write_text("config.toml", config.to_toml())
    announce.listeners += [
        Journal(directory.journal, options.log_every, state.steps, announce),
        CheckpointKeeper(
            directory.checkpoints,
            state,
            config,
            experiment.dataset,
            announce,
            every=options.keep_every,
            newest=options.keep_newest,
        ),
    ]


def share_state(state: TrainState, comm: Communicator) -> None:
    """Give every rank the root's state: parameters, optimizer, position, history."""
    comm.share_array(state.net.theta)
    for vector in state.optimizer.state.values():
        comm.share_array(vector)
    position = comm.share(
        [
            state.epoch,
            state.step,
            state.steps,
            vars(state.running),
            state.history,
            state.best_accuracy,
            state.best_epoch,
        ]
    )
    state.epoch, state.step, state.optimizer.steps, running, state.history, *best = position
    vars(state.running).update(running)
    state.best_accuracy, state.best_epoch = best
    if comm.share(state.best_theta is not None):
        if state.best_theta is None:
            state.best_theta = np.empty_like(state.net.theta)
        comm.share_array(state.best_theta)


def describe(experiment: Experiment, comm: Communicator) -> dict[str, str]:
    """Return what the header of the display shows."""
    config, plan, validation = experiment.config, experiment.plan, experiment.parts["validation"]
    held = validation.stop - validation.start if validation else 0
    numbers = numerics()
    augmented = f"rotation {config.rotate:g} degrees, shift {config.shift:g} px, zoom {100 * config.zoom:g} %"
    return {
        "ranks": comm.description,
        "images": f"{plan.samples:,} for training, {held:,} for validation",
        "batch": f"{config.batch_size} = {config.shards} shards x {plan.leaf}",
        "optimizer": f"{config.optimizer}, {config.schedule} {config.lr:g}, seed {config.seed}",
        "augmentation": augmented if Augmentation(config.rotate, config.shift, config.zoom).active else "none",
        "numerics": f"numpy {numbers['numpy']}, {numbers['kernel']} kernel, BLAS threads {numbers['threads']}",
    }

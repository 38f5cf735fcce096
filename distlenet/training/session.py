"""One run from its options to its summary: the loop and what is around it."""

import time

import numpy as np

from distlenet.data.augmentation import Augmentation
from distlenet.errors import DistlenetError
from distlenet.parallel import Communicator
from distlenet.parallel.launcher import in_agreement
from distlenet.training.announcer import Announcer
from distlenet.training.checks import compare_numerics
from distlenet.training.events import Listener, Notice, RunFinished, RunStarted, StepDone
from distlenet.training.experiment import Experiment, Options, set_up
from distlenet.training.files import NoFiles
from distlenet.training.loop import train
from distlenet.training.numerics import numerics
from distlenet.training.scrutiny import watch_closely
from distlenet.training.state import TrainState
from distlenet.training.stopping import Signals, Stopped
from distlenet.training.summary import final_test, summarize


def run_training(
    options: Options, comm: Communicator, signals: Signals, listeners: list[Listener], files: NoFiles
) -> int:
    """Train as ``options`` say; ``listeners`` and ``files`` are the root's. Returns the exit code."""
    begun, announce = time.perf_counter(), Announcer(listeners)
    signals.orphans_stop = comm.size > 1
    with in_agreement(comm):
        origin = files.find_origin(options)
    experiment = set_up(options, comm, signals, comm.share(origin))
    config, state = experiment.config, experiment.state
    with in_agreement(comm):
        notices = files.begin(options, experiment, announce, signals)
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
    status, failure, trained, tested = "complete", None, time.perf_counter(), {}
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
            seconds = time.perf_counter() - trained
            tested = final_test(experiment)
    except DistlenetError as error:
        if not error.agreed:
            raise
        status, failure, seconds = str(error), error, time.perf_counter() - trained
    summary = summarize(experiment, comm, status, seconds, steps) | tested
    summary |= {"total_seconds": round(time.perf_counter() - begun, 3), "run": options.run_directory}
    unwritten = files.finish(summary, announce)
    announce(RunFinished(summary))
    if isinstance(failure, Stopped):
        return failure.exit_code
    if failure:
        raise failure
    return unwritten


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

"""``distlenet.train`` and ``distlenet.training_events``: a run in the caller's process, or on this rank of a job."""

import os
import signal
from collections.abc import Generator, Sequence
from contextlib import ExitStack
from inspect import GEN_RUNNING, getgeneratorstate
from pathlib import Path
from typing import Unpack
from weakref import WeakValueDictionary

from distlenet.api.caller import CallersSignals, borrowed, communicator, in_keywords, tell
from distlenet.api.keywords import Callback, Keywords, Settings
from distlenet.api.options import run_options
from distlenet.api.run import Run, rows
from distlenet.errors import Interrupted, Stopped, UsageError, nearest
from distlenet.parallel.agreement import all_or_nothing
from distlenet.runs.experiment import RunOptions
from distlenet.runs.session import Session
from distlenet.training.events import Event, Listener, RunFinished
from distlenet.ui.display import Guarded, make_display
from distlenet.ui.terminal import MODES

AGAIN = 'resume="auto"'  # what resumes a run


def train(
    data: str | os.PathLike[str],
    run: str | os.PathLike[str],
    *,
    recipe: str | None = None,
    config: str | os.PathLike[str] | None = None,
    resume: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    override: str | Sequence[str] = (),
    display: str | None = "auto",
    callbacks: Callback | Sequence[Callback] = (),
    save_steps: int = 0,
    save_seconds: float | None = None,
    keep_newest: int = 2,
    keep_every: int = 0,
    log_every: int = 50,
    stall_after: float | None = None,
    tensorboard: bool = False,
    trace: int = 0,
    debug: bool = False,
    trust_code: bool = False,
    **settings: Unpack[Settings],
) -> Run:
    """Train a network on the dataset file ``data``, as ``distlenet train`` does; return the run, in directory ``run``.

    In a process that mpirun started, every rank calls this function, and all get the same result. The same settings and
    data give the same parameters to the last bit, here and on the command line, on any number of ranks: the BLAS that
    numpy has loaded runs one thread meanwhile, unless the environment sets its number.

    Arguments:
        data: dataset file, see ``prepare``.
        run: directory for checkpoints, journal, summary; made if it does not exist.
        recipe: named settings: "standard", "fast", "sprint", "best", "lenet5-1998"; None: "standard".
        config: TOML file of settings, which override the recipe's.
        resume: "auto" resumes the run in ``run`` from its newest checkpoint; a checkpoint's path starts a new run from
            there.
        overwrite: replace the run that ``run`` holds.
        override: names of settings that a resumed run may change.
        display: "auto" (by what the output can show), "live", "plain", "quiet" (warnings and the result), or None.
        callbacks: functions that rank 0 calls with every event, see ``distlenet.events``. All ranks wait meanwhile.
        save_steps, save_seconds: also save every so many steps, or seconds.
        keep_newest, keep_every: number of newest checkpoints to keep; epochs between two that are kept permanently.
        log_every: steps between two lines of the journal.
        stall_after: many ranks: seconds without progress until a rank counts as lost (None: 60; 0: never).
        tensorboard: write event files for TensorBoard.
        trace: steps whose timeline is written to trace.json in ``run`` (0: none).
        debug: check every number, and the gradient of every layer.
        trust_code: run code in the working directory that a checkpoint or a TOML file names.
        settings: any of ``distlenet train --help``, by its name in Python: epochs, batch_size, lr, seed, model, ...

    Ctrl-C, or a notebook's stop button, stops the run at the next step and saves it; a second one leaves at once,
    without saving. Signals are heard in the main thread alone, and the caller's own handlers are back afterwards.

    Raises, with one sentence each: ConfigError (settings), DataError, RunDirectoryError (in use, or holds a run),
    CheckpointError, UsageError; NonFiniteError or DivergedError (not to be healed); CallbackError (a callback raised
    an error: ``__cause__``); Interrupted, which is also a KeyboardInterrupt, or Stopped, after a signal. In the last
    three cases, the run is saved and may be resumed.

    >>> run = distlenet.train("datasets/mnist.h5", "runs/a", recipe="fast", epochs=2, seed=1)
    >>> run.test_accuracy
    0.9894
    >>> pandas.DataFrame(run.history).plot(x="epoch", y="validation_accuracy")
    """
    if display is not None and display not in MODES:
        raise UsageError(f"display is {display!r}{nearest(str(display), MODES)}, expected {', '.join(MODES)} or None")
    with in_keywords():
        options = run_options(
            data,
            run,
            recipe=recipe,
            config=config,
            resume=resume,
            overwrite=overwrite,
            override=override,
            callbacks=callbacks,
            save_steps=save_steps,
            save_seconds=save_seconds,
            keep_newest=keep_newest,
            keep_every=keep_every,
            log_every=log_every,
            stall_after=stall_after,
            tensorboard=tensorboard,
            trace=trace,
            debug=debug,
            trust_code=trust_code,
            **settings,
        )
        make_way(options.run_directory)
        with borrowed(signals := CallersSignals()):
            comm = communicator()
            signals.listen()
            with all_or_nothing(comm, debug), ExitStack() as displays:

                def views() -> list[Listener]:
                    return [displays.enter_context(Guarded(make_display(display, again=AGAIN)))] if display else []

                session, finished = Session(options, comm, signals, views), RunFinished()
                for event in session.events():
                    finished = event if isinstance(event, RunFinished) else finished
                return result(session, finished)


def training_events(
    data: str | os.PathLike[str], run: str | os.PathLike[str], **options: Unpack[Keywords]
) -> Generator[Event, None, None]:
    """Train as ``train`` does, and yield the events, for your own display: see ``distlenet.events``.

    Takes the keywords of ``train`` but for ``display``, and raises the same errors, those of wrong keywords at once.
    Nothing is printed. Rank 0 yields all events; other ranks those of the training, but none of saving. The run waits
    while the caller works on an event.

    Whoever leaves the loop early, by ``break`` or by the generator's ``close()``, stops the run: it takes one more step
    and saves, and may be resumed. Under mpirun, all ranks stop when one does.

    >>> for event in distlenet.training_events("datasets/mnist.h5", "runs/a", recipe="fast"):
    ...     if isinstance(event, distlenet.events.EpochDone):
    ...         print(event.epoch + 1, event.validation.accuracy)
    """
    with in_keywords():
        asked = run_options(data, run, **options)
        make_way(asked.run_directory)
        _open[os.path.realpath(asked.run_directory)] = events = events_of(asked)
        return events


_open: WeakValueDictionary[str, Generator[Event, None, None]] = WeakValueDictionary()  # run directory: who trains in it


def make_way(directory: str) -> None:
    """Stop an abandoned run of this process's ``training_events`` in ``directory``, which would keep it locked.

    A loop that ended by an error leaves one: the error's traceback, which a notebook keeps, refers to the generator.
    """
    events = _open.get(os.path.realpath(directory))
    if events is not None and getgeneratorstate(events) != GEN_RUNNING:  # else another thread takes events
        events.close()


def events_of(options: RunOptions) -> Generator[Event, None, None]:
    """Yield the events of a run. The process is the caller's own between two events: its signals, its BLAS threads."""
    signals = CallersSignals()
    with in_keywords(), borrowed(signals):
        comm = communicator()
    session, finished = Session(options, comm, signals, list), RunFinished()
    events = session.events()

    def next_event() -> Event | None:
        with in_keywords(), borrowed(signals), all_or_nothing(comm, options.debug):
            return next(events, None)

    while (event := next_event()) is not None:
        finished = event if isinstance(event, RunFinished) else finished
        try:
            yield event
        except GeneratorExit:
            signals.ask_to_stop()
            while next_event() is not None:
                pass
            raise
    with in_keywords():
        result(session, finished)


def result(session: Session, finished: RunFinished) -> Run:
    """Return the run that ended by the event ``finished``; raises the error by which it ended early."""
    options, summary = session.options, finished.summary
    session.outcome(finished)
    if isinstance(finished.failure, Stopped):
        last = Path(options.run_directory) / "checkpoints" / "last.h5"
        saved = "the end could not be saved" if summary.get("unsaved") else f"saved in {last}"
        text = f"{finished.failure} after {summary['steps']:,} steps: {saved}, resume the run by {AGAIN}"
        number = finished.failure.number
        raise (Interrupted if number == signal.SIGINT else Stopped)(number, text)
    if finished.code:
        tell(f"not all files of the run in {options.run_directory} could be written")
    return Run(Path(options.run_directory), summary, rows(finished.history))

"""Callbacks: user-defined functions that the root calls with every event of a run (see training/events.py)."""

import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from distlenet.errors import CallbackError, ConfigError
from distlenet.own_code import load
from distlenet.paths import is_custom
from distlenet.training.events import CheckpointSaved, Event
from distlenet.training.signals import Signals
from distlenet.trust import Trust

Callback = Callable[[Event], object]  # the result is ignored


def load_callbacks(names: Sequence[str], trust: Trust) -> tuple[Callback, ...]:
    """Return the user's functions ``names``, FILE.py:FUNCTION each, which get one argument, the event.

    Raises UntrustedCodeError if ``trust`` does not admit one; ConfigError if it cannot be loaded, or is not such a
    function.
    """
    functions = []
    for name in names:
        if not is_custom(name):
            raise ConfigError(f"callback {name}: expected FILE.py:FUNCTION")
        function, _ = load(name, trust, "callback", "event")
        if isinstance(function, type):
            raise ConfigError(f"callback {name} is a class, expected a function of one argument, the event")
        functions.append(function)
    return tuple(functions)


class Callbacks:
    """A listener that calls ``functions`` in order with every event.

    If one raises an error, the run ends: all ranks stop at the next step, with everything saved, and no further
    callback is called. KeyboardInterrupt stops the run like Ctrl-C. All ranks wait while a callback runs.
    """

    def __init__(self, functions: Sequence[Callback], signals: Signals) -> None:
        self._functions, self._signals = functions, signals
        self._what = ""  # describes the first error
        self._error: BaseException | None = None
        self._saved: Path | None = None

    def on(self, event: Event) -> None:
        """See Listener."""
        if isinstance(event, CheckpointSaved):
            self._saved = event.path
        for function in self._functions:
            if self._error is not None:
                return
            try:
                function(event)
            except KeyboardInterrupt:
                self._signals.ask_to_stop()
            except (Exception, SystemExit) as error:
                name = getattr(function, "__qualname__", type(function).__qualname__)
                what = f"{type(error).__name__}: {error}".removesuffix(": ")
                self._what = f"the callback {name} raised {what}{_line(error)} at {type(event).__name__}"
                self._error = error
                self._signals.ask_to_stop()

    @property
    def failure(self) -> CallbackError | None:
        """The error that ends the run, or None if no callback failed."""
        if self._error is None:
            return None
        saved = f"the run is saved in {self._saved}, resume it from there" if self._saved else "nothing was saved yet"
        failure = CallbackError(f"{self._what}: {saved}")
        failure.__cause__ = self._error
        return failure


def _line(error: BaseException) -> str:
    """Return where ``error`` was raised, " (plot.py, line 3)", or "" if unknown."""
    frames = traceback.extract_tb(error.__traceback__)
    return f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if len(frames) > 1 else ""

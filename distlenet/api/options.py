"""The keywords of ``distlenet.train`` -> the options of a run."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from distlenet.api.caller import as_path, trust
from distlenet.api.keywords import Callback
from distlenet.config import Config
from distlenet.errors import ConfigError, UsageError, nearest
from distlenet.handshake import STALL_AFTER
from distlenet.runs.experiment import RunOptions

COUNTS = {"save_steps": 0, "keep_newest": 1, "keep_every": 0, "log_every": 1, "trace": 0}  # keyword: the least number


def run_options(
    data: str | os.PathLike[str],
    run: str | os.PathLike[str],
    *,
    recipe: str | None = None,
    config: str | os.PathLike[str] | None = None,
    resume: str | os.PathLike[str] | None = None,
    override: str | Sequence[str] = (),
    callbacks: Callback | Sequence[Callback] = (),
    overwrite: bool = False,
    save_seconds: float | None = None,
    stall_after: float | None = None,
    tensorboard: bool = False,
    debug: bool = False,
    trust_code: bool = False,
    **more: Any,
) -> RunOptions:
    """Return the options of a run; ``more`` are COUNTS and settings. Raises ConfigError, UsageError; see ``train``."""
    counts: dict[str, Any] = {
        name: checked_count(name, more.pop(name), least) for name, least in COUNTS.items() if name in more
    }
    for name, value in (("save_seconds", save_seconds), ("stall_after", stall_after)):
        if value is not None and not (isinstance(value, int | float) and value >= 0):
            raise UsageError(f"{name} is {value!r}, expected a number of at least 0, or None")
    functions = (callbacks,) if callable(callbacks) else tuple(callbacks)
    for function in functions:
        if not callable(function):
            raise UsageError(f"callbacks has {function!r:.80}, expected functions of one argument, the event")
    settings = checked_settings(more)
    return RunOptions(
        data=as_path(data, "data"),
        run_directory=as_path(run, "run"),
        recipe=recipe,
        config_file=None if config is None else as_path(config, "config"),
        flags=settings,
        resume=None if resume is None else as_path(resume, "resume"),
        overwrite=bool(overwrite),
        override=(override,) if isinstance(override, str) else tuple(override),
        save_seconds=save_seconds or None,
        stall_after=float(os.environ.get(STALL_AFTER, "60")) if stall_after is None else float(stall_after),
        debug=bool(debug),
        tensorboard=bool(tensorboard),
        trust=trust(settings, trust_code),
        callbacks=functions,
        **counts,
    )


def checked_count(name: str, value: Any, least: int) -> int:
    """Return the whole number ``value`` of the keyword ``name``; raises UsageError."""
    whole = plain(value)
    if type(whole) is not int or whole < least:
        raise UsageError(f"{name} is {value!r:.80}, expected a whole number of at least {least}")
    return whole


def checked_settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings ``given``, without those that are None; raises ConfigError for unknown ones."""
    known = [item.name for item in fields(Config)]
    keywords = [item.name for item in fields(RunOptions)] + ["config", "run", "display", "trust_code"]
    for name in given:
        if name not in known:
            near = nearest(name, [*known, *keywords])
            raise ConfigError(f"there is no keyword or setting {name!r}{near}; `distlenet train --help` lists them")
    return {name: plain(value) for name, value in given.items() if value is not None}


def plain(value: Any) -> Any:
    """Return a number of numpy's as Python's own, and anything else as it is."""
    return value.item() if hasattr(value, "item") and getattr(value, "ndim", None) == 0 else value

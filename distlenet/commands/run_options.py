"""Options that train, repeat and compare share, in groups as their help shows them, and the RunOptions they make."""

import argparse
import os
from collections.abc import Callable
from dataclasses import Field, fields
from typing import TYPE_CHECKING, Any

from distlenet.commands.options import Parser, add_data, add_trust, complete_by, make_trust, real, whole
from distlenet.config import DATA, FAULTS, GROUPS, NETWORK, RULES, RUN, Config
from distlenet.handshake import STALL_AFTER
from distlenet.paths import path
from distlenet.recipes import RECIPES

if TYPE_CHECKING:
    from distlenet.runs.experiment import RunOptions


def add_run(
    parser: Parser,
    directory: str,
    displays: tuple[str, ...],
    display: str,
    add_more: Callable[[argparse._ArgumentGroup], None],
) -> None:
    """Add the group "run": what train, repeat and compare share, and the options of one of them.

    Arguments:
        parser: of the command.
        directory: the help of ``--run``.
        displays: choices of ``--display``, the default first.
        display: its help.
        add_more: adds the command's own options.
    """
    run = parser.section(RUN)
    for title in GROUPS:
        parser.section(title)  # in this order
    run.add_argument("--run", required=True, type=path, metavar="DIR", dest="run_directory", help=directory)
    add_data(run)
    recipe = run.add_argument("--recipe", metavar="NAME", help=f"settings: {', '.join(RECIPES)} (default: standard)")
    complete_by(recipe, RECIPES)
    run.add_argument("--config", type=path, metavar="FILE.toml", help="settings that override the recipe's")
    add_settings(parser, RUN)
    add_more(run)
    run.add_argument("--display", choices=displays, default=displays[0], help=display)
    run.add_argument("--tensorboard", action="store_true", help="write event files for TensorBoard to RUN/tensorboard")
    add_trust(run, model=False)
    for group in (DATA, NETWORK, RULES, FAULTS):
        add_settings(parser, group)


def add_settings(parser: Parser, group: str) -> None:
    """Add an option for every setting of the ``group``; its default is that of the recipe standard."""
    for item in fields(Config):
        if item.metadata["group"] == group:
            add_setting(parser.section(group), item)


def add_setting(section: argparse._ArgumentGroup, item: "Field[Any]") -> None:
    """Add the option of the setting ``item``; unknown names are refused later, by a ConfigError that lists them."""
    flag, facts = "--" + item.name.replace("_", "-"), item.metadata
    if item.type is bool:
        section.add_argument(flag, action=argparse.BooleanOptionalAction, default=None, help=facts["help"])
        return
    kinds: dict[Any, tuple[str, Callable[[str], Any]]] = {int: ("N", whole()), float: ("X", real()), str: ("NAME", str)}
    metavar, kind = kinds[item.type]
    names, choices = facts.get("names", ()), facts.get("choices")
    text = facts["help"]
    if names and not choices:
        known = ", ".join(names) + (f", or your own, FILE.py:{facts['code']}" if "code" in facts else "")
        text = known if text == item.name else f"{text}: {known}"
    metavar = "{" + ",".join(choices) + "}" if choices else metavar
    option = section.add_argument(flag, type=kind, metavar=metavar, help=f"{text} (default: {item.default})")
    complete_by(option, names)


def given_settings(args: argparse.Namespace) -> dict[str, Any]:
    """Return the settings that the command line gives."""
    flags = {item.name: getattr(args, item.name) for item in fields(Config)}
    return {name: value for name, value in flags.items() if value is not None}


def make_options(
    args: argparse.Namespace,
    directory: str,
    recipe: str | None,
    flags: dict[str, Any],
    stall_after: float | None = None,
    **more: Any,
) -> "RunOptions":
    """Return the options of one run, of ``train`` or of a series; ``more``: those that the latter has not."""
    from distlenet.runs.experiment import RunOptions

    return RunOptions(
        data=args.data,
        run_directory=directory,
        recipe=recipe,
        config_file=args.config,
        flags=flags,
        stall_after=float(os.environ.get(STALL_AFTER, "60")) if stall_after is None else stall_after,
        debug=args.debug,
        tensorboard=args.tensorboard,
        trust=make_trust(args, flags.get("model"), flags, getattr(args, "callback", ())),
        **more,
    )

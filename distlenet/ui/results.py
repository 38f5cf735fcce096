"""The last screen of a run: its result, and three commands to try next.

``python -m distlenet.ui.results RUN DATA`` shows it for a run that is over: the end of scripts/quickstart.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from distlenet.bounded import read_json
from distlenet.streams import clean, note, reason, safe_streams
from distlenet.ui.console import make_console
from distlenet.ui.text import Hints, duration, hints, percent


class Ending:
    """The result of a run as lines that fit a small window; commands are not broken, so that they can be copied."""

    def __init__(self, summary: Mapping[str, Any], hints: Hints = ()) -> None:
        self._summary, self._hints = summary, hints if summary.get("status") == "complete" else ()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        rows = result_rows(self._summary)
        left = max((len(name) for name, _ in rows), default=0) + 2
        for name, text in rows:
            yield Text.assemble((name.ljust(left), "dim"), clean(text), overflow="fold")
        if self._hints:
            yield Text("next", "dim")
        column = max((len(clean(command)) for command, _ in self._hints), default=0) + 4
        roomy = all(column + len(purpose) < options.max_width for _, purpose in self._hints)
        for command, purpose in self._hints:
            line = Text(f"  {clean(command)}", no_wrap=True, overflow="ignore")
            if roomy:
                line.append(" " * (column - line.cell_len) + purpose, "dim")
            yield line


def result_rows(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return (name, text) of what summary.json holds; keys that are missing make no row."""

    def found(key: str, text: str = "{}") -> str:
        return text.format(summary[key]) if summary.get(key) is not None else ""

    def joined(*parts: str) -> str:
        return ", ".join(filter(None, parts))

    accuracy, valid, seconds = (summary.get(key) for key in ("test_accuracy", "val_accuracy", "seconds"))
    tests = (("", accuracy), ("error ", summary.get("test_error")))
    rows = [
        ("status", joined(found("status"), found("epochs", "epochs: {:,}"), found("steps", "steps: {:,}"))),
        ("test accuracy", joined(*(f"{word}{percent(v)}" for word, v in tests if v is not None))),
        ("parameters", joined(found("evaluated"), f"valid {percent(valid)}" if valid is not None else "")),
    ]
    for event in summary.get("divergences") or []:
        rows.append(("diverged", f"{event['kind']} in epoch {event['epoch'] + 1}: {event['action']}"))
    speed = joined(found("images_per_second", "{:,.0f} images/s"), found("ranks", "ranks: {}"))
    rows += [
        ("time", joined(duration(seconds) if seconds is not None else "", speed)),
        ("run", found("run")),
        ("theta sha256", found("theta_sha256", "{:.12}")),
    ]
    return [(name, text) for name, text in rows if text]


def main(run: str, data: str) -> None:
    """Print the last screen of the run in directory ``run``, trained on the file ``data`` and evaluated.

    A summary that cannot be read is reported, and no failure: the run is over.
    """
    with safe_streams():
        try:
            summary = read_json(Path(run) / "summary.json")
            shown = Ending(summary, hints(run, data, ("report", "predict", "draw")))
        except (OSError, ValueError, AttributeError) as error:  # AttributeError: JSON, but no object
            note(f"cannot read {run}/summary.json: {reason(error)}")
        else:
            make_console().print(shown, crop=False)


if __name__ == "__main__":
    main(*sys.argv[1:])

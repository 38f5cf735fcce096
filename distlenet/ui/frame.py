"""The lines below the table of epochs: two bars, the figures, and what their words mean, for any size of window."""

from collections.abc import Iterable

from rich.console import Console
from rich.text import Text

from distlenet.ui.display import LEGEND, Progress, duration, milliseconds, number, percent

GAP = "   "  # between two figures
LEAST_BAR = 8  # cells of a bar that is worth drawing
SPARE_ROWS = 3  # rows of the window that the legend leaves free: the table's head and last row, and the cursor


def frame(progress: Progress, saved: str, console: Console, rows: int = 24) -> list[Text]:
    """Return the lines below the table: two bars, the figures, and what the words mean, for the size of the window."""
    width = console.width - 1
    labels = (f"epoch {{}}/{progress.epochs}", f"step {{}}/{progress.steps_per_epoch}")
    left = max(len(labels[0].format(progress.epochs)), len(labels[1].format(progress.steps_per_epoch)))
    first, second, now, exchange = notes(progress, width - left - len("  100%"))
    bars = [
        (labels[0].format(min(progress.epoch + 1, progress.epochs)), progress.fraction, first, "green"),
        (labels[1].format(progress.step), progress.step / max(1, progress.steps_per_epoch), second, "cyan"),
    ]
    shape = {"left": left, "right": max(len(first), len(second)), "width": width}
    lines = [bar(*values, **shape, ascii_only=console.options.ascii_only) for values in bars]
    past = flow(filter(None, [*last_epoch(progress), saved]), width)
    for extra in (exchange, []):  # in a low window there is no figure that needs to be explained
        legend = flow([f"{word} = {LEGEND[word]}" for word in LEGEND if extra or word != "exchange"], width)
        room = rows - SPARE_ROWS - len(lines) - len(flow(now + extra, width)) - len(past)
        if len(legend) <= room:
            break
    lines += [Text(line) for line in flow(now + extra, width)] + [Text(line, "dim") for line in past]
    return lines + [Text(line, "dim italic") for line in legend[: max(0, room)]]


def notes(progress: Progress, width: int) -> tuple[str, str, list[str], list[str]]:
    """Return what stands behind the two bars, the figures below them, and that of the exchange, if there is one.

    ``width`` cells are for bars and notes.
    """
    now = []
    if progress.step_seconds is not None:
        now = [f"running loss {number(progress.running_loss)}", f"running {percent(progress.running_accuracy)}"]
        now.append(f"lr {progress.lr:.4g}")
    exchange = [f"exchange {percent(progress.exchange_share, 1)}"] if progress.exchange_share else []
    times = [f"elapsed {duration(progress.elapsed)}"]
    speeds = []
    if progress.step_seconds is not None:
        times.append(f"{duration(progress.seconds_left)} left")
        speeds = [f"{milliseconds(progress.step_seconds)} ms/step", f"{progress.images_per_second:,.0f} images/s"]
    for count in (2, 1):
        first, second = GAP.join(times[-count:]), GAP.join(speeds[-count:])
        if width - max(len(first), len(second), 16 * count) > LEAST_BAR:
            rest = [*times[:-count], *speeds[:-count]]
            return first.rjust(16 * count - 1), second.rjust(16 * count - 1), now + rest, exchange
    return "", "", times + speeds + now, exchange


def last_epoch(progress: Progress) -> list[str]:
    """Return the figures of the last complete epoch."""
    found = []
    if progress.train is not None:
        found.append(f"train loss {number(progress.train.loss)}")
    if progress.valid is not None:
        found.append(f"valid loss {number(progress.valid.loss)}")
    if progress.train is not None:
        found.append(f"train {percent(progress.train.accuracy)}")
    if progress.valid is not None:
        found.append(f"valid {percent(progress.valid.accuracy)}")
    if progress.best is not None:
        found.append(f"* best {percent(progress.best)} (epoch {progress.best_epoch + 1})")
    return found


def bar(
    label: str, share: float, note: str, style: str, *, left: int, right: int, width: int, ascii_only: bool
) -> Text:
    """Return ``label``, a bar of which ``share`` (0 to 1) is filled, the share and ``note``."""
    share = min(max(share, 0.0), 1.0)
    label, note = label[:left].ljust(left), f" {share:4.0%}" + (f" {note.rjust(right)}" if right else "")
    room = width - len(label) - 1 - len(note)
    if room < LEAST_BAR // 2:  # a window so narrow that the share says it all
        return Text(f"{label}{note}"[:width])
    full, empty = ("=", "-") if ascii_only else ("━", "─")
    filled = int(share * room)
    return Text.assemble((label, "bold"), " ", (full * filled, style), (empty * (room - filled), "dim"), note)


def flow(items: Iterable[str], width: int, gap: str = GAP) -> list[str]:
    """Return ``items`` joined by ``gap`` into lines of at most ``width``; one that is longer is cut."""
    lines: list[str] = []
    for item in items:
        if lines and len(lines[-1]) + len(gap) + len(item) <= width:
            lines[-1] += gap + item
        else:
            lines.append(item[:width])
    return lines

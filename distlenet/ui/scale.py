"""The output of ``distlenet scale``: a line for each job, and the table."""

from typing import Any

from distlenet.bench.study_results import make_rows, remarks
from distlenet.series.table import as_text
from distlenet.streams import clean, say
from distlenet.ui.console import make_console
from distlenet.ui.series import fitted
from distlenet.ui.tables import table

NARROW = ("start, s", "MiB/rank", "least - most", "exchange")  # dropped in this order if the window is narrow


def line(ranks: int, found: dict[str, Any], kept: bool) -> str:
    """Return the line of one job, finished before this start if ``kept``."""
    what = f"{ranks} rank{'s' * (ranks > 1)}"
    if "failure" in found:
        return f"{what} failed: {clean(found['failure'])}"
    return f"{what}: {found['images_per_second']:,.0f} images/s{', from before' * kept}"


def show_study(results: dict[str, Any]) -> None:
    """Print the table of a study, and remarks."""
    console, rows = make_console(), make_rows(results)
    print(flush=True)
    say(results["title"])
    if console.is_terminal:
        head, *others = fitted(rows, console.width, NARROW)
        console.print(table(head, others, words=1))
    else:
        print(as_text(rows), end="")
    for remark in remarks(results):
        say(remark)

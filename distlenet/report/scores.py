"""The pages of an evaluation under corruptions, and of labelled pictures: tables, plots, examples."""

from pathlib import Path
from typing import TYPE_CHECKING

from distlenet.data.corruptions import CORRUPTIONS, corrupt
from distlenet.data.file.dataset_file import open_digit_file
from distlenet.report.figure import COLOURS, HALF, QUIET, bars, new_figure, style
from distlenet.report.page import Book, Written
from distlenet.report.pictures import Tiles, confusion, image
from distlenet.scores import Scores

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from distlenet.runs.measure import Measured

EXAMPLES = 3  # images shown under each corruption


def write_corruption_page(out: Path, measured: "Measured") -> Written:
    """Write table, plot and examples of ``measured.corrupted`` to the directory ``out``.

    Raises DataError, RunDirectoryError; UsageError without matplotlib or Jinja2.
    """
    kinds = {"none": measured.result, **measured.corrupted}
    accuracies = {kind: result.accuracy for kind, result in kinds.items()}
    mean = sum(result.accuracy for result in measured.corrupted.values()) / len(measured.corrupted)
    first, last = measured.start, min(measured.start + EXAMPLES, measured.stop)
    with open_digit_file(measured.data) as digits:
        originals, _ = digits.read("train" if measured.split == "validation" else measured.split, first, last)
    book = Book()
    with style():
        section = book.section("Accuracy under corruptions")
        section.facts([("no corruption", percent(accuracies["none"])), ("mean of the corruptions", percent(mean))])
        severities = {kind: corruption.severity for kind, corruption in CORRUPTIONS.items()}
        rows = [(kind, severities.get(kind, "-"), percent(right)) for kind, right in accuracies.items()]
        section.table(rows, ("corruption", "severity", "accuracy"))
        figure = new_figure(0.9 + 0.3 * len(accuracies))
        axes = figure.subplots()
        bars(axes, {kind: 100 * (1 - right) for kind, right in accuracies.items()})
        axes.set_title("Error, % of the images")
        book.figure(section, "corruptions", figure, "The error on the images as they are, and under each corruption.")
        examples = book.section("Examples")
        for kind in measured.corrupted:
            tiles = [image(changed / 255) for changed in corrupt(kind, originals, first)]
            examples.heading(kind)
            examples.tiles(Tiles(f"Images under {kind}", tiles))
    title = "Accuracy under corruptions"
    return book.write(out, title, f"{measured.checkpoint} on {measured.data}, {measured.split} images.", measured.notes)


def write_score_page(out: Path, scores: Scores, labels: str) -> Written:
    """Write accuracy, confusion matrix and reliability diagram of ``scores`` to the directory ``out``.

    ``labels``: the file of labels, for the page's first line. Raises RunDirectoryError; UsageError without matplotlib
    or Jinja2.
    """
    total, answered, rows = len(scores.true), int(scores.answered.sum()), scores.rows
    book = Book()
    with style():
        section = book.section("Results")
        section.facts(
            [
                *([("pictures wholly right", f"{rows.right:,} of {rows.count:,}")] if rows else []),
                ("accuracy", percent(scores.right.sum() / total)),
                ("no answer", percent(1 - answered / total)),
                ("wrong above 90 %", f"{scores.confidently_wrong:,}"),
                ("calibration error", percent(scores.calibration_error)),
            ]
        )
        kind = "digits" if rows else "pictures"
        section.text(f"{total:,} {kind}. One without an answer counts as not right in the accuracy.")
        if rows:
            accuracy = percent(rows.digit_accuracy)
            section.text(f"{rows.edits:,} edits of digits would make all pictures right: accuracy {accuracy}.")
        section = book.section("Confusion matrix", half=True)
        caption = "True and predicted classes of the answers."
        book.figure(section, "confusion", confusion(scores.confusion, scores.class_names), caption)
        section = book.section("Calibration", half=True)
        caption = (
            "Share of right answers by confidence, with the number of answers; above the diagonal, the network is too "
            "modest, below too sure."
        )
        book.figure(section, "calibration", reliability(scores), caption)
    return book.write(out, "Labelled pictures", f"Labels from {labels}.", [])


def reliability(scores: Scores) -> "Figure | None":
    """Draw accuracy over confidence, with the number of answers at each point; nothing without answers."""
    parts = [part for part in scores.bins if part.count]
    if not parts:
        return None
    figure = new_figure(HALF, HALF)
    axes = figure.subplots()
    axes.plot((0, 100), (0, 100), "--", color=QUIET, linewidth=1)
    sure, right = ([100 * getattr(part, name) for part in parts] for name in ("confidence", "accuracy"))
    axes.plot(sure, right, "o-", color=COLOURS[0], linewidth=1.6)
    for x, y, part in zip(sure, right, parts, strict=True):
        axes.annotate(f"{part.count:,}", (x, y), (-4, 5), textcoords="offset points", ha="right", fontsize=8)
    axes.set_xlabel("mean confidence, %")
    axes.set_ylabel("right answers, %")
    axes.set_xlim(0, 102)
    axes.set_ylim(0, 105)
    axes.grid(True)
    return figure


def percent(share: float) -> str:
    """Return the share of the images as text."""
    return f"{100 * share:.2f} %"

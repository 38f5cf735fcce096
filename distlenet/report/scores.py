"""The page of an evaluation under corruptions: table, plot and examples."""

from pathlib import Path
from typing import TYPE_CHECKING

from distlenet.data.corruptions import CORRUPTIONS, corrupt
from distlenet.data.file.dataset_file import open_digit_file
from distlenet.report.figure import bars, new_figure, style
from distlenet.report.page import Book, Written
from distlenet.report.pictures import Tiles, image

if TYPE_CHECKING:
    from distlenet.runs.measure import Measured

EXAMPLES = 3  # images shown under each corruption


def write_corruption_page(out: Path, measured: "Measured") -> Written:
    """Write table, plot and examples of ``measured.corrupted`` to the directory ``out``.

    Raises DataError, RunDirectoryError; UsageError without matplotlib or Jinja2.
    """
    kinds = {"none": measured.result, **measured.corrupted}
    accuracies = {kind: result.accuracy for kind, result in kinds.items()}
    mean = sum(result.accuracy for result in measured.corrupted.values()) / len(measured.corrupted)
    split = "train" if measured.split == "validation" else measured.split
    with open_digit_file(measured.data) as digits:
        originals, _ = digits.read(split, 0, min(EXAMPLES, digits.length(split)))
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
            tiles = [image(changed / 255) for changed in corrupt(kind, originals)]
            examples.heading(kind)
            examples.tiles(Tiles(f"Images under {kind}", tiles))
    title = "Accuracy under corruptions"
    return book.write(out, title, f"{measured.checkpoint} on {measured.data}, {measured.split} images.", measured.notes)


def percent(share: float) -> str:
    """Return the share of the images as text."""
    return f"{100 * share:.2f} %"

"""Make the report of a run: read, look, draw, write."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from distlenet import atomic
from distlenet.data.augmentation import Resampler
from distlenet.data.file.dataset_file import DigitFile, open_digit_file
from distlenet.errors import DataError, RunDirectoryError
from distlenet.nn import NOTHING, Trust
from distlenet.report import look, looks, sections
from distlenet.report.book import Book
from distlenet.report.page import page
from distlenet.report.run import Run, read_run
from distlenet.training.ours import is_report


@dataclass(frozen=True)
class Written:
    """What was made."""

    page: Path
    figures: int
    notes: list[str]  # what is missing, and why


def write_report(
    path: Path,
    data: Path | None,
    usual_data: Path,
    out: Path | None,
    say: Callable[[str], None] = lambda text: None,
    trust: Trust = NOTHING,
) -> Written:
    """Write the report of the run directory ``path`` to the directory ``out`` (default: ``path``/report).

    ``data`` is the dataset of the run; None: ``usual_data`` if it is that, else the figures that need images are
    left out and a note says so. ``say`` is told what is being done; ``trust`` says which code the network may be.
    Raises CheckpointError: no checkpoint; DataError: ``data`` is another dataset, or damaged; RunDirectoryError:
    ``out`` cannot be written; UntrustedCodeError.
    """
    say("reading the run")
    run = read_run(path, trust)
    digits = _dataset(run, data, usual_data)
    book = Book()
    try:
        _fill(book, run, digits, say)
    finally:
        if digits:
            digits.close()
    checkpoint = run.checkpoint
    title = f"{checkpoint.config.model} on {checkpoint.dataset.name}"
    epochs = checkpoint.position[1]
    subtitle = f"Run {run.path}, checkpoint {checkpoint.path.name} after {epochs} epochs."
    html = page(title, subtitle, book.sections)
    out = out or path / "report"
    say("writing")
    write_files(out, {"report.html": html.encode("utf-8"), **book.files})
    return Written(out / "report.html", len(book.files), run.notes)


def _dataset(run: Run, data: Path | None, usual: Path) -> DigitFile | None:
    """Open the dataset of the run; adds a note to the run if there is none."""
    digits = None
    try:
        digits = open_digit_file(data or usual)
        look.check_data(run, digits)
    except DataError as error:
        if digits:
            digits.close()
        if data is not None:
            raise
        run.notes.append(f"{error}: without --data there are no figures that need images")
        return None
    return digits


def _fill(book: Book, run: Run, digits: DigitFile | None, say: Callable[[str], None]) -> None:
    """Add all sections in the order of the page."""
    net, dataset = run.checkpoint.build_net(), run.checkpoint.dataset
    resampler = Resampler(*dataset.image_shape, dataset.mean, dataset.std)
    say("drawing curves")
    sections.results(book, run)
    sections.progress(book, run)
    gradient, sample = None, ""
    if digits:
        say("looking at images")
        part, looked_at = look.shown_part(run, digits)
        found = look.answers(net, part, resampler, len(dataset.class_names))
        looks.by_class(book, found, looked_at, dataset.class_names)
        looks.through_the_layers(book, net, found, resampler, dataset.class_names)
        looks.augmentation(book, run, digits)
        gradient, sample = look.mean_gradient(net, run, digits, resampler)
    say("drawing the network")
    sections.network(book, run, net, gradient, sample)
    sections.settings(book, run)
    sections.happenings(book, run)


def write_files(out: Path, files: dict[str, bytes]) -> None:
    """Write ``files``, name -> content, to the directory ``out``; raises RunDirectoryError."""
    for path in (out / name for name in files):
        if os.path.lexists(path) and not is_report(path):
            raise RunDirectoryError(
                f"{path} was not written by report, which would replace it: move it elsewhere, or choose another --out"
            )
    for name, content in files.items():
        atomic.write(out / name, content, RunDirectoryError)

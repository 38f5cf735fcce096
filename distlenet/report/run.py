"""The report of one run, and its sections that need no images."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from distlenet.config import Config
from distlenet.data.file.dataset_file import DigitFile, open_digit_file
from distlenet.errors import CheckpointError, DataError
from distlenet.nn import Net
from distlenet.nn.inspection import norms
from distlenet.reader import Reader
from distlenet.report import figure as curves
from distlenet.report import images, pictures
from distlenet.report.page import Book, Written
from distlenet.report.timeline import add_ranks, add_timeline
from distlenet.runs.checkpoint_file import read_checkpoint
from distlenet.runs.directory import RunDirectory
from distlenet.runs.record import Run, divergences, number, read_run
from distlenet.series.table import FIGURES, figure
from distlenet.trust import NOTHING, Trust

RESULTS = (  # of summary.json, in this order
    *("test_accuracy", "test_error", "test_loss", "val_accuracy", "evaluated", "status", "seconds", "ranks"),
    *("images_per_second", "epochs", "steps", "reduce_share", "memory_mib"),
)
STARTED = ("date", "host", "command")  # of the newest start in the journal
TITLES = {name: title for name, (title, *_) in FIGURES.items()} | {
    "status": "status",
    "evaluated": "evaluated",
    "val_accuracy": "best validation accuracy",
    "seconds": "time of training",
    "images_per_second": "images per second",
    "theta_sha256": "SHA-256 of the parameters",
}


def write_report(
    path: Path,
    data: Path | None,
    usual_data: Path,
    out: Path | None,
    say: Callable[[str], None] = lambda text: None,
    trust: Trust = NOTHING,
) -> Written:
    """Write the report of the run directory ``path`` to the directory ``out`` (default: ``path``/report).

    ``data`` is the dataset of the run; None: ``usual_data`` if the run was trained on it, else the figures
    that need images are left out and a note says so. ``say`` gets each step of the work; ``trust`` names the code that
    the network may run.
    Raises CheckpointError: no checkpoint; DataError: ``data`` is another dataset, or damaged; RunDirectoryError:
    ``out`` cannot be written; UntrustedCodeError.
    """
    say("reading the run")
    run = read_run(path, trust)
    digits = _dataset(run, data, usual_data)
    book = Book()
    try:
        with curves.style():
            _fill(book, run, digits, say)
    finally:
        if digits:
            digits.close()
    checkpoint = run.checkpoint
    epochs = checkpoint.position[1]
    title = f"{checkpoint.config.model} on {checkpoint.dataset.name}"
    subtitle = f"Run {run.path}, checkpoint {checkpoint.path.name} after {epochs} epoch{'s' * (epochs != 1)}."
    say("writing")
    return book.write(out or path / "report", title, subtitle, run.notes)


def _dataset(run: Run, data: Path | None, usual: Path) -> DigitFile | None:
    """Open the dataset of the run; adds a note to the run if it is missing."""
    digits = None
    try:
        digits = open_digit_file(data or usual)
        images.check_data(run, digits)
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
    reader = Reader(run.checkpoint)
    say("drawing curves")
    results(book, run)
    progress(book, run)
    add_ranks(book, run.summary)
    add_timeline(book, run.path)
    gradient, sample = None, ""
    if digits:
        say("evaluating images")
        part, name = images.shown_part(run, digits)
        found = images.answers(reader, part)
        images.by_class(book, found, name, reader.class_names)
        images.through_the_layers(book, reader, found)
        images.augmentation(book, run, digits)
        gradient, sample = images.mean_gradient(reader, run, digits)
    say("drawing the network")
    network(book, run, reader.net, gradient, sample)
    settings(book, run)
    happenings(book, run)


def results(book: Book, run: Run) -> None:
    """Add the results of the run, and notes on its missing files."""
    section = book.section("Results")
    for note in run.notes:
        section.note(note)
    for sentence in divergences(run.summary):
        section.note(f"The run diverged in {sentence}.")
    strip = [_result(name, run.summary[name]) for name in RESULTS if name in run.summary]
    accuracies = [value for entry in run.epochs if (value := number(entry, "validation", "accuracy")) is not None]
    if not strip and accuracies:
        strip = [("best validation accuracy", f"{max(accuracies):.2%}"), ("epochs so far", str(len(run.epochs)))]
    start = _newest_start(run)
    strip += [(name, str(start[name])) for name in STARTED if start.get(name)]
    if "theta_sha256" in run.summary:
        strip.append(_result("theta_sha256", run.summary["theta_sha256"]))
    section.facts(strip)


def _newest_start(run: Run) -> dict[str, Any]:
    return next((line for line in reversed(run.happenings) if line["kind"] == "start"), {})


def _result(name: str, value: Any) -> tuple[str, str]:
    """Return title and text of an entry of the summary."""
    found = number({name: value}, name) if name in FIGURES else None
    return TITLES[name], str(value) if found is None else figure(name, found)


def progress(book: Book, run: Run) -> None:
    """Add loss and error, learning rate and speed."""
    section = book.section("Learning")
    caption = "Loss and error after each epoch; accuracy is 100 % minus the error."
    book.figures(section, curves.learning(run), caption)
    section = book.section("Learning rate and steps")
    book.figures(section, curves.steps(run), "Learning rate and loss of the batches by step.")
    section = book.section("Speed")
    book.figures(section, curves.speed(run), "Training speed, and where the time of each epoch went.")


def network(book: Book, run: Run, net: Net, gradient: np.ndarray | None, sample: str) -> None:
    """Add kernels, weights and gradients; ``gradient`` (parameters,) is a mean over ``sample``."""
    section = book.section("Kernels")
    for layer in net.layers:
        for parameter in layer.parameters:
            if parameter.is_weight and len(parameter.shape) in (3, 4):
                section.tiles(pictures.kernels(layer.name, parameter.value))
    section = book.section("Weights and gradients")
    section.table(*_statistics(net, gradient))
    if gradient is not None:
        section.text(f"The gradient is a mean over {sample}, at the checkpoint {run.checkpoint.path.name}.")
    book.figures(section, pictures.histograms(net), "Distribution of the weights of each layer.")
    epochs, by_name = norms_by_epoch(run, net)
    if len(epochs) > 1:
        book.figure(section, "norms", pictures.norms(epochs, by_name), "Norm of the weights at the checkpoints kept.")


def _statistics(net: Net, gradient: np.ndarray | None) -> tuple[list[list[str]], list[str]]:
    """Return rows and head of the table of parameters."""
    head = ["parameter", "shape", "number", "mean", "standard deviation", "smallest", "largest", "norm"]
    if gradient is not None:
        head += ["norm of gradient", "gradient / weight", "zero gradients"]
    rows = []
    parts = {} if gradient is None else net.views(gradient)
    for name, parameter in net.parameters.items():
        value, shape = parameter.value.astype(np.float64), " x ".join(map(str, parameter.shape))
        norm = float(np.linalg.norm(value))
        figures = [value.mean(), value.std(), value.min(), value.max(), norm]
        row = [name, shape, f"{value.size:,}", *(f"{figure:.4g}" for figure in figures)]
        if name in parts:
            part = parts[name].astype(np.float64)
            slope = float(np.linalg.norm(part))
            share = f"{slope / norm:.2g}" if norm else "-"
            row += [f"{slope:.3g}", share, f"{100 * np.mean(part == 0):.1f} %"]
        rows.append(row)
    return rows, head


def settings(book: Book, run: Run) -> None:
    """Add configuration, dataset and numerics."""
    section = book.section("Configuration", half=True)
    config, usual = run.checkpoint.config.to_dict(), Config().to_dict()
    section.table(
        [(name, value, "" if value == usual[name] else f"instead of {usual[name]}") for name, value in config.items()],
        ["setting", "value", "default"],
    )
    section = book.section("Dataset and numerics", half=True)
    dataset = run.checkpoint.dataset
    facts = _newest_start(run).get("facts")
    section.table(
        [
            ("dataset", dataset.name),
            ("fingerprint", dataset.fingerprint),
            ("images", f"{dataset.image_shape[0]} x {dataset.image_shape[1]} pixels"),
            ("classes", f"{len(dataset.class_names)}: {', '.join(dataset.class_names)}"),
            ("normalised by", f"mean {dataset.mean:.4f}, standard deviation {dataset.std:.4f}"),
            *run.checkpoint.meta["numerics"].items(),
            *(facts.items() if isinstance(facts, dict) else ()),
        ]
    )


def happenings(book: Book, run: Run) -> None:
    """Add starts, resumptions, faults, recoveries and ends, in order."""
    section = book.section("Faults and recoveries")
    rows = [(line.get("steps", "?"), *_described(line)) for line in run.happenings]
    troubles = [row for row in rows if row[1] != "start" and row[1] != "end"]
    if run.happenings and not troubles:
        section.text("No fault: the journal has the start and the end of the run, and nothing else.")
    section.table(rows, ["step", "event", "details"])


def _described(line: dict[str, Any]) -> tuple[str, str]:
    """Return a line of the journal as (kind, sentence)."""
    if line["kind"] == "notice":
        return str(line.get("level", "info")), str(line.get("text", ""))
    if line["kind"] == "end":
        return "end", str(line.get("status", "?"))
    epoch, step = (number(line, key) or 0 for key in ("epoch", "step"))
    if epoch or step:
        return "resumed", f"at epoch {epoch + 1:.0f}, step {step + 1:.0f}"
    return "start", str(line.get("title", ""))


def norms_by_epoch(run: Run, net: Net) -> tuple[list[int], dict[str, list[float]]]:
    """Return the epochs of the kept checkpoints, and the norm of each weight array of ``net`` at each of them."""
    found: dict[int, dict[str, float]] = {}
    for path in RunDirectory(run.path).saved():
        try:
            checkpoint = read_checkpoint(path, run.checkpoint.trust)
        except CheckpointError:
            continue
        if checkpoint.position[0] and checkpoint.averaged.shape == net.theta.shape:
            by_name = norms(net, checkpoint.averaged.astype(np.float64))
            weights = {name: norm for name, norm in by_name.items() if net.parameters[name].is_weight}
            found[checkpoint.position[1]] = weights
    epochs = sorted(found)
    names = list(found[epochs[0]]) if epochs else []
    return epochs, {name: [found[epoch][name] for epoch in epochs] for name in names}

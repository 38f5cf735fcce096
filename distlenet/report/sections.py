"""The sections of the report that need no images: what came of the run, its curves, its settings, what happened."""

from typing import Any

import numpy as np

from distlenet.config import Config
from distlenet.nn import Net
from distlenet.report import curves, layers
from distlenet.report.book import Book
from distlenet.report.run import Run, divergences, norms_by_epoch
from distlenet.training.logbook import number

# name in summary.json -> words and format
RESULTS = {
    "status": ("status", "{}"),
    "test_accuracy": ("test accuracy", "{:.2%}"),
    "test_error": ("test error", "{:.2%}"),
    "test_loss": ("test loss", "{:.4f}"),
    "evaluated": ("evaluated", "{}"),
    "val_accuracy": ("best validation accuracy", "{:.2%}"),
    "epochs": ("epochs", "{}"),
    "steps": ("steps", "{:,}"),
    "ranks": ("ranks", "{}"),
    "seconds": ("seconds of training", "{:,.1f}"),
    "images_per_second": ("training images per second", "{:,.0f}"),
    "reduce_share": ("share of a step spent in the exchange", "{:.1%}"),
    "memory_mib": ("memory of a rank, at most (MiB)", "{:,}"),
    "theta_sha256": ("SHA-256 of the parameters", "{}"),
}


def results(book: Book, run: Run) -> None:
    """Add what came of the run, and what is missing among its files."""
    section = book.section("Results")
    for note in run.notes:
        section.note(note)
    for sentence in divergences(run.summary):
        section.note(f"The run diverged in {sentence}.")
    rows = [(text, _formatted(form, run.summary[key])) for key, (text, form) in RESULTS.items() if key in run.summary]
    section.table(rows)
    accuracies = [value for entry in run.epochs if (value := number(entry, "validation", "accuracy")) is not None]
    if not rows and accuracies:
        section.text(f"{len(run.epochs)} epochs so far; best validation accuracy {max(accuracies):.2%}.")


def _formatted(form: str, value: Any) -> str:
    try:
        return form.format(value)
    except (ValueError, TypeError):
        return str(value)


def progress(book: Book, run: Run) -> None:
    """Add the curves."""
    section = book.section("Learning")
    book.figures(section, curves.learning(run), "Loss and error after each epoch.")
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
                name = f"kernels-{layer.name}"
                book.figure(section, name, layers.kernels(layer.name, parameter.value), f"Kernels of {layer.name}.")
    section = book.section("Weights and gradients")
    section.table(*_statistics(net, gradient))
    if gradient is not None:
        section.text(f"The gradient is a mean over {sample}, at the checkpoint {run.checkpoint.path.name}.")
    book.figure(section, "weights", layers.histograms(net), "How the weights of each layer are distributed.")
    epochs, norms = norms_by_epoch(run, net)
    if len(epochs) > 1:
        book.figure(section, "norms", layers.norms(epochs, norms), "Norm of the weights at the checkpoints kept.")


def _statistics(net: Net, gradient: np.ndarray | None) -> tuple[list[list[str]], list[str]]:
    """Return rows and head of the table of parameters."""
    head = ["parameter", "shape", "number", "mean", "deviation", "smallest", "largest", "norm"]
    if gradient is not None:
        head += ["norm of gradient", "gradient / weight", "zero gradients"]
    rows, start = [], 0
    for name, parameter in net.parameters.items():
        value, shape = parameter.value.astype(np.float64), " x ".join(map(str, parameter.shape))
        norm = float(np.linalg.norm(value))
        figures = [value.mean(), value.std(), value.min(), value.max(), norm]
        row = [name, shape, f"{value.size:,}", *(f"{figure:.4g}" for figure in figures)]
        if gradient is not None:
            part = gradient[start : start + parameter.size].astype(np.float64)
            slope = float(np.linalg.norm(part))
            share = f"{slope / norm:.2g}" if norm else "-"
            row += [f"{slope:.3g}", share, f"{100 * np.mean(part == 0):.1f} %"]
        rows.append(row)
        start += parameter.size
    return rows, head


def settings(book: Book, run: Run) -> None:
    """Add configuration, dataset and numerics."""
    section = book.section("Configuration")
    config, usual = run.checkpoint.config.to_dict(), Config().to_dict()
    section.table(
        [(name, value, "" if value == usual[name] else f"instead of {usual[name]}") for name, value in config.items()],
        ["setting", "value", ""],
    )
    dataset = run.checkpoint.dataset
    section.table(
        [
            ("dataset", dataset.name),
            ("fingerprint", dataset.fingerprint),
            ("images", f"{dataset.image_shape[0]} x {dataset.image_shape[1]} pixels"),
            ("classes", f"{len(dataset.class_names)}: {', '.join(dataset.class_names)}"),
            ("normalised by", f"mean {dataset.mean:.4f}, deviation {dataset.std:.4f}"),
            *((name, value) for name, value in run.checkpoint.meta["numerics"].items()),
            *((key, value) for key, value in _facts(run).items()),
        ]
    )


def _facts(run: Run) -> dict[str, Any]:
    """Return what the newest start of the run said of itself."""
    starts = [line.get("facts") for line in run.happenings if line["kind"] == "start"]
    return starts[-1] if starts and isinstance(starts[-1], dict) else {}


def happenings(book: Book, run: Run) -> None:
    """Add starts, resumptions, faults, recoveries and ends, in order."""
    section = book.section("Faults and recoveries")
    rows = [(line.get("steps", "?"), *_told(line)) for line in run.happenings]
    troubles = [row for row in rows if row[1] != "start" and row[1] != "end"]
    if run.happenings and not troubles:
        section.text("Nothing but the start and the end of the run is in its journal: no fault was met.")
    section.table(rows, ["step", "what", ""])


def _told(line: dict[str, Any]) -> tuple[str, str]:
    """Return a line of the journal as (kind, sentence)."""
    if line["kind"] == "notice":
        return str(line.get("level", "info")), str(line.get("text", ""))
    if line["kind"] == "end":
        return "end", str(line.get("status", "?"))
    begun = number(line, "epoch"), number(line, "step")
    if any(begun):
        return "resumed", f"at epoch {(begun[0] or 0) + 1:.0f}, step {(begun[1] or 0) + 1:.0f}"
    return "start", str(line.get("title", ""))

"""What ``distlenet evaluate`` prints: tables, or one JSON object."""

import json
from typing import Any

from distlenet.streams import say
from distlenet.training.evaluation import Result
from distlenet.training.metrics import per_class


def show(report: dict[str, Any], as_json: bool) -> None:
    """Print the evaluation ``report`` of commands/evaluate.py."""
    result: Result = report["result"]
    if as_json:
        print(json.dumps(to_json(report)))
        return
    from distlenet.ui.console import make_console
    from distlenet.ui.tables import evaluation_table

    say(f"{report['checkpoint']} on {report['data']}, {report['split']}")
    make_console().print(evaluation_table(result.confusion, result.loss, report["class_names"]))


def to_json(report: dict[str, Any]) -> dict[str, Any]:
    """Return the report as JSON values."""
    result: Result = report["result"]
    figures = per_class(result.confusion)
    return {
        **{key: report[key] for key in ("checkpoint", "data", "split")},
        "accuracy": result.accuracy,
        "error": 1 - result.accuracy,
        "loss": result.loss,
        "count": int(result.confusion.sum()),
        "classes": [
            {"name": name, **{key: float(values[place]) for key, values in figures.items()}}
            for place, name in enumerate(report["class_names"])
        ],
        "confusion": result.confusion.tolist(),
    }

"""distlenet: a multi-process, data-parallel trainer of a pure-numpy LeNet-5.

    import distlenet

    run = distlenet.train("datasets/mnist.h5", "runs/a", recipe="fast", epochs=2)
    run.test_accuracy, run.theta_sha256, run.history
    distlenet.load(run).predict(images).labels
    distlenet.evaluate(run, "datasets/mnist.h5").accuracy
    distlenet.launch(4, "train", data="datasets/mnist.h5", run="runs/b", recipe="fast")

All errors that a user can meet are subclasses of ``distlenet.DistlenetError``, with one sentence each. The names are
loaded on first use: ``import distlenet`` alone loads neither numpy nor MPI.
"""

TYPE_CHECKING = False  # type checkers take it for True; typing, which has another, would have to be loaded

__version__ = "0.1.0"

if TYPE_CHECKING:
    from distlenet import errors, events, nn
    from distlenet.api.datasets import PreparedDataset, prepare
    from distlenet.api.ranks import launch
    from distlenet.api.reading import Evaluation, evaluate, load
    from distlenet.api.run import Run
    from distlenet.api.training import train, training_events
    from distlenet.errors import (
        CallbackError,
        CheckpointError,
        ConfigError,
        DataError,
        DistlenetError,
        DivergedError,
        Interrupted,
        LaunchError,
        NonFiniteError,
        RanksLost,
        RunDirectoryError,
        Stopped,
        UntrustedCodeError,
        UsageError,
    )
    from distlenet.reader import Predictions, Reader
else:
    _WHERE = {
        **dict.fromkeys(("PreparedDataset", "prepare"), "api.datasets"),
        **dict.fromkeys(("launch",), "api.ranks"),
        **dict.fromkeys(("Evaluation", "evaluate", "load"), "api.reading"),
        **dict.fromkeys(("Run",), "api.run"),
        **dict.fromkeys(("train", "training_events"), "api.training"),
        **dict.fromkeys(("Predictions", "Reader"), "reader"),
        **dict.fromkeys(("CallbackError", "CheckpointError", "ConfigError", "DataError", "DistlenetError"), "errors"),
        **dict.fromkeys(("DivergedError", "Interrupted", "LaunchError", "NonFiniteError", "RanksLost"), "errors"),
        **dict.fromkeys(("RunDirectoryError", "Stopped", "UntrustedCodeError", "UsageError"), "errors"),
    }
    _MODULES = ("errors", "events", "nn")

    def __getattr__(name: str) -> object:
        from importlib import import_module

        if name in _MODULES:
            found = import_module(f"distlenet.{name}")
        elif name in _WHERE:
            found = getattr(import_module(f"distlenet.{_WHERE[name]}"), name)
        else:
            raise AttributeError(f"module 'distlenet' has no attribute {name!r}")
        globals()[name] = found  # the next time it is found at once
        return found

    def __dir__() -> list[str]:
        return sorted({*globals(), *_WHERE, *_MODULES})


__all__ = [
    "CallbackError",
    "CheckpointError",
    "ConfigError",
    "DataError",
    "DistlenetError",
    "DivergedError",
    "Evaluation",
    "Interrupted",
    "LaunchError",
    "NonFiniteError",
    "Predictions",
    "PreparedDataset",
    "RanksLost",
    "Reader",
    "Run",
    "RunDirectoryError",
    "Stopped",
    "UntrustedCodeError",
    "UsageError",
    "errors",
    "evaluate",
    "events",
    "launch",
    "load",
    "nn",
    "prepare",
    "train",
    "training_events",
]

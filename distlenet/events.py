"""What a run tells callbacks and ``distlenet.training_events``: under the name by which users import it."""

from distlenet.training.events import (
    CheckpointSaved,
    Diverged,
    EpochDone,
    Event,
    LayersWatched,
    Notice,
    RunFinished,
    RunStarted,
    SaveRequested,
    Score,
    StepDone,
)

__all__ = [
    "CheckpointSaved",
    "Diverged",
    "EpochDone",
    "Event",
    "LayersWatched",
    "Notice",
    "RunFinished",
    "RunStarted",
    "SaveRequested",
    "Score",
    "StepDone",
]

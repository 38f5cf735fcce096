"""What the root does in the run directory when a run diverges."""

import contextlib
import json
from collections.abc import Callable

from distlenet.errors import RunDirectoryError
from distlenet.training.events import CheckpointSaved, Diverged, Event, Notice, RunFinished, SaveAsked
from distlenet.training.postmortem import in_words
from distlenet.training.rundir import RunDirectory, position


class Aftermath:
    """A listener that leaves a post-mortem, JSON and text, and sets aside the checkpoints that were gone back from."""

    def __init__(self, directory: RunDirectory, announce: Callable[[Event], None]) -> None:
        self._directory, self._announce = directory, announce
        self._owed: dict[str, str] = {}  # name: text, of files that could not be written
        self._left = False  # one that was gone back from stays until the state gone back to is saved

    def on(self, event: Event) -> None:
        """See Listener; what a full disk refuses is reported, and written when something is saved again."""
        if isinstance(event, SaveAsked | RunFinished):
            with contextlib.suppress(OSError, RunDirectoryError):
                self._write()
        if isinstance(event, CheckpointSaved) and event.path.name == "last.h5" and self._left:
            with contextlib.suppress(OSError):
                self._directory.set_aside(position(event.path))
                self._left = False
        if not isinstance(event, Diverged):
            return
        name = f"postmortem/{event.number}"
        whole = {**event.record, "what": event.what, **event.report}
        self._owed[f"{name}.txt"] = in_words(event.record, event.what, event.report)
        self._owed[f"{name}.json"] = json.dumps(whole) + "\n"
        try:
            if event.back_to:
                self._left = self._directory.go_back(event.back_to)
            self._write()
        except (OSError, RunDirectoryError) as error:
            self._announce(Notice(f"no post-mortem yet: {error}", "warning"))

    def _write(self) -> None:
        for name, text in list(self._owed.items()):
            self._directory.write_text(name, text)
            del self._owed[name]

"""What the root does in the run directory when a run diverges."""

import json
from collections.abc import Callable

from distlenet.errors import RunDirectoryError
from distlenet.training.events import Diverged, Event, Notice
from distlenet.training.postmortem import in_words
from distlenet.training.rundir import RunDirectory


class Aftermath:
    """A listener that leaves a post-mortem, JSON and text, and sets aside the checkpoints that were gone back from."""

    def __init__(self, directory: RunDirectory, announce: Callable[[Event], None]) -> None:
        self._directory, self._announce = directory, announce

    def on(self, event: Event) -> None:
        """See Listener; what a full disk refuses is said, and the run goes on."""
        if not isinstance(event, Diverged):
            return
        name = f"postmortem/{event.number}"
        try:
            self._directory.write_text(f"{name}.txt", in_words(event.record, event.what, event.report))
            whole = {**event.record, "what": event.what, **event.report}
            self._directory.write_text(f"{name}.json", json.dumps(whole) + "\n")
            if event.back_to:
                self._directory.set_aside(event.back_to)
        except (OSError, RunDirectoryError) as error:
            self._announce(Notice(f"no post-mortem: {error}", "warning"))

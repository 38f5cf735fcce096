"""Hands events to listeners."""

from distlenet.training.events import Event, Listener


class Announcer:
    """Passes events to the listeners; a listener may announce events of its own."""

    def __init__(self) -> None:
        self.listeners: list[Listener] = []

    def __call__(self, event: Event) -> None:
        """Tell every listener of ``event``."""
        for listener in self.listeners:
            listener.on(event)

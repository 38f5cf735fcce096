"""Hands events to listeners."""

from distlenet.training.events import Event, Listener


class Announcer:
    """Passes events to the listeners; a listener may announce events of its own."""

    def __init__(self, listeners: list[Listener]) -> None:
        self.listeners = listeners

    def __call__(self, event: Event) -> None:
        """Tell every listener of ``event``."""
        for listener in self.listeners:
            listener.on(event)

"""The table of --debug: what went through each layer, once an epoch."""

import sys

from distlenet.nn.inspection import WatchedLayer
from distlenet.training.events import EpochDone, Event


class DebugView:
    """A listener that prints the statistics of every layer's last call when an epoch is done."""

    def __init__(self) -> None:
        self.watched: list[WatchedLayer] = []

    def on(self, event: Event) -> None:
        """See Listener."""
        if isinstance(event, EpochDone):
            sys.stdout.write(self.table())
            sys.stdout.flush()

    def table(self) -> str:
        """Return the table, a line a layer."""
        lines = ["layer            mean   deviation    largest  zeros  |gradient|    |weight|"]
        for layer in self.watched:
            s = layer.statistics()
            norms = f"{s.gradient_norm:11.4g} {s.weight_norm:11.4g}" if s.weight_norm else ""
            output = f"{s.mean:10.4g} {s.deviation:11.4g} {s.largest:10.4g} {100 * s.zeros:5.1f}%"
            lines.append(f"{s.name:14} {output} {norms}".rstrip())
        return "\n".join(lines) + "\n"

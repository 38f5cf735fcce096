"""Consoles of rich on which only our own escape codes and colours work, never those of outside text."""

import sys
from collections.abc import Iterable
from typing import Any, TextIO

from rich.console import Console, ConsoleOptions, RenderableType
from rich.file_proxy import FileProxy
from rich.segment import Segment
from rich.text import Text

from distlenet.streams import SafeStream, shown
from distlenet.ui.terminal import is_live

LOG_WIDTH = 100  # columns of what is written to a file or a pipe


class SafeConsole(Console):
    """A console that escapes every text it renders, and takes nothing in it for markup."""

    def __init__(self, stream: TextIO, **settings: Any) -> None:
        stream = stream if isinstance(stream, SafeStream) else SafeStream(stream)
        super().__init__(file=Coded(stream), markup=False, highlight=False, emoji=False, **settings)

    def render_str(self, text: str, **settings: Any) -> Text:
        """Return ``text`` as rich does, escaped before it is measured: it must fit its column."""
        return super().render_str(shown(text), **settings)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render as rich does, but for control characters in a text: they are written out."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(shown(segment.text), segment.style)


class Coded:
    """A SafeStream as a console sees it: what comes from there may have escape codes."""

    def __init__(self, stream: SafeStream) -> None:
        self._stream = stream
        self.write = stream.write_codes

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class AboveBars(FileProxy):
    """A standard stream while bars are drawn: what is printed appears above them, without escape codes."""

    def write(self, text: str) -> int:
        """Print ``text`` above the bars."""
        super().write(shown(text))
        return len(text)


def make_console(stream: TextIO | None = None) -> SafeConsole:
    """Return a console on ``stream`` (stdout) that writes escape codes only where a window shows them."""
    stream = sys.stdout if stream is None else stream
    live = is_live(stream)
    # None: as the environment (NO_COLOR) says
    return SafeConsole(stream, force_terminal=live, no_color=None if live else True, width=None if live else LOG_WIDTH)

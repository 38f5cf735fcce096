"""Rich consoles on which only this program's escape codes and colours work, never those of outside text.

Bars are lines at the bottom of a terminal that are redrawn again and again; printed text goes above them. All ranks
wait for the root, so it draws only a few times a second, from within ``draw``. A separate thread would take the core
from the training.
"""

import sys
import time
from collections.abc import Callable, Iterable
from typing import IO, Any, TextIO, cast

from rich.console import Console, ConsoleOptions, RenderableType
from rich.control import Control
from rich.file_proxy import FileProxy
from rich.live import Live
from rich.segment import ControlType, Segment
from rich.text import Text

from distlenet.streams import SafeStream, shown
from distlenet.ui.terminal import is_live, window

LOG_WIDTH = 100  # columns of text written to a file or a pipe
PERIOD = 0.2  # least number of seconds between two drawings
SPARE = 100  # least pause, in multiples of the last drawing's time: drawing takes at most 1 % of the time


class SafeConsole(Console):
    """A console that escapes every text it renders and interprets no markup."""

    def __init__(self, stream: TextIO | SafeStream, **settings: Any) -> None:
        file = cast("IO[str]", Coded(stream if isinstance(stream, SafeStream) else SafeStream(stream)))
        super().__init__(file=file, markup=False, highlight=False, emoji=False, **settings)

    def render_str(self, text: str, **settings: Any) -> Text:
        """Return ``text`` as rich does, but escaped before it is measured, so that it fits its column."""
        return super().render_str(shown(text), **settings)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render as rich does, but write control characters in a text as escape sequences."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(shown(segment.text), segment.style)


class Coded:
    """A SafeStream for a console: text from the console may contain escape codes."""

    def __init__(self, stream: SafeStream) -> None:
        self._stream = stream
        self.write = stream.write_codes

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class AboveBars(FileProxy):
    """A standard stream while bars are drawn: printed text appears above them, without escape codes."""

    def write(self, text: str) -> int:
        """Print ``text`` above the bars."""
        super().write(shown(text))
        return len(text)


def make_console(stream: TextIO | None = None) -> SafeConsole:
    """Return a console on ``stream`` (stdout) that writes escape codes only if a terminal window shows them."""
    stream = sys.stdout if stream is None else stream
    live = is_live(stream)
    # no_color=None: decided by the environment variable NO_COLOR
    return SafeConsole(stream, force_terminal=live, no_color=None if live else True, width=None if live else LOG_WIDTH)


class SteadyConsole(SafeConsole):
    """A console that never hides the cursor.

    A rank that is killed could not show it again, and Open MPI's mpirun drops its ranks' last output after Ctrl-C. Each
    drawing is one write, so the cursor does not flicker.
    """

    def show_cursor(self, show: bool = True) -> bool:
        """Do nothing."""
        return False


class Bars:
    """Draws the lines that ``lines`` returns for a console at the bottom of the terminal behind ``stream``."""

    def __init__(
        self,
        stream: SafeStream,
        lines: Callable[[SafeConsole], list[Text]],
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._stream, self._lines, self._clock = stream, lines, clock
        self.console = SteadyConsole(stream, force_terminal=True)
        self.drawn: list[int] = []  # cells in each line
        self._due = 0.0
        self._live: Live | None = None  # while they are on the screen
        self._redirected = sys.stdout, sys.stderr
        self.fit()

    def start(self) -> None:
        """Draw for the first time, unless the bars are on the screen already."""
        if self._live is None:
            self._live = Live(
                console=self.console,
                get_renderable=self._frame,
                auto_refresh=False,
                vertical_overflow="crop",
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._redirected = sys.stdout, sys.stderr
            sys.stdout, sys.stderr = (AboveBars(self.console, stream) for stream in self._redirected)
            self._live.start()

    def draw(self) -> None:
        """Draw again if it is time."""
        if self._live is not None and (began := self._clock()) >= self._due:
            self.fit()
            self._live.refresh()
            ended = self._clock()
            self._due = ended + max(PERIOD, SPARE * (ended - began))

    def stop(self, keep: bool = True) -> None:
        """Stop drawing. The last lines stay if ``keep``, and text printed later starts below them."""
        if self._live is not None:
            self.fit()
            live, self._live = self._live, None
            live.transient = not keep
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            sys.stdout, sys.stderr = self._redirected
            live.stop()

    def print(self, what: object, **settings: Any) -> None:
        """Print ``what`` above the lines, with ``settings`` of rich's Console.print."""
        self.fit()
        self.console.print(what, **settings)

    def fit(self) -> None:
        """Adjust to the current size of the window."""
        columns, rows = window(self._stream)
        old, new = self.console.width, columns or 80
        self.console.size = (new, rows or 24)
        if self._live is not None and new < old:
            # Terminals break lines that no longer fit, and rich would clear too few of them.
            broken = sum(max(0, cells - 1) // new for cells in self.drawn)
            self.console.control(Control(*((ControlType.CURSOR_UP, 1), (ControlType.ERASE_IN_LINE, 2)) * broken))

    def _frame(self) -> Text:
        lines = self._lines(self.console)
        if self._live is not None:
            # The cursor stays below the bars, so that the prompt of a killed run appears there. Open MPI's mpirun
            # forwards only whole lines. Rich drops an empty last line, hence the blank.
            lines.append(Text(" "))
        self.drawn = [line.cell_len for line in lines]
        return Text("\n", no_wrap=True, overflow="crop", end="").join(lines)

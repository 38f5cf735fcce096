"""A run in a notebook: one output of the cell, replaced during the run and kept in the notebook."""

import io
import time
import uuid
from collections.abc import Callable, Iterator, Mapping

from rich.console import RenderableType
from rich.terminal_theme import TerminalTheme
from rich.text import Text

from distlenet.streams import clean
from distlenet.training.events import CheckpointSaved, EpochDone, Event, Notice, RunFinished, RunStarted, StepDone
from distlenet.ui.console import SPARE, SafeConsole
from distlenet.ui.live import epoch_cells, epoch_line, fitting, frame, notice
from distlenet.ui.progress import Display, Progress
from distlenet.ui.results import Ending
from distlenet.ui.text import RESUME, Hints, flow

WIDTH = 100  # columns
PERIOD = 0.5  # seconds between two drawings
MOST_EPOCHS = 40  # rows of the table: the last ones
# in the colours of the notebook's own text, on light and on dark
PAGE = '<pre style="white-space:pre;overflow-x:auto;line-height:1.35;font-family:monospace">{code}</pre>'

MIDDLE = (128, 128, 128)  # colours that can be read on both
COLOURS = TerminalTheme(
    MIDDLE,
    MIDDLE,
    [MIDDLE, (200, 60, 60), (40, 150, 75), (170, 130, 20), (60, 120, 200), (185, 80, 200), (20, 145, 165), MIDDLE],
)

Bundle = Mapping[str, str]  # MIME type: the output as that


class Cell:
    """An output of the cell that is being run, made by the first call and replaced by the others."""

    def __init__(self) -> None:
        self._id = uuid.uuid4().hex
        self._made = False

    def __call__(self, bundle: Bundle) -> None:
        """Show ``bundle``."""
        from IPython.display import display  # there is one: this is a notebook

        display(dict(bundle), raw=True, display_id=self._id, update=self._made)
        self._made = True


class NotebookDisplay(Display):
    """Draws the title, the table of epochs, bars and figures, and at last the result; ``show`` puts them on a page."""

    def __init__(
        self,
        clock: Callable[[], float] = time.perf_counter,
        again: str = RESUME,
        hints: Hints = (),
        show: Callable[[Bundle], None] | None = None,
    ) -> None:
        self._clock, self._progress, self._hints = clock, Progress(clock, again), hints
        self._show = show or Cell()
        self._head: list[Text] = []
        self._notices: list[Text] = []
        self._epochs: dict[int, dict[str, str]] = {}  # rows of the table
        self._saved = ""
        self._end: list[RenderableType] | None = None
        self._due = 0.0

    def on(self, event: Event) -> None:
        """See Display."""
        self._progress.add(event)
        match event:
            case RunStarted():
                facts = [f"{clean(key)} {clean(value)}" for key, value in event.facts.items()]
                self._head = [Text(clean(event.title), "bold")]
                self._head += [Text(line, "dim") for line in flow(facts, WIDTH - 1)]
                self._epochs = {n: row for n, row in self._epochs.items() if n < event.epoch}  # it may have gone back
            case EpochDone():
                self._epochs[event.epoch] = epoch_cells(event, self._progress)
            case Notice():
                self._notices.append(notice(event))
            case CheckpointSaved():
                self._saved = f"saved {clean(event.path.name)} {time.strftime('%H:%M')}"
            case RunFinished():
                self._end = [Ending(event.summary, self._hints)]
                if text := self._progress.parting(event.summary):
                    self._end.append(Text(clean(text), "bold"))
        if not isinstance(event, StepDone) or self._clock() >= self._due:
            self._draw()

    def _draw(self) -> None:
        began = self._clock()
        # in a notebook, rich would print every line as a separate output
        console = SafeConsole(io.StringIO(), width=WIDTH, record=True, force_jupyter=False, no_color=False)
        for part in self._parts(console):
            console.print(part, soft_wrap=isinstance(part, Text))
        page = console.export_html(theme=COLOURS, inline_styles=True, code_format=PAGE, clear=False)
        self._show({"text/plain": console.export_text().rstrip("\n"), "text/html": page})
        ended = self._clock()
        self._due = ended + max(PERIOD, SPARE * (ended - began))

    def _parts(self, console: SafeConsole) -> Iterator[RenderableType]:
        yield from self._head
        yield from self._notices
        if self._epochs:
            last = list(self._epochs.values())[-MOST_EPOCHS:]
            columns = fitting(dict.fromkeys(name for cells in last for name in cells), WIDTH - 1)
            yield epoch_line({name: name for name in columns}, columns, "dim")
            for cells in last:
                yield epoch_line(dict.fromkeys(columns, "") | cells, columns)
        yield from frame(self._progress, self._saved, console) if self._end is None else self._end

"""The report as it grows: sections, and figures that also become files; in the end one HTML page."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from distlenet import atomic
from distlenet.errors import RunDirectoryError, UsageError, missing_extra
from distlenet.report.figure import as_svg, within_page
from distlenet.report.pictures import Bar, Tile, Tiles
from distlenet.runs.ours import GENERATOR, is_report

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PALETTE = Path(__file__).parents[1] / "palette.css"
SHORT = 26  # letters of a cell that stay in one line
LEGIBLE, MOST = 0.75, 1.3  # a figure is scaled within these, and scrolled in its box where that is too wide
CSS_PIXELS = 100  # for each inch of a figure


@dataclass(frozen=True)
class Link:
    """A cell of a table that leads to a file next to the page."""

    text: str
    path: str  # relative to the page

    def __str__(self) -> str:
        return self.text


@dataclass
class Section:
    """A part of the page: a title and pieces, each as the template takes it; ``half``: two share a wide screen."""

    title: str
    half: bool = False
    pieces: list[dict[str, Any]] = field(default_factory=list)

    @property
    def anchor(self) -> str:
        """The name that links to the section."""
        return "".join(c if c.isalnum() else "-" for c in self.title.lower())

    def text(self, sentence: str) -> None:
        """Add a paragraph."""
        self.pieces.append({"kind": "text", "text": sentence})

    def note(self, sentence: str) -> None:
        """Add a paragraph that stands out."""
        self.pieces.append({"kind": "note", "text": sentence})

    def heading(self, text: str) -> None:
        """Add a heading within the section."""
        self.pieces.append({"kind": "heading", "text": text})

    def facts(self, facts: Iterable[tuple[str, str]]) -> None:
        """Add a strip of (name, value); nothing if there are none."""
        if shown := list(facts):
            self.pieces.append({"kind": "facts", "facts": shown})

    def tiles(self, tiles: Tiles) -> None:
        """Add small pictures."""
        self.pieces.append({"kind": "tiles", "tiles": tiles})

    def layers(self, layers: Sequence[Tiles]) -> None:
        """Add what the layers of a network output, two side by side where there is room."""
        self.pieces.append({"kind": "layers", "layers": layers})

    def answer(self, image: Tile, alt: str, bars: Sequence[Bar]) -> None:
        """Add an image and the bars of its probabilities."""
        self.pieces.append({"kind": "answer", "image": image, "alt": alt, "bars": bars})

    def table(self, rows: Iterable[Sequence[object]], head: Sequence[str] = ()) -> None:
        """Add a table; numbers are aligned right."""
        rows = [list(row) for row in rows]
        if not rows:
            return
        columns = [[cell for cell in column if str(cell) != "-"] for column in zip(*rows, strict=True)]
        right = [bool(head) and bool(cells) and all(map(_is_number, cells)) for cells in columns]

        def cells(row: Sequence[object]) -> list[dict[str, str]]:
            return [
                {
                    "text": str(cell),
                    "kind": "n" if number else "long" * (len(str(cell)) > SHORT),
                    "link": quote(cell.path) if isinstance(cell, Link) else "",
                }
                for cell, number in zip(row, right, strict=True)
            ]

        self.pieces.append({"kind": "table", "head": cells(head) if head else [], "rows": list(map(cells, rows))})


def _is_number(cell: object) -> bool:
    text = str(cell).replace(",", "").rstrip(" %s").partition(" ± ")[0]
    return bool(text) and text.lstrip("-").replace(".", "", 1).replace("e-", "", 1).replace("e+", "", 1).isdecimal()


@dataclass(frozen=True)
class Written:
    """A report that was written."""

    page: Path
    figures: int
    notes: list[str]  # sentences on missing parts and the reasons


class Book:
    """``sections`` in order; ``files``: name -> SVG. Raises UsageError without Jinja2."""

    def __init__(self) -> None:
        try:
            from jinja2 import Environment, FileSystemLoader, StrictUndefined
        except ImportError as error:
            raise UsageError(missing_extra("the report", "jinja2", "report")) from error
        loader = FileSystemLoader(Path(__file__).with_name("templates"))
        environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
        environment.globals["palette"] = PALETTE.read_text(encoding="utf-8")
        self._template = environment.get_template("report.html")
        self.sections: list[Section] = []
        self.files: dict[str, bytes] = {}

    def section(self, title: str, half: bool = False) -> Section:
        """Start a section."""
        self.sections.append(Section(title, half))
        return self.sections[-1]

    def figure(self, section: Section, name: str, figure: "Figure | None", caption: str) -> None:
        """Add ``figure`` to ``section`` and to the files; None: a sentence says that it is missing."""
        self.figures(section, {name: figure} if figure else {}, caption)

    def figures(self, section: Section, figures: "dict[str, Figure]", caption: str) -> None:
        """Add ``figures``, by the names of their files, side by side where there is room."""
        if not figures:
            if not section.pieces:
                section.text("There is nothing to show yet.")
            return
        drawings = []
        for name, figure in figures.items():
            name = "".join(c if c.isalnum() or c in "-_" else "-" for c in name)
            svg, width = as_svg(figure), round(CSS_PIXELS * figure.get_figwidth())
            self.files[f"{name}.svg"] = svg.encode()
            sizes = {"least": round(LEGIBLE * width), "most": round(MOST * width)}
            drawings.append({"svg": within_page(svg, name), **sizes})
        section.pieces.append({"kind": "figure", "drawings": drawings, "caption": caption})

    def html(self, title: str, subtitle: str) -> str:
        """Return the page; sections without pieces are left out."""
        named: dict[str, Section] = {}
        for section in self.sections:
            if section.pieces:
                taken = section.anchor in named
                named[f"{section.anchor}-{len(named)}" if taken else section.anchor] = section
        return self._template.render(title=title, subtitle=subtitle, sections=named, generator=GENERATOR)

    def write(self, out: Path, title: str, subtitle: str, notes: list[str]) -> Written:
        """Write the page and the figures to the directory ``out``; raises RunDirectoryError."""
        write_files(out, {"report.html": self.html(title, subtitle).encode(), **self.files})
        return Written(out / "report.html", len(self.files), notes)


def write_files(out: Path, files: dict[str, bytes]) -> None:
    """Write ``files``, name -> content, to the directory ``out``; raises RunDirectoryError."""
    for path in (out / name for name in files):
        if os.path.lexists(path) and not is_report(path):
            raise RunDirectoryError(
                f"{path} was not written by report, which would replace it: move it elsewhere, or choose another --out"
            )
    for name, content in files.items():
        atomic.write(out / name, content, RunDirectoryError)

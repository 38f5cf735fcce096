"""One HTML page that needs nothing else: figures within it, no script, nothing to fetch."""

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape
from urllib.parse import quote

from distlenet.training.ours import GENERATOR

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; background: #fff; max-width: 1080px; margin: 0 auto;
       padding: 1rem 1.5rem 4rem; overflow-wrap: break-word; }
h1 { font-size: 1.7rem; margin-bottom: 0; } h2 { margin-top: 2.5rem; border-bottom: 1px solid #ccc; }
nav a { margin-right: 1em; } p.note { background: #fff3d6; border-left: 4px solid #e69f00; padding: .4em .8em; }
table { border-collapse: collapse; margin: 1em 0; } td, th { padding: .15em .9em .15em 0; text-align: left;
        vertical-align: top; white-space: nowrap; } th { font-weight: 600; border-bottom: 1px solid #999; }
td.long { white-space: normal; overflow-wrap: anywhere; min-width: 8em; } th { white-space: normal; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; } tr:nth-child(even) td { background: #f6f6f6; }
figure { margin: 1em 0; } figure img { max-width: 100%; height: auto; vertical-align: top; }
figcaption { color: #555; font-size: .9em; } div.wide { overflow-x: auto; } code { font-size: .9em; }
@media (max-width: 600px) { body { padding: .5rem .8rem 3rem; } h1 { font-size: 1.4rem; } }
"""
SHORT = 26  # letters of a cell that stay in one line
LEGIBLE = 0.68  # of its size: a picture is not made smaller than this, but scrolled, within its box


@dataclass(frozen=True)
class Link:
    """A cell of a table that leads to a file beside the page."""

    text: str
    path: str  # relative to the page

    def __str__(self) -> str:
        return self.text


@dataclass
class Section:
    """A part of the page: a title and pieces of HTML."""

    title: str
    pieces: list[str] = field(default_factory=list)

    @property
    def anchor(self) -> str:
        """The name that links to the section."""
        return "".join(c if c.isalnum() else "-" for c in self.title.lower())

    def text(self, sentence: str) -> None:
        """Add a paragraph."""
        self.pieces.append(f"<p>{escape(sentence)}</p>")

    def note(self, sentence: str) -> None:
        """Add a paragraph that stands out."""
        self.pieces.append(f'<p class="note">{escape(sentence)}</p>')

    def figure(self, pictures: Iterable[tuple[bytes, int]], caption: str) -> None:
        """Add pictures, (PNG, width in CSS pixels) each: side by side where there is room."""
        images = "\n".join(
            f'<img src="data:image/png;base64,{base64.b64encode(png).decode("ascii")}" alt="{escape(caption)}" '
            f'width="{width}" style="min-width: {LEGIBLE * width:.0f}px">'
            for png, width in pictures
        )
        self.pieces.append(
            f'<figure><div class="wide">{images}</div><figcaption>{escape(caption)}</figcaption></figure>'
        )

    def table(self, rows: Iterable[Sequence[object]], head: Sequence[str] = ()) -> None:
        """Add a table; cells that are numbers stand at the right."""
        rows = [list(row) for row in rows]
        if not rows:
            return
        columns = [[cell for row in rows if str(cell := row[i]) != "-"] for i in range(len(rows[0]))]
        right = [bool(cells) and all(map(_is_number, cells)) for cells in columns]

        def line(cells: Sequence[object], tag: str) -> str:
            kinds = (
                "n" if number else "long" * (len(str(cell)) > SHORT) for cell, number in zip(cells, right, strict=True)
            )
            marks = (f'{tag} class="{kind}"' if kind else tag for kind in kinds)
            row = (f"<{mark}>{_cell(cell)}</{tag}>" for mark, cell in zip(marks, cells, strict=True))
            return f"<tr>{''.join(row)}</tr>"

        head_line = f"<thead>{line(head, 'th')}</thead>" if head else ""
        body = "\n".join(line(row, "td") for row in rows)
        self.pieces.append(f'<div class="wide"><table>{head_line}<tbody>{body}</tbody></table></div>')


def _cell(cell: object) -> str:
    text = escape(str(cell))
    return f'<a href="{escape(quote(cell.path))}">{text}</a>' if isinstance(cell, Link) else text


def _is_number(cell: object) -> bool:
    text = str(cell).replace(",", "").rstrip(" %").partition(" ± ")[0]
    return bool(text) and text.lstrip("-").replace(".", "", 1).replace("e-", "", 1).replace("e+", "", 1).isdecimal()


def page(title: str, subtitle: str, sections: Sequence[Section]) -> str:
    """Return the page as HTML; sections without pieces are left out."""
    named: dict[str, Section] = {}
    for section in sections:
        if section.pieces:
            taken = section.anchor in named
            named[f"{section.anchor}-{len(named)}" if taken else section.anchor] = section
    links = "\n".join(f'<a href="#{name}">{escape(section.title)}</a>' for name, section in named.items())
    bodies = "\n".join(
        f'<section id="{name}"><h2>{escape(section.title)}</h2>\n' + "\n".join(section.pieces) + "\n</section>"
        for name, section in named.items()
    )
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"{GENERATOR}<style>{STYLE}</style></head><body>\n<h1>{escape(title)}</h1>\n<p>{escape(subtitle)}</p>\n"
        f"<nav>{links}</nav>\n{bodies}\n</body></html>\n"
    )

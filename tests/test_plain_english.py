"""The project's prose is plain: messages, comments, docstrings, names, shell scripts, pages and READMEs.

PHRASES lists wordings that have to be read twice, each with a plainer one. A failure shows the wording in its context
and the plainer one. Whoever stumbles over another wording adds it here.
"""

import ast
import io
import re
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("distlenet", "scripts", "tests", "datasets", ".ci", ".github")
SUFFIXES = (".py", ".md", ".sh", ".js", ".html", ".css", "")
COMPARED = "longer|more|less|fewer|larger|smaller|better|worse|faster|slower|later|earlier|further|different"

# a regular expression, matched without regard to case, and the plain wording
PHRASES = {
    r"\b(go|goes|going|gone|went) on\b": "continue; resume (after an interruption)",
    r"\bbegun\b": "started",
    r"\b(anew|afresh)\b": "again; rebuild, restart",
    r"\bmend(s|ed|ing)?\b": "fix",
    r"\bbeside\b": "next to; compared with; independent of",
    r"\b(puts?|putting) out\b": "output",
    r"\Asaid\Z": "message, text, output",  # an identifier
    r"\b(is|are|was|were|be|been) said\b": "is reported",
    r"\b(is|are|was|were) told\b(?! (to|by the user)\b)": "is reported; is recognised",
    r"\btold apart\b": "distinguished",
    r"\bwhat (is|are|was|were|differs|fails|came|comes|tells|remains|there)\b": "a noun",
    r"\bof (which|whom|whose) (the|their|its|some|all|each|one|only)\b": "two sentences",
    r"\bthere (is|was) none\b": "it does not exist",
    r"\bthat there (is|are)\b": "that exists",
    r"\bone's own\b|\bof (a|the) (user|author|caller)'s own\b": "user-defined; your own",
    r"\bhalf-way\b": "halfway",
    r"\bfor ever\b": "forever",
    r"\bin good order\b": "cleanly",
    r"\bpassed over\b|\bto pass over\b|\bpasses over (a|it|them)\b": "skip",
    r"\b(is|are|was|were|be) asked for\b": "is requested; on demand",
    r"\bpays nothing\b": "costs nothing",
    r"\bto and fro\b": "back and forth",
    r"\b(take|takes|took|taking) (its|their) time\b": "is slow",
    r"\bfrom (here|there) on\b": "from now on; afterwards",
    r"\bfor good\b(?! measure)": "permanently",
    r"\ball the same\b": "anyway; nevertheless",
    r"\b(let|lets|letting) go of\b": "release",
    rf"(?<!there )(?<!here )\b(is|are|was) no (?!({COMPARED})\b)\w+": "is not a",
    r"(?<!standard )(?<!absolute )\bdeviations? of\b": "standard deviation",
    r"\b(thereof|whereof|wherein|whereby|hereby)\b": "a simple conjunction",
    r"\bremains the one\b": "is kept",
    r"\bthe lines wait\b": "lines are buffered",
    r"\bneeds it installed\b": "is needed",
}
# whether any of them occurs
ANY = re.compile("|".join(f"(?:{pattern})" for pattern in PHRASES), re.IGNORECASE)


def text_files() -> list[Path]:
    """Return all files with prose."""
    found = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*")] + list(ROOT.glob("*.md"))
    return sorted(
        path
        for path in found
        if path.suffix in SUFFIXES and "__pycache__" not in path.parts and path.is_file() and path != Path(__file__)
    )


def python_prose(source: str) -> list[str]:
    """Return the comments, texts and names of a Python file; adjoining comments are joined, names split into words."""
    prose: list[str] = []
    last = -2
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            alone = not token.line[: token.start[1]].strip()
            if alone and token.start[0] == last + 1:
                prose[-1] += token.string[1:]
            else:
                prose.append(token.string[1:])
            last = token.start[0] if alone else -2
    parts: set[ast.AST] = set()  # of texts that were read as a whole
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.JoinedStr):
            parts |= set(node.values)
            prose.append("".join(str(part.value) if isinstance(part, ast.Constant) else "X" for part in node.values))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value and node not in parts:
            prose.append(node.value)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            prose.append(node.name.replace("_", " "))
        elif isinstance(node, ast.Name | ast.arg):
            prose.append(node.id if isinstance(node, ast.Name) else node.arg)
    return prose


def other_prose(source: str) -> list[str]:
    """Return a shell script, a page or a README without the marks of comments."""
    return [re.sub(r"(?m)^\s*(#|//|\*)\s?", "", source)]


def hits(prose: list[str]) -> list[str]:
    """Return each phrase found in ``prose``, with its context and the plain wording."""
    found = []
    for text in dict.fromkeys(re.sub(r"\s+", " ", text) for text in prose):
        if ANY.search(text):
            for pattern, plain in PHRASES.items():
                for match in re.finditer(pattern, text, re.IGNORECASE):
                    context = text[max(0, match.start() - 40) : match.end() + 30]
                    found.append(f"{match[0]!r} in {context!r}, better: {plain}")
    return found


@pytest.mark.parametrize("path", text_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_prose_is_plain(path):
    source = path.read_text(encoding="utf-8")
    assert hits(python_prose(source) if path.suffix == ".py" else other_prose(source)) == []


def test_phrases_are_found():
    source = '"""It goes\n    on."""\n\n\ndef test_what_is_lost():  # of a user\'s own,\n    said = f"{1} is no file"\n'
    found = [hit.split(" in ")[0] for hit in hits(python_prose(source))]
    assert sorted(found) == ['"of a user\'s own"', "'goes on'", "'is no file'", "'said'", "'what is'"]
    assert hits(other_prose("# The run was\n# begun.\n")) == ["'begun' in 'The run was begun. ', better: started"]


@pytest.mark.parametrize(
    "text",
    [
        "There is no file; it is no longer in place. Besides, nothing was found.",
        "A standard deviation of 0.1, and what to do.",
        "Ranks are told to stop; the question is what the user wants.",
    ],
)
def test_good_english_is_not_found(text):
    assert hits([text]) == []

"""The report of short runs, read as a browser would."""

import itertools
import json
import re
import shutil
import sys
from html.parser import HTMLParser

import drawn
import numpy as np
import pytest
from sessions import stop_after, train_run

from distlenet.data.file.dataset_file import DigitFile
from distlenet.errors import CheckpointError, DataError, RunDirectoryError, UsageError
from distlenet.report import figure
from distlenet.report.page import Book
from distlenet.report.run import write_report
from distlenet.report.timeline import add_ranks, draw_step, read_step
from distlenet.runs.record import read_record

for _library in ("matplotlib", "jinja2"):
    pytest.importorskip(_library, reason=f"the extra `report` ({_library}) is not installed")

SECTIONS = [
    "Results",
    "Learning",
    "Learning rate and steps",
    "Speed",
    "Confusion matrix",
    "Classes",
    "Most confident mistakes",
    "Through the layers",
    "Augmentation",
    "Kernels",
    "Weights and gradients",
    "Configuration",
    "Dataset and numerics",
    "Faults and recoveries",
]
NEED_IMAGES = SECTIONS[4:9]
ROOT_RULE = re.compile(r":root \{(.*?)\}", re.DOTALL)
VARIABLE = re.compile(r"(--[\w-]+): ")
VOID = ("meta", "img", "br", "link", "input")


class Page(HTMLParser):
    """The content of a page; raises if its tags are not nested properly."""

    def __init__(self, path):
        super().__init__()
        self.open, self.titles, self.images, self.references, self.words = [], [], [], [], []
        self.headings, self.sections, self.ids = [], [], []
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        self.close()
        assert self.open == [] and len(set(self.ids)) == len(self.ids)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag not in VOID:
            self.open.append(tag)
        self.references += [
            attributes[name] for name in ("src", "href", "action", "data", "srcset") if name in attributes
        ]
        self.ids += [attributes["id"]] if "id" in attributes else []
        self.sections += [f"#{attributes['id']}"] if tag == "section" else []
        self.headings += [int(tag[1])] if tag in ("h1", "h2", "h3") else []
        self.images += [attributes] if tag == "img" else []
        assert tag not in ("script", "link", "iframe", "object", "base"), tag

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words += [data] * (self.open[-1:] != ["style"])
        if self.open[-1:] == ["h2"]:
            self.titles.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def report(run, data=None, **options):
    written = write_report(run, data, run / "no-such-data.h5", None, **options)
    return Page(written.page), written


@pytest.fixture(scope="module")
def finished(tmp_path_factory, digits):
    """The directory of a run of two epochs; tests copy what they change."""
    session = train_run(
        digits,
        tmp_path_factory.mktemp("runs") / "run",
        log_every=2,
        flags={"epochs": 2, "batch_size": 64},
        keep_every=1,
    )
    assert session.code == 0
    return session.run


@pytest.fixture
def changed(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "run")


def test_every_section_is_there_and_nothing_is_fetched(finished, digits):
    page, written = report(finished, digits)
    assert page.titles == SECTIONS and written.notes == []
    links = [link for link in page.references if link.startswith("#")]
    assert links[: len(SECTIONS)] == page.sections and {link[1:] for link in links} <= set(page.ids)
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in page.references)
    assert re.findall(r"url\((?!#)|@import|https?://", page.source) == []
    files = sorted(path.stem for path in (finished / "report").glob("*.svg"))
    assert page.source.count("<svg") == written.figures == len(files)
    names = ["batch-loss", "confusion", "error", "learning-rate", "loss", "norms", "speed", "time", "weights-C1-W"]
    assert set(names) < set(files)
    assert page.headings[0] == 1 and all(b - a <= 1 for a, b in itertools.pairwise(page.headings))
    assert page.source.count("<figure") == page.source.count("</figcaption>") and len(page.images) > 100


def test_colours_follow_the_scheme(finished, digits):
    page, _ = report(finished, digits)
    style, body = page.source.split("</style>")
    light, dark, more_light, more_dark, _ = [{*VARIABLE.findall(block)} for block in ROOT_RULE.findall(style)]
    assert {f"--{name}" for name in figure.VARIABLES.values()} <= dark | more_dark
    assert light == dark and more_light == more_dark
    assert [colour for colour in figure.VARIABLES if colour in body] == []
    drawn = (finished / "report" / "loss.svg").read_text()
    assert figure.TEXT in drawn and "var(" not in drawn  # a file of its own has colours of its own


def test_what_started_the_run_is_on_top(changed, digits, undrawn):
    page, _ = report(changed, digits)
    assert re.search(r"date \d{4}-\d\d-\d\d \d\d:\d\d host \S", page.text) and "command" not in page.text
    journal = changed / "journal.jsonl"
    journal.write_text(journal.read_text().replace('"host":', '"command": "distlenet train --run <b>", "host":', 1))
    assert "command distlenet train --run <b>" in report(changed, digits)[0].text


def test_a_run_of_one_epoch_has_bars(changed, digits):
    journal = changed / "journal.jsonl"
    lines = [line for line in journal.read_text().splitlines() if '"epoch": 1, "step": ' not in line]
    journal.write_text("\n".join(lines))
    run = read_record(changed)
    assert len(run.epochs) == 1
    axes = figure.learning(run)["error"].axes[0]
    expected = 100 * (1 - run.epochs[0]["validation"]["accuracy"])
    assert [bar.get_width() for bar in axes.patches][-1] == pytest.approx(expected)
    assert list(figure.speed(run)) == ["time"]


def test_the_figures_of_the_run_are_those_of_its_files(finished, digits, summary_of, undrawn):
    page, _ = report(finished, digits)
    summary = summary_of(finished)
    for words in (
        f"test accuracy {100 * summary['test_accuracy']:.2f} %",
        f"accuracy {summary['test_accuracy']:.2%}",  # counted again by the report
        summary["theta_sha256"],
        "Of 1,350 test images",
        "No fault: the journal",
        "batch_size 64 instead of 256",
        "28 x 28 pixels",
        "C5/W 120 x 400 48,000",
    ):
        assert words in page.text, words


def test_a_run_that_was_stopped_leaves_the_test_images_alone(tmp_path, digits, monkeypatch, undrawn):
    session = train_run(digits, tmp_path / "run", act=stop_after(12), flags={"epochs": 4, "batch_size": 64})
    assert session.code == 130
    read = DigitFile.read

    def watched(self, split, *rows, **options):
        assert split == "train", "the test images are read once, by the run itself"
        return read(self, split, *rows, **options)

    monkeypatch.setattr(DigitFile, "read", watched)
    page, _ = report(session.run, digits)
    assert page.titles == SECTIONS
    assert "58 validation images (the test images wait" in page.text and "SIGINT" in page.text


def test_nothing_held_back_and_no_epoch_complete(tmp_path, digits, undrawn):
    flags = {"epochs": 4, "batch_size": 64, "validation": 0, "rotate": 0.0, "shift": 0.0, "zoom": 0.0}
    session = train_run(digits, tmp_path / "run", act=stop_after(2), flags=flags)
    page, _ = report(session.run, digits)
    assert page.titles == SECTIONS
    assert "700 training images (none were held back" in page.text
    assert "There is nothing to show yet." in page.text and "trained on the images as they are" in page.text


def test_without_the_dataset_the_rest_is_there(finished, undrawn):
    page, written = report(finished)
    assert page.titles == [title for title in SECTIONS if title not in NEED_IMAGES]
    assert "without --data there are no figures that need images" in written.notes[0] and written.notes[0] in page.text


def test_another_dataset_is_refused(finished, other_size, undrawn):
    with pytest.raises(DataError, match=r"is not what .* was trained on .* give that file with --data"):
        write_report(finished, other_size, other_size, None)
    written = write_report(finished, None, other_size, None)  # merely the usual place
    assert "give that file with --data" in written.notes[0]


def test_a_missing_journal_is_noted_and_the_checkpoint_knows_the_epochs(changed, digits, undrawn):
    (changed / "journal.jsonl").unlink()
    page, written = report(changed, digits)
    assert page.titles == SECTIONS[:-1] and len(written.notes) == 1
    assert "cannot read" in written.notes[0] and written.notes[0] in page.text
    assert (changed / "report" / "loss.svg").exists()


def test_a_damaged_journal_is_noted(changed, digits, undrawn):
    journal = changed / "journal.jsonl"
    lines = journal.read_text().splitlines()
    strange = ['{"kind": "step"', "[]", "null", '"text"', "\x00\x01", '{"kind": "epoch", "epoch": "one"}', "[" * 5000]
    strange += ['{"kind": "epoch", "epoch": 7, "train": 3, "seconds": "NaN", "exchange_share": null}']
    strange += ['{"kind": "notice", "level": 3, "text": {"<b>": 1}}', '{"kind": "start", "facts": 3, "epoch": []}']
    journal.write_text("\n".join([*lines[:3], *strange, *lines[3:]]))
    page, written = report(changed, digits)
    assert page.titles == SECTIONS
    assert [note for note in written.notes if "has 6 damaged lines: left out" in note]
    journal.write_bytes(b"\xff\xfe\x00" * 50)
    assert "1 damaged line: left out" in report(changed, digits)[0].text


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"status": 3, "test_accuracy": "high", "steps": {}}'])
def test_a_damaged_summary_does_not_end_the_run(content, changed, digits, undrawn):
    (changed / "summary.json").write_text(content)
    page, _ = report(changed, digits)
    assert page.titles == SECTIONS and "validation images (the test" in page.text


def test_a_healed_run_says_so_at_once(changed, digits, undrawn):
    summary = json.loads((changed / "summary.json").read_text())
    record = {"kind": "spike", "epoch": 1, "step": 3, "action": "gone back to epoch 1, step 1, the rate is 0.5"}
    for divergences, count in (([record, 3, {}], 2), ({"kind": 1}, 0), (None, 0)):
        (changed / "summary.json").write_text(json.dumps(summary | {"divergences": divergences}))
        page, _ = report(changed, digits)
        assert page.text.count("The run diverged in epoch") == count
        assert ("epoch 2, step 4: spike, gone back to epoch 1, step 1" in page.text) == bool(count)


def test_directories_without_a_run_give_one_sentence(tmp_path, changed, digits):
    for path in (tmp_path / "nowhere", digits):
        with pytest.raises(CheckpointError, match="is not a run directory"):
            write_report(path, None, digits, None)
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match="is not a run directory: it has no checkpoints/"):
        write_report(tmp_path / "empty", None, digits, None)
    for path in (changed / "checkpoints").iterdir():
        path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        write_report(changed, None, digits, None)


def test_a_damaged_best_checkpoint_is_skipped(changed, digits, undrawn):
    best = changed / "checkpoints" / "best.h5"
    best.write_bytes(best.read_bytes()[:-100])
    page, written = report(changed, digits)
    assert page.titles == SECTIONS and "best.h5" in written.notes[0] and "checkpoint last.h5" in page.text


def test_a_report_that_cannot_be_written(finished, digits, tmp_path, undrawn):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunDirectoryError, match="cannot write .*: (not a directory|file exists)"):
        write_report(finished, digits, digits, tmp_path / "file")


@pytest.mark.parametrize("library", ["matplotlib", "jinja2"])
def test_without_a_library_the_extra_is_named(library, finished, digits, monkeypatch):
    for name in [library, *(name for name in sys.modules if name.startswith(library))]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UsageError, match=rf"the report needs {library}, .* pip install .*\[report\]"):
        write_report(finished, digits, digits, None)


def test_notices_are_shown_as_text(changed, digits, undrawn):
    line = {"kind": "notice", "steps": 5, "text": "2 of 4 ranks lost <img src=x>", "level": "warning"}
    with (changed / "journal.jsonl").open("a") as journal:
        journal.write(json.dumps(line) + "\n")
    page, _ = report(changed, digits)
    assert "5 warning 2 of 4 ranks lost <img src=x>" in page.text
    assert "No fault" not in page.text


@pytest.mark.parametrize(
    ("size", "names", "flags"),
    [
        ((32, 32), ["<b>no</b> & $x_", "a very long name " * 5], {"pooling": "max", "activation": "tanh"}),
        ((20, 30), [f"class {i}" for i in range(62)], {}),
        ((16, 13), ["お", "き", "\u202ered\u200b", "$"], {"test_curve": True}),
    ],
)
def test_any_size_of_image_any_classes_any_names(size, names, flags, tmp_path):
    random = np.random.default_rng(5)
    images = random.integers(0, 256, (400, *size), np.uint8)
    labels = (np.arange(400) % len(names)).astype(np.uint8)
    data = tmp_path / "data.h5"
    drawn.write(data, (images, labels), classes=names)
    session = train_run(data, tmp_path / "run", flags={"epochs": 1, "batch_size": 64, **flags})
    assert session.code == 0
    page, _ = report(session.run, data)
    assert page.titles == SECTIONS
    assert "<b>no" not in page.source and f"{size[0]} x {size[1]} pixels" in page.text
    assert all(name.strip() in page.text for name in names if name.isprintable())


def test_the_command(finished, digits, distlenet, only_sentence, tmp_path):
    done = distlenet("report", finished, "--data", digits, "--out", tmp_path / "public").expect()
    assert f"wrote {tmp_path / 'public' / 'report.html'}" in done.stdout
    assert Page(tmp_path / "public" / "report.html").titles == SECTIONS
    only_sentence(distlenet("report", tmp_path / "nowhere"), 5, "is not a run directory")


def test_one_step_of_the_timeline_is_drawn(digits, tmp_path, undrawn):
    flags = {"epochs": 1, "batch_size": 64}
    run = train_run(digits, tmp_path / "run", ranks=2, flags=flags, trace=6).expect().run
    step = read_step(run)
    assert list(step.ranks) == [0, 1] and step.name in ("step 4", "step 5", "step 6")
    assert {span.process for span in step.spans if span.name == "wait"} == {0, 1}
    whole = [span for span in step.spans if span.name == step.name]
    assert len(whole) == 2 and min(span.start for span in whole) == 0
    assert draw_step(step).axes[0].get_legend_handles_labels()[1][-2:] == ["exchange: wait", "update"]
    page, _ = report(run)
    assert "Timeline" in page.titles and (run / "report" / "timeline.svg").exists()
    path = run / "trace.json"
    path.write_text(path.read_text().replace('"ts":', '"at":'))
    page, _ = report(run)
    assert "There is no timeline" in page.text


def test_the_ranks_and_the_slow_one():
    times = [
        {"rank": rank, "host": "<a>", "cores": "0-3", "load": 0.5, "compute": 9.25, "wait": 1.0, "cause": cause}
        for rank, cause in enumerate(["", "load"])
    ]
    slow = [{"rank": 1, "lost": 2.5, "lost_share": 0.25, "why": "it loads its images slowly"}]
    book = Book()
    add_ranks(book, {"rank_times": times, "slow_ranks": slow})
    html = book.html("", "")
    assert "Others waited 2.5 s (25%) for rank 1: it loads its images slowly." in html
    assert "9.25" in html and "slow because of" in html and "<a>" not in html
    for damaged in ({"rank_times": 3, "slow_ranks": "x"}, {"rank_times": [3, {"load": []}], "slow_ranks": [None, {}]}):
        add_ranks(Book(), damaged)

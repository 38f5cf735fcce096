"""The page of many runs: every run is on it, damaged and moved ones are noted, and nothing is fetched."""

import json
import shutil
from types import SimpleNamespace

import pytest
from report.test_report import Page

from distlenet.cli import main
from distlenet.errors import RunDirectoryError
from distlenet.report import series as series_figures
from distlenet.report.figure import SURFACE
from distlenet.report.series import write_series_report
from distlenet.series.record import differing, locate, read_series

for _library in ("matplotlib", "jinja2"):
    pytest.importorskip(_library, reason=f"the extra `report` ({_library}) is not installed")

ITEMS = ["few:batch_size=64", "results:batch_size=128", "still:lr=0"]


@pytest.fixture(scope="module")
def compared(digits, distlenet, tmp_path_factory):
    run = tmp_path_factory.mktemp("compared") / "run"
    words = ["--seeds", 2, "--data", digits, "--run", run, "--recipe", "fast", "--epochs", 2]
    distlenet("compare", *ITEMS, *words).expect()
    return run


@pytest.fixture
def changed(compared, tmp_path):
    run = shutil.copytree(compared, tmp_path / "elsewhere")
    listed = run / "results.json"
    listed.write_text(listed.read_text().replace(str(compared), "/gone"))
    return run


def report(run, **options):
    written = write_series_report(run, None, **options)
    return Page(written.page), written


def test_the_page_of_a_comparison(compared):
    page, written = report(compared)
    assert page.titles == ["Results", "Test accuracy", "Learning", "Settings", "few", "results", "still"]
    assert len(set(page.sections)) == 7  # also of the setting that is called as a section is
    assert page.references[:7] == page.sections
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in page.references)
    assert sorted(path.name for path in (compared / "report").iterdir()) == [
        "accuracy.svg",
        "error.svg",
        "loss.svg",
        "report.html",
    ]
    assert written.figures == page.source.count("<svg") == 3 and written.notes == []
    results = json.loads((compared / "results.json").read_text())
    for run in results["runs"]:
        assert f"{100 * run['figures']['test_accuracy']:.2f}" in page.text and run["directory"] in page.text
    spread = results["settings"]["few"]["figures"]["test_accuracy"]
    assert f"few 2 {100 * spread['mean']:.2f} ± {100 * spread['deviation']:.2f}" in page.text
    assert "still 2 - - - - - none 2 of 2" in page.text
    assert "settings 3 runs 6 time of all runs" in page.text and "healed 0 defective 2 date 2" in page.text
    assert "batch_size 64 128 256" in page.text and "lr 0.14 0.14 0.0" in page.text


def test_the_page_of_a_repetition_that_was_moved(compared, tmp_path, undrawn):
    shutil.copytree(compared / "few", tmp_path / "run")
    results = json.loads((compared / "results.json").read_text())
    results["runs"] = [run for run in results["runs"] if run["setting"] == "few"]
    for run in results["runs"]:
        run["directory"] = f"/gone/few/seed-{run['seed']}"
    (tmp_path / "run" / "results.json").write_text(json.dumps(results))
    page, written = report(tmp_path / "run")
    assert page.titles == ["Results", "Test accuracy", "Learning", "few"] and written.notes == []
    assert str(tmp_path / "run" / "seed-2") in page.text


def test_where_a_run_is(tmp_path):
    (tmp_path / "here/item/seed-1").mkdir(parents=True)
    (tmp_path / "here/seed-2").mkdir()
    assert locate(tmp_path / "here", "runs/old/item/seed-1") == tmp_path / "here/item/seed-1"
    assert locate(tmp_path / "here", "seed-2") == tmp_path / "here/seed-2"
    assert locate(tmp_path / "here", "runs/old/seed-3") is None
    (tmp_path / "elsewhere/seed-4").mkdir(parents=True)
    (tmp_path / "here/seed-4").symlink_to(tmp_path / "elsewhere/seed-4")
    for outside in (str(tmp_path / "elsewhere/seed-4"), "..", "../elsewhere/seed-4", "/"):
        assert locate(tmp_path / "here", outside) is None


def test_reports_of_the_runs_are_linked(changed, undrawn, digits, capsys):
    assert main(["report", str(changed), "--each", "--data", str(digits)]) == 0
    page = Page(changed / "report" / "report.html")
    links = [link for link in page.references if link.startswith("../")]
    assert len(links) == 6 and all((changed / "report" / link).is_file() for link in links)
    assert "wrote" in capsys.readouterr().out


def test_missing_runs_are_noted(changed, undrawn):
    shutil.rmtree(changed / "few" / "seed-1")
    (changed / "few" / "seed-2" / "journal.jsonl").write_text("{}\n[")
    (changed / "results" / "seed-1" / "config.toml").write_text("a = ")
    summary = json.loads((changed / "still" / "seed-1" / "summary.json").read_text())
    record = {"kind": "spike<b>", "epoch": 0, "step": 4, "action": "gone back to epoch 1, step 1"}
    summary["divergences"] = [record, 3]
    (changed / "still" / "seed-1" / "summary.json").write_text(json.dumps(summary))
    page, written = report(changed)
    (note,) = written.notes
    assert note.startswith("few seed 1: found no finished run") and note in page.text
    assert "Seed 1, epoch 1, step 5: spike<b>, gone back to epoch 1, step 1." in page.text
    assert "still 2 - - - - - 1 of 2 (once) 2 of 2" in page.text


@pytest.mark.parametrize("content", ["", "[]", '{"title": "x", "defective_runs": "kept", "runs": [{}]}'])
def test_a_damaged_list(content, changed, capsys):
    (changed / "results.json").write_text(content)
    assert main(["report", str(changed)]) == 6
    assert "run the command of the series again" in capsys.readouterr().err


def test_no_run_is_left(changed):
    for item in ("few", "results", "still"):
        shutil.rmtree(changed / item)
    with pytest.raises(RunDirectoryError, match="has no finished run: few seed 1"):
        write_series_report(changed, None)


def test_rows_differ_in_what_they_were_given(compared):
    assert differing(read_series(compared)) == {"batch_size": [64, 128, 256], "lr": [0.14, 0.14, 0.0]}


def epoch(loss, accuracy, validation=True):
    score = {"loss": loss, "accuracy": accuracy}
    return {"train": score, "validation": score if validation else None}


def some_run(setting, epochs, accuracy=0.9, defect=None, heals=0):
    outcome = SimpleNamespace(figures={"test_accuracy": accuracy}, defect=defect, heals=heals)
    return SimpleNamespace(outcome=outcome, record=SimpleNamespace(epochs=epochs), counts=defect is None)


def test_curves_have_a_mean_and_a_band_and_leave_defective_runs_out():
    runs = [some_run("a", [epoch(1.0, 0.5), epoch(0.5, 0.8)]), some_run("a", [epoch(3.0, 0.7)])]
    runs += [some_run("a", [epoch(99.0, 0.1)], defect="at chance"), some_run("a", [], defect="non-finite")]
    loss, error = (figure.axes[0] for figure in series_figures.curves({"a": runs, "b": []}, keep=False).values())
    assert loss.get_lines()[0].get_ydata().tolist() == [1.0, 0.5]
    assert loss.get_lines()[-1].get_ydata().tolist() == [2.0, 0.5]  # the mean of those that got there
    assert error.get_lines()[-1].get_ydata() == pytest.approx([40, 20])
    (band,) = loss.collections
    assert band.get_paths()[0].vertices[:, 1].max() == 3
    assert series_figures.curves({"a": runs}, keep=True)["loss"].axes[0].get_lines()[-1].get_ydata()[0] > 30
    assert series_figures.curves({"a": runs[2:]}, keep=False) == {}


def test_curves_without_validation_images_show_the_training_images():
    runs = {"a": [some_run("a", [epoch(1.0, 0.5)])], "b": [some_run("b", [epoch(1.0, 0.5, validation=False)])]}
    assert series_figures.curves(runs, keep=False)["loss"].axes[0].get_title() == "Training loss"


def test_series_of_one_epoch_are_bars():
    runs = {"a": [some_run("a", [epoch(1.0, 0.5)]), some_run("a", [epoch(3.0, 0.7)])], "b": []}
    axes = series_figures.curves(runs, keep=False)["loss"].axes[0]
    assert [bar.get_width() for bar in axes.patches] == [2.0]
    assert list(axes.get_lines()[0].get_xdata()) == [1.0, 3.0]


def test_strips_mark_healed_runs_and_count_the_defective(monkeypatch):
    runs = {"a": [some_run("a", [], heals=1), some_run("a", [], 0.95)], "b": [some_run("b", [], 0.1, "at chance")]}
    spreads = {"a": {"mean": 0.925, "interval": 0.01}}
    (axes,) = series_figures.strips(runs, spreads, keep=False).axes
    dots = [line for line in axes.get_lines() if line.get_marker() == "o"]
    assert [dot.get_markerfacecolor() == SURFACE for dot in dots] == [True, False]
    assert [text.get_text() for text in axes.texts] == ["1 of 1 defective"]
    assert series_figures.strips(runs, {}, keep=False) is None

"""Commands replace their own earlier output, and refuse to replace any other file."""

import shutil

import pytest
import sessions

from distlenet.cli import main
from distlenet.errors import RunDirectoryError
from distlenet.report.page import write_files
from distlenet.runs.ours import GENERATOR, SOFTWARE
from distlenet.series.directory import save


@pytest.mark.parametrize("kind", ["npz", "h5"])
def test_export(trained, tmp_path, capsys, kind):
    path = tmp_path / f"digits.{kind}"
    for _ in range(2):
        assert main(["export", str(trained), "--to", str(path)]) == 0
    for content in (b"mine", b"PK\3\4 mine", b"", (trained / "checkpoints/last.h5").read_bytes()):
        path.write_bytes(content)
        assert main(["export", str(trained), "--to", str(path)]) == 13
        assert "add --overwrite" in capsys.readouterr().err
        assert path.read_bytes() == content
    assert main(["export", str(trained), "--to", str(path), "--overwrite"]) == 0


def test_journal(trained, tmp_path, capsys):
    path = tmp_path / "a.csv"
    for options in ([], ["--steps"], []):
        assert main(["journal", str(trained), "--csv", str(path), *options]) == 0
    for content in ("mine", "epoch,mine\r\n1,2\r\n", ""):
        path.write_bytes(content.encode())
        assert main(["journal", str(trained), "--csv", str(path)]) == 6
        assert "add --overwrite" in capsys.readouterr().err
        assert path.read_bytes() == content.encode()
    assert main(["journal", str(trained), "--csv", str(path), "--overwrite"]) == 0
    for place in ("/dev/null", str(tmp_path), str(trained / "journal.jsonl")):
        assert main(["journal", str(trained), "--csv", place]) == 6


def test_summary_of_a_run(trained, distlenet):
    assert distlenet("summary", trained).expect().stdout == distlenet("summary").expect().stdout
    assert main(["summary", str(trained.parent)]) == 5


def test_an_edited_config_is_reported(digits, trained, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    before = (run / "config.toml").read_text()
    (run / "config.toml").write_text(before.replace("lr = 0.14", "lr = 0.5").replace("seed = 1", "seed = 2"))
    done = sessions.train_run(digits, run, resume="auto")
    told = [text for text in done.notices if "was edited" in text]
    assert done.code == 0 and len(told) == 1
    assert "seed = 2 (the run has 1)" in told[0] and "lr = 0.5 (the run has 0.14)" in told[0]
    assert "--override NAME" in told[0]
    assert (run / "config.toml").read_text() == before
    again = sessions.train_run(digits, run, resume="auto")
    assert not [text for text in again.notices if "was edited" in text]


@pytest.mark.parametrize("name", ["report.html", "loss.svg", "loss.png"])
def test_a_report_replaces_only_what_a_report_wrote(tmp_path, name):
    files = {
        "report.html": b"<!DOCTYPE html>" + GENERATOR.encode(),
        "loss.svg": f"<svg><metadata><dc:title>{SOFTWARE}</dc:title></metadata></svg>".encode(),
        "loss.png": b"\x89PNG\r\n\x1a\n" + SOFTWARE.encode(),
    }
    for _ in range(2):
        write_files(tmp_path, files)
    (tmp_path / name).write_bytes(b"mine")
    with pytest.raises(RunDirectoryError, match=f"{name} was not written by report"):
        write_files(tmp_path, files)
    assert (tmp_path / name).read_bytes() == b"mine"
    (tmp_path / name).unlink()
    (tmp_path / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RunDirectoryError, match="was not written by report"):
        write_files(tmp_path, files)


@pytest.mark.parametrize("name", ["results.json", "results.txt", "results.md"])
def test_a_series_replaces_only_its_own_results(tmp_path, name):
    results = {"defective_runs": "left out", "settings": {}, "runs": []}
    (tmp_path / name).write_text("mine")
    with pytest.raises(RunDirectoryError, match=f"{name} was not written by a series"):
        save(tmp_path, results, [["a"]], "title")
    assert (tmp_path / name).read_text() == "mine"
    (tmp_path / name).unlink()
    for _ in range(2):
        save(tmp_path, results, [["a"]], "title")

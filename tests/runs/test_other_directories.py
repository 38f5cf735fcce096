"""Directories that are not a run's: whatever the command, nothing in them is removed, replaced or added."""

import contextlib
import os
import shutil
import socket
import stat

import pytest
import sessions

from distlenet.cli import main
from distlenet.config import Config
from distlenet.runs.directory import LockedDirectory
from distlenet.runs.session import Session

FLAGS = {"epochs": 1, "batch_size": 64, "shards": 4, "train_sample": 50}


def snapshot(folder):
    """Return every entry below ``folder``: name -> mode, and what it holds or leads to."""
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        content = None
        if path.is_symlink():
            content = os.readlink(path)
        elif stat.S_ISREG(status.st_mode):
            content = path.read_bytes()
        found[str(path.relative_to(folder))] = (status.st_mode, content)
    return found


def fill(folder, files, trained=None):
    """Write ``files`` to ``folder``: by name a text, bytes, or a function of the path and of a trained run."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if callable(content):
            content(path, trained)
        else:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())


def a_run(path, trained):
    shutil.copytree(trained, path)


def unmarked(path, trained):
    shutil.copytree(trained, path, dirs_exist_ok=True)
    (path / "lock").unlink()


def bound(path, trained):
    before = os.getcwd()
    os.chdir(path.parent)  # the path of a socket must be short
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
    finally:
        os.chdir(before)


def read_only(path, trained):
    path.write_text("{}")
    path.chmod(0o400)


def link_out(path, trained):
    elsewhere = path.parent.parent / "elsewhere"
    elsewhere.mkdir(exist_ok=True)
    (elsewhere / "mine").write_text("mine")
    path.symlink_to(elsewhere)


RESULTS = '{"title": "", "defective_runs": "", "settings": {}, "runs": []}'
KINDS = {
    "a home": {".bashrc": "alias l=ls\n", ".ssh/config": "Host a\n", "Documents/letter.txt": "Dear\n"},
    "a project": {
        **{"summary.json": '{"status": "done"}', "report/index.html": "<p>mine</p>", "setup.py": ""},
        "tensorboard/events.out.tfevents.1700000000.host": b"brain.Event:2 mine",
    },
    "a project with weights": {"checkpoints/best.h5": b"\x89HDF\r\n\x1a\n of Keras", "train.py": "import keras\n"},
    "only weights": {"checkpoints/last.h5": "of another program"},
    "only a summary": {"summary.json": '{"accuracy": 0.9}'},
    "only a config": {"config.toml": "lr = 0.1\n"},
    "a config with remarks": {"config.toml": "# tuned by hand\n" + Config().to_toml()},
    "only a report": {"report/report.html": "<!DOCTYPE html><title>Q</title>", "report/loss.png": b"\x89PNG\r\n"},
    "only a journal": {"journal.jsonl": '{"date": "2026-01-01", "text": "dear diary"}\n'},
    "only a lock": {"lock": "4711\n"},
    "only a postmortem": {"postmortem/1.txt": "Outage of 3 May\nroot cause: me\n"},
    "only notes": {"notes.txt": "mine"},
    "a git checkout": {".git/HEAD": "ref: refs/heads/main\n", "README": "x", "checkpoints/.gitkeep": ""},
    "a parent of runs": {"a": a_run, "b": a_run},
    "a parent of a run with its own summary": {"a": a_run, "summary.json": '{"runs": 1}', "journal.jsonl": ""},
    "a series": {"seed-1": a_run, "results.json": RESULTS},
    "a virtual environment": {"pyvenv.cfg": "home = /usr\n", "bin/activate": ""},
    "a folder of pictures": {f"{digit}/a.png": b"\x89PNG" for digit in range(3)},
    "a deployed network": {
        "checkpoints": lambda path, trained: a_run(path, trained / "checkpoints"),
        "serve.py": "import distlenet\n",
    },
    "a run without its mark and more": {".": unmarked, "thesis.tex": r"\documentclass{article}"},
    "a run with a report of the users": {".": unmarked, "report/thesis.tex": r"\documentclass{article}"},
    "folders in the place of files": {"summary.json/a": "", "lock/b": ""},
    "pipes": {name: lambda path, trained: os.mkfifo(path) for name in ("journal.jsonl", "lock")},
    "a socket": {"lock": bound},
    "a mounted disk": {"lost+found": lambda path, trained: path.mkdir()},
    "read-only files": {"summary.json": read_only, "config.toml": ""},
    "half-written files of another program": {".movie.mkv.part": "...", "checkpoints/.best.h5.part": "..."},
    "links out of it": {"checkpoints": link_out, "report": link_out},
    "a link that leads nowhere": {
        "journal.jsonl": lambda path, trained: path.symlink_to(path.parent.parent / "not-there.jsonl")
    },
}


@pytest.fixture
def no_training(monkeypatch):
    def train(*_):
        raise AssertionError("a run was started")

    monkeypatch.setattr(Session, "course", train)


ASKED = {
    "--run": {},
    "--overwrite": {"overwrite": True},
    "--resume": {"resume": "auto"},
    "--resume --overwrite": {"resume": "auto", "overwrite": True},
}


def check_refused(digits, run, folder, right):
    """Every command is refused, by a sentence that is ``right``, and nothing in ``folder`` is harmed."""
    before = snapshot(folder)
    for asked, options in ASKED.items():
        refused = sessions.train_run(digits, run, flags=FLAGS, **options)
        assert refused.code == 6, asked
        assert right(refused.error), refused.error
        assert snapshot(folder) == before, asked


@pytest.mark.parametrize("link", [False, True], ids=["", "by a link"])
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_harmed(digits, trained, tmp_path, no_training, kind, link):
    folder = tmp_path / "theirs"
    fill(folder, KINDS[kind], trained)
    if link:
        (tmp_path / "link").symlink_to(folder)
    run = tmp_path / "link" if link else folder
    check_refused(digits, run, tmp_path, lambda error: str(run) in error and "--run" in error)


SERIES = {"repeat": ("-n", "2"), "compare": ("a:lr=0.1", "b:lr=0.2", "--seeds", "1")}


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "a series"])
def test_nothing_is_harmed_by_a_series(digits, trained, tmp_path, no_training, capsys, kind):
    folder = tmp_path / "theirs"
    fill(folder, KINDS[kind], trained)
    before = snapshot(tmp_path)
    for command, words in SERIES.items():
        assert main([command, *words, "--data", str(digits), "--run", str(folder)]) == 6, command
        message = capsys.readouterr().err
        assert "is not the directory of a series" in message and f"--run {folder}/series" in message
        assert snapshot(tmp_path) == before, command


def test_a_run_is_not_a_series(digits, trained, tmp_path, no_training, capsys):
    run = shutil.copytree(trained, tmp_path / "run")
    before = snapshot(run)
    assert main(["repeat", "-n", "2", "--data", str(digits), "--run", str(run)]) == 6
    assert "is not the directory of a series: it has 'checkpoints'" in capsys.readouterr().err
    assert snapshot(run) == before


@pytest.mark.parametrize("name", ["seed-2/notes.txt", "seed-2/checkpoints/best.h5"])
def test_a_series_looks_at_all_its_runs_first(digits, tmp_path, no_training, capsys, name):
    fill(tmp_path / "run", {"results.json": RESULTS, name: "mine"})
    before = snapshot(tmp_path)
    assert main(["repeat", "-n", "2", "--data", str(digits), "--run", str(tmp_path / "run")]) == 6
    assert "seed-2" in capsys.readouterr().err
    assert snapshot(tmp_path) == before


SHORT = [*("--epochs", "0", "--batch-size", "64", "--display", "quiet")]


@pytest.mark.parametrize("left", ["all", "results and more", "runs", "a run and more", "nothing yet", "a part"])
@pytest.mark.parametrize("command", SERIES)
def test_a_series_resumes_in_its_directory(digits, tmp_path, capsys, command, left):
    run = tmp_path / "run"
    words = [command, *SERIES[command], "--data", str(digits), "--run", str(run), *SHORT]
    assert main(words) == 0
    runs = [path.parent for path in run.rglob("summary.json")]
    assert len(runs) == 2
    if left in ("runs", "a run and more", "a part"):  # killed before there were results
        for path in run.glob("results.*"):
            path.unlink()
        (runs[1] / "summary.json").unlink()
    if "more" in left:
        fill(run, {"notes.txt": "mine"})
    if left == "a part":
        fill(run, {".results.json.4711-0123abcd.part": "{"})
    if left == "nothing yet":  # killed when only the first directories were made
        shutil.rmtree(run)
        runs[0].mkdir(parents=True)
        runs[1].parent.mkdir(exist_ok=True)
    assert main(words) == 0, capsys.readouterr().err
    assert (run / "results.json").is_file() and len(list(run.rglob("summary.json"))) == 2
    assert (run / "notes.txt").exists() == ("more" in left)


def test_entries_in_the_way_are_named(digits, tmp_path, no_training):
    for number in range(6):
        (tmp_path / f"{number}.txt").write_text("mine")
    refused = sessions.train_run(digits, tmp_path, flags=FLAGS)
    assert "it has '0.txt', '1.txt', '2.txt', '3.txt' and 2 more, which no run wrote" in refused.error
    assert f"for example --run {tmp_path}/run" in refused.error


def test_a_way_out_that_is_proposed_works(digits, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    assert sessions.train_run(digits, tmp_path / "run", flags=FLAGS | {"epochs": 0}).code == 0


@pytest.mark.parametrize("mark", [True, False])
def test_a_run_of_an_earlier_version(trained, tmp_path, mark):
    # its lock has one line; without a lock it is known by its files
    run = shutil.copytree(trained, tmp_path / "run")
    (run / "lock").unlink()
    if mark:
        (run / "lock").write_text("process 1 on another host")
        (run / "notes.txt").write_text("mine")
    with contextlib.closing(LockedDirectory(run)) as directory:
        directory.start(overwrite=True)
    assert sorted(os.listdir(run)) == ["checkpoints", "lock", *["notes.txt"] * mark]
    assert not os.listdir(run / "checkpoints")


ADDED = {
    "notes.txt": "mine",
    "report/thesis.tex": "mine",
    "report/loss.png": "\u0089PNG mine",
    "report/report.html": "<title>mine</title>",
    "tensorboard/events.out.tfevents.1700000000.host": "brain.Event:2",
    "postmortem/notes.txt": "mine",
    "checkpoints/resnet.h5": "mine",
    "checkpoints/.best.h5.part": "mine",
    ".movie.mkv.part": "mine",
    "checkpoints/last-of-all.h5": "mine",
    "config.toml.bak": "lr = 1\n",
}


def test_files_added_to_a_run_stay(digits, trained, tmp_path):
    run = shutil.copytree(trained, tmp_path / "run")
    fill(run, ADDED)
    for options in ({"overwrite": True}, {"resume": "auto"}):
        assert sessions.train_run(digits, run, flags=FLAGS | {"epochs": 0}, **options).code == 0
        assert {name: (run / name).read_text() for name in ADDED} == ADDED


def test_a_config_with_remarks_is_kept_aside(digits, trained, tmp_path):
    run = shutil.copytree(trained, tmp_path / "run")
    mine = "# tuned by hand\n" + (run / "config.toml").read_text()
    (run / "config.toml").write_text(mine)
    assert sessions.train_run(digits, run, flags=FLAGS | {"epochs": 0}, overwrite=True).code == 0
    assert (run / "config.toml.aside").read_text() == mine
    assert "epochs = 0" in (run / "config.toml").read_text()


FOREIGN = ("summary.json", "journal.jsonl", "config.toml", "checkpoints/best.h5", "checkpoints/epoch-0001.h5")


@pytest.mark.parametrize("name", FOREIGN)
def test_a_file_of_another_program_under_a_name_of_a_run(digits, trained, tmp_path, name):
    # in a run's own directory it is renamed and that is reported; it is never removed
    for asked, options in ASKED.items():
        run = shutil.copytree(trained, tmp_path / asked)
        (run / name).write_text("mine\nand mine alone\n")
        before = snapshot(run)
        flags = FLAGS | {"epochs": 0} if asked == "--overwrite" else {}
        done = sessions.train_run(digits, run, flags=flags, **options)
        if asked == "--run":
            assert done.code == 6 and snapshot(run) | {"lock": None} == before | {"lock": None}
        else:
            assert done.code == 0
            assert (run / f"{name}.aside").read_text() == "mine\nand mine alone\n"
            told = [text for text in done.notices if "renamed" in text and f"{name}.aside".split("/")[-1] in text]
            assert len(told) == 1


def test_a_lock_of_another_program(digits, trained, tmp_path, no_training):
    run = shutil.copytree(trained, tmp_path / "run")
    (run / "lock").write_text("mine")
    (run / "summary.json").unlink()
    check_refused(digits, run, tmp_path, lambda error: "'lock'" in error)


LINKED = (
    "lock",
    "journal.jsonl",
    "config.toml",
    "summary.json",
    "trace.json",
    "checkpoints",
    "report",
    "postmortem",
    "tensorboard",
)


@pytest.mark.parametrize("name", LINKED)
@pytest.mark.parametrize("way", ["link", "dangling", "pipe", "wrong kind"])
def test_links_and_pipes_in_a_run(digits, trained, tmp_path, no_training, name, way):
    run, target = tmp_path / "run", tmp_path / "target"
    shutil.copytree(trained, run)
    if (run / name).exists():
        (run / name).rename(target)  # what it leads to is a run's own
    elif "." in name:
        target.write_text("mine")
    else:
        target.mkdir()
    is_folder = target.is_dir()
    if way == "dangling":
        target.rename(tmp_path / "gone")
    if way == "pipe":
        os.mkfifo(run / name)
    elif way == "wrong kind" and is_folder:
        (run / name).write_text("")
    elif way == "wrong kind":
        (run / name).mkdir()
    else:
        (run / name).symlink_to(target)
    right = (str(run / name), "is not a run directory")
    check_refused(digits, run, tmp_path, lambda error: any(words in error for words in right))


@pytest.mark.parametrize("name", ["lock", "journal.jsonl", "summary.json", "config.toml", "checkpoints/last.h5"])
@pytest.mark.parametrize("options", [{"resume": "auto"}, {"overwrite": True}], ids=str)
def test_a_second_name_of_a_file_of_a_run_does_not_change(digits, trained, tmp_path, name, options):
    run, other = tmp_path / "run", tmp_path / "other"
    shutil.copytree(trained, run)
    os.link(run / name, other)
    before = other.read_bytes()
    flags = FLAGS | {"epochs": 1} if "overwrite" in options else {}
    assert sessions.train_run(digits, run, flags=flags, **options).code == 0
    assert other.read_bytes() == before


def test_a_link_in_place_of_a_checkpoint_is_only_read_or_renamed(digits, trained, tmp_path):
    # nothing is ever written through it: such a link, to another disk say, does no harm
    run, target = tmp_path / "run", tmp_path / "target.h5"
    shutil.copytree(trained, run)
    (run / "checkpoints/last.h5").rename(target)
    (run / "checkpoints/last.h5").symlink_to(target)
    before = target.read_bytes()
    more = {"flags": {"epochs": 3}, "override": ("epochs",)}
    assert sessions.train_run(digits, run, resume="auto", **more).code == 0
    assert target.read_bytes() == before and not (run / "checkpoints/last.h5").is_symlink()
    assert sessions.train_run(digits, run, flags=FLAGS, overwrite=True).code == 0
    assert target.read_bytes() == before


@pytest.mark.parametrize("replaced", ["checkpoints", "."])
def test_replaced_by_a_link_during_the_run(digits, tmp_path, replaced):
    run, theirs = tmp_path / "run", tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "last.h5").write_text("theirs")

    def act(rank, state, signals):
        if state.progress.steps == 3:
            (run / replaced).rename(tmp_path / "moved")
            (tmp_path / ("run" if replaced == "." else "run/checkpoints")).symlink_to(theirs)

    before = snapshot(theirs)
    sessions.train_run(digits, run, act=act, flags=FLAGS).expect(6)
    assert snapshot(theirs) == before

"""Code that a file names is not run: by no command, in no way, unless the command line names or trusts it."""

import json
import os
import shlex
import shutil

import pytest
from checkpoints import rewrite

from distlenet.cli import main
from distlenet.runs.checkpoint_file import read_checkpoint
from distlenet.trust import source_sha256

NET = """import pathlib
pathlib.Path("RAN").touch()
from distlenet.nn import Dense, Flatten, Sequential


def build(input_shape, classes):
    return Sequential(input_shape, Flatten(), Dense(classes))
"""
HELPFUL = {"OPENBLAS_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def made(tmp_path_factory, digits):
    """A run of a user-defined network, in a directory with its code."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "net.py").write_text(NET)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        words = ["train", "--model", "net.py:build", "--data", str(digits), "--run", "run", "--epochs", "1"]
        assert main([*words, "--batch-size", "64", "--display", "quiet"]) == 0
    return folder


@pytest.fixture
def place(made, tmp_path, monkeypatch, digits):
    """A copy of it as the working directory; no code has run there yet."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    (tmp_path / "RAN").unlink()
    (tmp_path / "data.h5").symlink_to(digits)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def claim(place, model: str) -> None:
    """Let the checkpoints of the run name ``model`` as their network, checksums and all."""
    for path in (place / "run/checkpoints").iterdir():
        meta = read_checkpoint(path).facts()
        rewrite(path, path.read_bytes(), {**meta, "config": {**meta["config"], "model": model}})


COMMANDS = {
    "evaluate": ["evaluate", "run", "--data", "data.h5"],
    "report": ["report", "run", "--data", "data.h5"],
    "summary": ["summary", "run"],
    "export npz": ["export", "run", "--to", "out.npz"],
    "export onnx": ["export", "run", "--to", "out.onnx"],
    "predict": ["predict", "run", "picture.png"],
    "draw": ["draw", "run", "--port", "0"],
    "resume": ["train", "--run", "run", "--data", "data.h5", "--resume"],
    "resume elsewhere": ["train", "--run", "new", "--data", "data.h5", "--resume", "run/checkpoints/last.h5"],
    "configured": ["train", "--run", "new", "--data", "data.h5", "--config", "run/config.toml"],
    "repeat": ["repeat", "-n", "1", "--run", "new", "--data", "data.h5", "--config", "run/config.toml"],
    "compare": ["compare", "a:lr=0.1", "--run", "new", "--data", "data.h5", "--config", "run/config.toml"],
}


def needs(words):
    """Skip the test where a library of the command is not installed."""
    libraries = {"predict": ["PIL"], "draw": ["flask", "waitress"], "report": ["matplotlib"]}
    for library in libraries.get(words[0], ["onnx"] if "out.onnx" in words else []):
        pytest.importorskip(library)


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
def test_a_file_alone_runs_no_code(place, words, capsys):
    needs(words)
    assert main(words) == 3
    message = capsys.readouterr().err
    assert f"net.py:build ({place}/net.py, SHA-256 {source_sha256('net.py:build')})" in message
    assert f"if you trust it: distlenet {words[0]} --model net.py:build {' '.join(words[1:])}\n" in message
    assert not (place / "RAN").exists()


@pytest.mark.parametrize(
    "words",
    [COMMANDS["evaluate"], COMMANDS["export npz"], COMMANDS["configured"], [*COMMANDS["resume"], "--epochs", "1"]],
    ids=lambda words: words[0],
)
@pytest.mark.parametrize("word", [["--model", "net.py:build"], ["--trust-code"]], ids=["named", "trusted"])
def test_the_command_line_allows_it(place, words, word, capsys):
    assert main([*words, *word]) == 0
    message = capsys.readouterr().err
    assert (place / "RAN").exists()
    running = f"distlenet: note: running net.py:build ({place}/net.py, SHA-256 "
    assert message.count(running) == (word == ["--trust-code"])


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
def test_the_command_of_a_refusal_works_as_it_is_printed(place, words, capsys, monkeypatch):
    needs(words)
    if words[0] == "predict":
        from PIL import Image

        picture = Image.new("L", (28, 28))
        picture.paste(255, (12, 4, 16, 24))
        picture.save("picture.png")
    if words[0] == "draw":
        from distlenet.page import server

        monkeypatch.setattr(server, "serve", lambda *args, **settings: None)
    short = ["--epochs", "1", "--batch-size", "64"] if words[0] in ("repeat", "compare") else []

    def start(words):
        return main(words), capsys.readouterr().err

    code, message = start([*words, *short])
    assert code == 3
    code, message = start(shlex.split(message.rpartition("if you trust it: distlenet ")[2]))
    assert code == 0, message
    assert (place / "RAN").exists()


def test_summary_names_code_for_a_run_or_alone(place, capsys):
    assert main(["summary", "run", "--trust-code"]) == 0
    assert main(["summary", "--model", "net.py:build"]) == 0
    shown = capsys.readouterr().out
    assert shown.count("dense1") == 2
    assert main(["summary", "conv8", "--model", "net.py:build"]) == 2
    assert "summary --model needs a run directory, got conv8" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["inspect", "run"], ["journal", "run"], ["inspect", "run", "--json"]])
@pytest.mark.parametrize("model", ["net.py:build", "net:build", "/{}/net.py:build", "gone.py:build"])
def test_looking_runs_nothing(place, words, model, capsys):
    claim(place, model.format(place))
    assert main(words) == 0
    assert not (place / "RAN").exists()
    if words[0] == "inspect":
        assert "dense1/W" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("model", "why"),
    [
        ("{0}/net.py:build", "its path is absolute"),
        ("../{1}/net.py:build", "its path has '..'"),
        ("run/../net.py:build", "its path has '..'"),
        ("net.py:build\x1b[2J", "printable"),
        ("net.py:build; touch RAN", "expected FILE.py:NAME"),
        (":build", "expected FILE.py:NAME"),
        ("net.:build", "expected FILE.py:NAME"),
        ("x" * 2000 + ".py:build", "at most 1000 printable"),
    ],
)
@pytest.mark.parametrize("word", [[], ["--trust-code"]], ids=["", "trusted"])
def test_a_file_may_not_lead_outside(place, model, why, word, capsys):
    claim(place, model.format(place, place.name))
    assert main([*COMMANDS["evaluate"], *word]) == 3
    message = capsys.readouterr().err
    assert why in message and "\x1b" not in message
    assert not (place / "RAN").exists()


def test_a_module_is_found_in_the_working_directory_only_if_trusted(place, capsys):
    claim(place, "net:build")
    assert main(COMMANDS["evaluate"]) == 3
    assert f"net:build ({place}/net.py, SHA-256" in capsys.readouterr().err
    assert not (place / "RAN").exists()
    assert main([*COMMANDS["evaluate"], "--trust-code"]) == 0
    assert (place / "RAN").exists()


def test_a_package_is_not_imported_to_find_it(place, capsys):
    (place / "package").mkdir()
    (place / "package/__init__.py").write_text("import pathlib\npathlib.Path('RAN').touch()\n")
    shutil.copy("net.py", "package/net.py")
    claim(place, "package.net:build")
    assert main(COMMANDS["evaluate"]) == 3
    assert f"{place}/package/net.py" in capsys.readouterr().err
    assert not (place / "RAN").exists()


def test_a_compiled_file_next_to_the_source_is_not_run_in_its_place(place):
    import py_compile

    shutil.copy("net.py", "evil.py")
    (place / "evil.py").write_text((place / "net.py").read_text().replace("RAN", "BAD"))
    facts = (place / "net.py").stat()
    os.utime("evil.py", ns=(facts.st_atime_ns, facts.st_mtime_ns))
    compiled = py_compile.compile("evil.py")
    shutil.move(compiled, compiled.replace("evil", "net"))
    assert main([*COMMANDS["evaluate"], "--model", "net.py:build"]) == 0
    assert (place / "RAN").exists() and not (place / "BAD").exists()


def test_code_that_was_moved_is_named_where_it_is(place, capsys):
    (place / "elsewhere").mkdir()
    shutil.move("net.py", "elsewhere/net.py")
    assert main(COMMANDS["evaluate"]) == 3
    assert "net.py:build (which is not found here)" in capsys.readouterr().err
    assert main([*COMMANDS["evaluate"], "--model", f"{place}/elsewhere/net.py:build"]) == 0


def test_no_other_network_is_named_for_one_known_by_name(trained, digits, place, capsys):
    assert main(["evaluate", str(trained), "--data", str(digits), "--model", "net.py:build"]) == 3
    assert "best.h5 holds the network lenet5: leave --model net.py:build out" in capsys.readouterr().err
    assert not (place / "RAN").exists()


def test_a_checkpoint_without_the_hash_still_opens(place, capsys):
    for path in (place / "run/checkpoints").iterdir():
        meta = read_checkpoint(path).facts()
        rewrite(path, path.read_bytes(), {name: value for name, value in meta.items() if name != "code"})
    assert main(COMMANDS["evaluate"]) == 3
    assert main([*COMMANDS["evaluate"], "--trust-code"]) == 0
    assert "has changed" not in capsys.readouterr().err


def test_a_checkpoint_with_the_hash_alone_is_converted(place):
    path = place / "run/checkpoints/last.h5"
    meta = read_checkpoint(path).facts()
    rewrite(path, path.read_bytes(), {**meta, "code": meta["code"]["model"]})
    assert read_checkpoint(path).facts() == meta


def test_the_hash_is_stored(place):
    assert read_checkpoint(place / "run/checkpoints/last.h5").meta["code"] == {"model": source_sha256("net.py:build")}
    assert json.loads((place / "run/summary.json").read_text())["code_sha256"] == source_sha256("net.py:build")


def test_a_finished_run_of_a_series_is_kept_only_for_the_same_code(place, capsys):
    words = ["repeat", "-n", "1", "--model", "net.py:build", "--run", "series", "--data", "data.h5", "--epochs", "1"]
    words += ["--batch-size", "64"]
    assert main(words) == 0
    assert main(words) == 0
    (place / "net.py").write_text(NET + "# changed\n")
    capsys.readouterr()
    assert main(words) == 6
    assert "an older version of the code in net.py:build" in capsys.readouterr().err

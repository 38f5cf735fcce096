import argparse
import io
import sys

import mpi_jobs
import pytest
from drawn import MNIST, needs_mnist

from distlenet.commands import prepare
from distlenet.data.file.dataset_file import open_digit_file
from distlenet.data.sources.formats import FORMATS
from distlenet.errors import DataError


def run(*arguments):
    parser = argparse.ArgumentParser()
    prepare.configure(parser)
    return prepare.run(parser.parse_args([str(argument) for argument in arguments]))


@needs_mnist
def test_mnist_from_the_environment(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run("mnist") == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0] == "wrote datasets/mnist.h5"
    assert lines[-1] == "next: mpirun -n 2 distlenet train --data datasets/mnist.h5 --run runs/first"
    for words in ("60,000 train, 10,000 test", FORMATS["mnist"].fingerprint[:12], "55.0 MB", str(MNIST)):
        assert words in out
    assert err.splitlines() == ["reading MNIST ...", "writing train ...", "writing test ..."]
    with open_digit_file("datasets/mnist.h5") as digits:
        assert digits.fingerprint == FORMATS["mnist"].fingerprint
        assert round(digits.mean, 4) == 0.1307 and round(digits.std, 4) == 0.3081  # the usual constants
        digits.verify("train")
    assert run("mnist", "--from", MNIST) == 0
    assert capsys.readouterr().out.startswith("unchanged")


def test_synthetic_announces_that_it_is_not_mnist(tmp_path, capsys):
    out = tmp_path / "with a space.h5"
    assert run("synthetic", "--train", 30, "--test", 20, "--seed", 7, "--out", out) == 0
    message = capsys.readouterr().out
    assert "NOT MNIST" in message and "seed 7" in message and f"--data '{out}'" in message
    with open_digit_file(out) as digits:
        assert (digits.length("train"), digits.length("test")) == (30, 20)


def test_errors_are_of_the_family(tmp_path):
    with pytest.raises(DataError, match=r"no .*nowhere"):
        run("mnist", "--from", tmp_path / "nowhere", "--out", tmp_path / "a.h5")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("letters",),
        ("synthetic", "--train", "0"),
        ("synthetic", "--train", "many"),
        ("synthetic", "--seed", "-1"),
        ("csv",),
        ("csv", "--from", "a", "--size", "28x"),
        ("csv", "--from", "a", "--size", "0x28"),
        ("csv", "--from", "a", "--ink", "dark"),
        ("npz", "--from", "a", "--test-share", "1"),
        ("npz", "--from", "a", "--test-share", "some"),
        ("folder", "--from", "a", "--ink", "red"),
        ("emnist", "--from", "a", "--split", "byname"),
    ],
)
def test_wrong_arguments_end_with_usage(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        run(*arguments)
    assert ended.value.code == 2
    assert "usage" in capsys.readouterr().err


def test_a_terminal_gets_bars_and_a_file_gets_lines(tmp_path, monkeypatch):
    """A bar steers the cursor; in a log that would be litter."""
    from distlenet.ui import console, terminal

    for live in (True, False):
        stream = io.StringIO()
        monkeypatch.setattr(sys, "stderr", stream)
        for module in (terminal, console):
            monkeypatch.setattr(module, "is_live", lambda _, live=live: live)
        monkeypatch.setenv("FORCE_COLOR", "1")
        run("synthetic", "--train", 30, "--test", 20, "--out", tmp_path / f"{live}.h5")
        assert ("\x1b[" in stream.getvalue()) is live
        assert "writing train" in stream.getvalue()


def test_the_help_needs_no_numpy():
    program = (
        "import argparse, sys; from distlenet.commands import prepare; parser = argparse.ArgumentParser();"
        "prepare.configure(parser); parser.format_help();"
        "print([m for m in ('numpy', 'h5py', 'rich', 'mpi4py', 'urllib.request') if m in sys.modules])"
    )
    assert mpi_jobs.run([sys.executable, "-c", program]).expect().stdout == "[]\n"

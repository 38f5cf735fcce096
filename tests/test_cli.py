"""The command line itself: help, wrong options, exit codes, interruptions."""

import os
import signal
import subprocess
import sys

import mpi_jobs
import pexpect
import pytest

from distlenet import __version__, cli, errors
from distlenet.cli import COMMANDS, main


def test_help_names_every_command(distlenet):
    message = distlenet("--help").expect().stdout
    for name in COMMANDS:
        assert f"\n  {name} " in message


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command, distlenet):
    message = distlenet(command, "--help").expect().stdout
    assert message.startswith(f"usage: distlenet {command}")
    assert "--debug" in message


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["trian"], ["trian", "did you mean 'train'"]),
        (["train", "a.h5", "--run", "x"], ["did you mean --data a.h5"]),
        (["bench", "--rounds", "0"], ["'0'", "at least 1"]),
        (["launch", "-n", "2", "distlenet", "train"], ["leave the word 'distlenet' out"]),
        (["launch", "-n", "2", "--hosts", "", "train", "--run", "x"], ["--hosts is empty", "shell variable"]),
        (["prepare", "mnits"], ["did you mean 'mnist'"]),
        (["prepare", "mnist", "--output", "x"], ["did you mean '--out'", "prepare mnist --help"]),
        (["train", "--run", "x", "--learning-rate", "3"], ["did you mean '--lr'"]),
        (["summary", "mynet.py"], ["mynet.py:build"]),
        (["launch", "-n", "2", "predict", "x"], ["launch starts train, evaluate", "'predict'"]),
        (["--bogus"], ["distlenet --help"]),
        (["train", "--run", "x", "--batchsize", "3"], ["--batchsize", "did you mean '--batch-size'", "train --help"]),
        (["train", "--run", "x", "--epoochs=3"], ["--epoochs", "did you mean '--epochs'"]),
        (["train", "--run", "x", "--epochs", "many"], ["--epochs: 'many', expected a whole number;"]),
        (["train", "--run", "x", "--lr", "high"], ["--lr: 'high', expected a number;"]),
        (["train", "--run", "x", "--checkpoint-every", "0m"], ["'0m'", "500", "10m"]),
        (["draw", "--port", "70000"], ["'70000', expected a whole number from 0 to 65,535"]),
        (["summary", "--input", "20x600"], ["'20x600'", "ROWSxCOLUMNS", "at most 512x512"]),
        (["train", "--run", "x", "--display", "loud"], ["--display", "loud", "plain"]),
        (["train"], ["--run"]),
        (["train", "--run", "x", "stray"], ["stray"]),
        (["evaluate"], ["checkpoint"]),
        (["evaluate", "x", "--split", "tests"], ["--split", "tests", "did you mean 'test'"]),
        (["evaluate", "x", "--jsn"], ["--jsn", "did you mean '--json'"]),
    ],
)
def test_wrong_usage_is_one_sentence(arguments, words, capsys):
    assert main(arguments) == 2
    out, message = capsys.readouterr()
    assert out == ""
    assert message.startswith("distlenet: error: ")
    assert message.count("\n") == 1
    for word in words:
        assert word in message


def test_no_command_shows_the_help(capsys):
    assert main([]) == 2
    out, message = capsys.readouterr()
    assert out == ""
    assert message.startswith("usage: distlenet") and "train a network" in message


def test_version(distlenet):
    assert distlenet("--version").expect().stdout == f"distlenet {__version__}\n"


def test_without_the_packages(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "numpy", None)
    assert main(["train", "--run", "x"]) == 1
    message = capsys.readouterr().err
    assert "has no numpy: scripts/quickstart makes" in message and message.count("\n") == 1


def test_every_error_has_its_own_exit_code():
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    codes = [kind.exit_code for kind in kinds if "exit_code" in vars(kind)]  # a subclass may keep its parent's
    assert len(set(codes)) == len(codes)
    assert all(0 < code < 126 for code in codes)


@pytest.fixture
def failing(monkeypatch):
    """Make the command evaluate raise an error."""

    def fail(error):
        def run(args):
            raise error

        monkeypatch.setattr("distlenet.commands.evaluate.run", run)

    return fail


def test_expected_errors(failing, capsys):
    failing(errors.DataError("the file is torn"))
    assert main(["evaluate", "x"]) == 4
    assert capsys.readouterr() == ("", "distlenet: error: the file is torn\n")


def test_an_error_that_another_process_reports(failing, capsys):
    error = errors.DataError("the file is torn")
    error.reported = True
    failing(error)
    for options in ([], ["--debug"]):
        assert main(["evaluate", "x", *options]) == 4
        assert capsys.readouterr() == ("", "")


def test_debug_shows_the_traceback(failing, capsys):
    failing(errors.DataError("the file is torn"))
    assert main(["evaluate", "x", "--debug"]) == 4
    message = capsys.readouterr().err
    assert message.startswith("Traceback")
    assert "the file is torn" in message.splitlines()[-1]


def test_bugs_keep_their_traceback(failing, capsys):
    failing(ZeroDivisionError("\x1b[2J"))
    for options in ([], ["--debug"]):  # the tests' input is not a terminal: no debugger
        assert main(["evaluate", "x", *options]) == 1
        message = capsys.readouterr().err
        assert message.startswith("Traceback")
        assert message.splitlines()[-1] == "ZeroDivisionError: \\x1b[2J"


def test_debug_opens_a_debugger_at_a_terminal(tmp_path):
    program = (
        "import sys; from distlenet.cli import main; import distlenet.commands.evaluate as command\n"
        "def run(args):\n    riddle = 6 * 7\n    raise ZeroDivisionError\n"
        "command.run = run; sys.exit(main(['evaluate', 'x', '--debug']))"
    )
    child = pexpect.spawn(sys.executable, ["-c", program], env=mpi_jobs.environment(), timeout=30, encoding="utf-8")
    try:
        child.expect("Traceback")
        child.expect_exact("(Pdb) ")
        child.sendline("p riddle")
        child.expect_exact("42")
        child.sendline("q")
        child.expect(pexpect.EOF)
        child.wait()
        assert child.exitstatus == 1
    finally:
        child.close(force=True)


def test_interrupted(failing, capsys):
    failing(KeyboardInterrupt())
    assert main(["evaluate", "x"]) == 130
    assert capsys.readouterr().err == "distlenet: interrupted\n"


def test_interrupted_at_the_very_end():
    """An interrupt while Python waits for threads at its end causes no traceback."""
    program = (
        "import os, signal, sys, threading; from distlenet import cli\n"
        "late = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))\n"
        "cli._run = lambda arguments: late.start() or 0\n"
        "sys.exit(cli.main())"
    )
    done = mpi_jobs.run([sys.executable, "-c", program])
    assert done.returncode in (0, -signal.SIGINT) and done.stderr == ""


def test_the_reader_of_a_pipe_has_ended(trained, digits):
    # like `| head -0`: no traceback, and the exit code of SIGPIPE
    reader, writer = os.pipe()
    os.close(reader)
    program = (
        f"import os, sys; os.dup2({writer}, 1); from distlenet.cli import main;"
        f"sys.exit(main(['evaluate', {str(trained)!r}, '--data', {str(digits)!r}, '--json']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=mpi_jobs.environment(),
        pass_fds=[writer],
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=60,
    )
    os.close(writer)
    assert done.stderr == ""
    assert done.returncode == 141


def test_blas_threads(monkeypatch):
    program = (
        "import os; from distlenet.cli import main\n"
        "main(['train', '--run', 'x', '--bogus'])\n"
        f"print(*(os.environ[name] for name in {cli.BLAS_THREADS}))"
    )
    env = {name: value for name, value in mpi_jobs.environment().items() if name not in cli.BLAS_THREADS}
    assert mpi_jobs.run([sys.executable, "-c", program], env=env).stdout.split() == ["1"] * 4
    done = mpi_jobs.run([sys.executable, "-c", program], env={**env, "OMP_NUM_THREADS": "3"})
    assert done.stdout.split() == ["1", "3", "1", "1"]  # an explicit setting wins


def test_wrong_usage_under_mpirun_is_reported_once(runtime, distlenet, only_sentence):
    done = distlenet("train", "--run", "x", "--epoochs", 3, runtime=runtime, ranks=3)
    only_sentence(done, 2, "did you mean '--epochs'")

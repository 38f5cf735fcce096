"""A run directory shared by two colleagues: a group's directory (setgid), a umask of 002, two users."""

import json
import os
import shutil
import stat
import sys
import tempfile
from pathlib import Path

import mpi_jobs
import pytest

GROUP, FIRST, SECOND = 54320, 54321, 54322  # unused numbers: no names are needed
# Each command line is a fork with the rights of its user. Root has run similar commands before, so that the colleagues
# need no access to the checkout and its Python.
COLLEAGUES = f"""
import encodings.utf_8_sig, json, os, sys, tomllib
from distlenet.cli import main
warm, jobs = map(json.loads, sys.argv[1:])
for words in warm:
    if '--resume' not in words:  # the lock of a run ends with its process
        assert main(words) == 0
for user, words in jobs:
    child = os.fork()
    if not child:
        os.setgroups([{GROUP}])
        os.setgid(user)
        os.setuid(user)
        os.umask(0o002)
        code = 99
        try:
            code = main(words)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code:
        sys.exit(f"user {{user}}: {{' '.join(words)}}: exit code {{code}}")
"""
SHORT = ["--batch-size", "96", "--shards", "6", "--train-sample", "50", "--display", "plain", "--keep-every", "1"]


@pytest.fixture
def shared(digits):
    """A directory of the group with a dataset."""
    if os.geteuid() != 0:
        pytest.skip("only root can act for two users")
    with tempfile.TemporaryDirectory() as folder:  # pytest's own directories are closed to other users
        os.chmod(folder, 0o755)
        made = Path(folder) / "shared"
        made.mkdir()
        os.chown(made, 0, GROUP)
        made.chmod(0o2775)
        shutil.copyfile(digits, made / "digits.h5")
        yield made


def do(shared, tmp_path, commands, *jobs):
    """Do ``jobs``, (user, words) each; root first does the similar ``commands(run)`` elsewhere."""
    warm = [list(map(str, words)) for words in commands(tmp_path / "warm")]
    asked = [(user, list(map(str, words))) for user, words in jobs]
    environment = mpi_jobs.environment() | {"HOME": str(shared.parent)}
    mpi_jobs.run([sys.executable, "-c", COLLEAGUES, json.dumps(warm), json.dumps(asked)], env=environment).expect()


def check_rights(folder, *users):
    """All entries belong to the group and are writable for it, according to the umask."""
    entries = [folder, *folder.rglob("*")]
    assert len(entries) > 6
    for path in entries:
        status = path.lstat()
        expected = 0o2775 if stat.S_ISDIR(status.st_mode) else 0o664
        assert (oct(stat.S_IMODE(status.st_mode)), status.st_gid) == (oct(expected), GROUP), path
        assert status.st_uid in users, path


def test_a_colleague_resumes_evaluates_and_overwrites(shared, tmp_path):
    def commands(run):
        train = ["train", "--data", shared / "digits.h5", "--run", run, *SHORT]
        resume = [*train, "--resume", "auto", "--override", "epochs", "--epochs"]
        return [*train, "--epochs", 1], [*resume, 2], ["evaluate", run, "--data", shared / "digits.h5"], [*resume, 3]

    run = shared / "run"
    first, second, evaluate, third = commands(run)
    jobs = (FIRST, first), (SECOND, evaluate), (SECOND, second), (FIRST, third)
    do(shared, tmp_path / "1", commands, *jobs)
    check_rights(run, FIRST, SECOND)
    do(shared, tmp_path / "2", commands, (SECOND, [*first, "--overwrite"]), (FIRST, evaluate))
    check_rights(run, FIRST, SECOND)


def test_a_colleague_resumes_a_series(shared, tmp_path):
    def commands(run):
        words = ["repeat", "--data", shared / "digits.h5", "--run", run, "--epochs", 0, "-n"]
        return [*words, 1], [*words, 2]

    first, second = commands(shared / "series")
    do(shared, tmp_path, commands, (FIRST, first), (SECOND, second))
    check_rights(shared / "series", FIRST, SECOND)

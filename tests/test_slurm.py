"""Training under a real one-node Slurm: srun, mpirun inside a batch job, signals, requeueing.

A Slurm is searched for in this order; without one the tests are skipped:

* ``DISTLENET_SLURM`` names a program with three subcommands: ``start`` (returns when the node is idle),
  ``stop`` (cancels all jobs, ends the daemons) and ``env`` (prints lines ``export NAME=VALUE`` for the
  clients). It may write into the folder ``$SLURM_LAB``, which is set for it unless it is set already.
* a Slurm that works already: ``sinfo`` and ``srun`` on the PATH, with a node that sees this machine's files.

As root, with Debian's packages slurmctld, slurmd, slurm-client and munge, a node needs about a second to start.
"""

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import mpi_jobs
import pytest

SCRIPT = mpi_jobs.ROOT / "scripts" / "slurm-job.sh"
SETTINGS = ["--batch-size", "64", "--shards", "4", "--log-every", "1", "--display", "plain"]
SHORT, LONG = ["--epochs", "2"], ["--epochs", "60"]  # LONG takes seconds: time to be interrupted in
PATIENCE = 90.0
SRUN = {"openmpi": "pmix", "mpich": "pmi2"}


class Slurm:
    """The clients of a Slurm: each call has a timeout, and each job a time limit."""

    def __init__(self, variables: dict[str, str]) -> None:
        self.env = mpi_jobs.environment(**variables)
        # two ranks on any number of cores
        self.env["PRTE_MCA_rmaps_default_mapping_policy"] = ":oversubscribe"

    def run(self, *command: object) -> subprocess.CompletedProcess:
        words = list(map(str, command))
        return subprocess.run(words, env=self.env, capture_output=True, text=True, timeout=30, check=False)

    def ask(self, *command: object) -> str:
        done = self.run(*command)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout.strip()

    def needs(self, kind: str) -> None:
        """Skip the test if srun has no --mpi=KIND."""
        done = self.run("srun", "--mpi=list")
        if kind not in (done.stdout + done.stderr).split():
            pytest.skip(f"this Slurm has no srun --mpi={kind}")

    def srun(self, *options: str) -> list[str]:
        return ["srun", "--time=3", "--quiet", *options]


def find_slurm(folder: str) -> tuple[Slurm, str | None] | str:
    """Return a working Slurm and the program that stops it, or the reason why it cannot be used."""
    script = os.environ.get("DISTLENET_SLURM", "")
    if not script:
        if not (shutil.which("sinfo") and shutil.which("srun")):
            return "DISTLENET_SLURM is not set (see tests/test_slurm.py), and there is no sinfo and srun on the PATH"
        found = subprocess.run(["sinfo", "-h"], capture_output=True, text=True, timeout=30, check=False)
        if found.returncode != 0 or not found.stdout:
            reason = (found.stderr.strip() or "no nodes").splitlines()[0]
            return f"DISTLENET_SLURM is not set, and sinfo does not answer: {reason}"
        return Slurm({name: value for name, value in os.environ.items() if name == "SLURM_CONF"}), None
    os.environ.setdefault("SLURM_LAB", folder)
    # not to pipes: the daemons may keep them open
    started = subprocess.run(["timeout", "60", script, "start"], stdin=subprocess.DEVNULL, stdout=2, check=False)
    if started.returncode != 0:
        subprocess.run(["timeout", "60", script, "stop"], stdin=subprocess.DEVNULL, stdout=2, check=False)
        return f"DISTLENET_SLURM={script} start: exit code {started.returncode}"
    output = subprocess.run([script, "env"], capture_output=True, text=True, timeout=30, check=True).stdout
    words = [line.removeprefix("export ") for line in output.splitlines() if line.startswith("export ")]
    return Slurm(dict(shlex.split(word)[0].split("=", 1) for word in words)), script


@pytest.fixture(scope="module")
def slurm():
    before = os.environ.get("SLURM_LAB")
    # not below pytest's folder, which is private: munge needs a socket that all users can reach
    with tempfile.TemporaryDirectory(prefix="slurm-", ignore_cleanup_errors=True) as folder:
        os.chmod(folder, 0o755)
        found = find_slurm(folder)
        if isinstance(found, str):
            pytest.skip(found)
        yield found[0]
        if found[1]:
            subprocess.run([found[1], "stop"], capture_output=True, timeout=90, check=True)
        if before is None:
            os.environ.pop("SLURM_LAB", None)


@pytest.fixture(scope="module")
def expected(tmp_path_factory, digits, distlenet, summary_of):
    """The hashes of one process after SHORT and after LONG."""
    hashes = {}
    for name, epochs in (("short", SHORT), ("long", LONG)):
        run = tmp_path_factory.mktemp("alone") / name
        distlenet("train", "--data", digits, "--run", run, *SETTINGS, *epochs).expect()
        hashes[name] = summary_of(run)["theta_sha256"]
    return hashes


def training(digits: Path, run: Path, epochs: list[str]) -> list[str]:
    return ["--data", str(digits), "--run", str(run), *SETTINGS, *epochs]


def saved_between(log: str) -> list[str]:
    """Return the lines about checkpoints requested by a signal."""
    lines = [line for line in log.splitlines() if " checkpoint " in line and "path=" in line]
    return [line for line in lines if "reason=last" not in line and "reason=best" not in line]


class BatchJob:
    """A submitted scripts/slurm-job.sh with two ranks; leaving ``with`` cancels it."""

    def __init__(self, slurm: Slurm, runtime: mpi_jobs.Runtime, run: Path, launcher: str, arguments: list[str]) -> None:
        self.slurm, self.run, self.log = slurm, run, run.with_suffix(".log")
        env = {"DISTLENET_PYTHON": runtime.python, "PYTHONPATH": str(mpi_jobs.ROOT)}
        if launcher == "srun":
            env["DISTLENET_LAUNCHER"] = f"srun --mpi={SRUN[runtime.name]}"
        self.submitted = Slurm({**slurm.env, **env})
        self.submitted.env.update(slurm.env | env)
        options = ["--parsable", "--ntasks=2", "--time=5", f"--output={self.log}", f"--chdir={run.parent}"]
        self.id = self.submitted.ask("sbatch", *options, SCRIPT, *arguments)

    def __enter__(self) -> "BatchJob":
        return self

    def __exit__(self, *_: object) -> None:
        self.slurm.run("scancel", self.id)
        self.wait()

    def state(self) -> dict[str, str]:
        words = self.slurm.ask("scontrol", "show", "job", self.id).split()
        return dict(word.split("=", 1) for word in words if "=" in word)

    def text(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def until(self, condition: object, what: str) -> None:
        patience = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < patience, f"{what} in {PATIENCE:g} s: {self.state()}\n{self.text()}"
            time.sleep(0.1)

    def until_training(self) -> None:
        journal = self.run / "journal.jsonl"
        self.until(lambda: journal.exists() and journal.read_text().count("\n") > 3, "no training")

    def wait(self) -> dict[str, str]:
        """Wait for the end, hurrying a requeued job along; return its state."""

        def ended() -> bool:
            state = self.state()["JobState"]
            if state == "PENDING":  # a requeued job would wait for two minutes
                self.slurm.run("scontrol", "update", f"JobId={self.id}", "StartTime=now")
            return state not in ("PENDING", "RUNNING", "COMPLETING", "CONFIGURING", "REQUEUED")

        self.until(ended, "no end")
        return self.state()


def test_plain_srun_is_refused(slurm, runtime, digits, tmp_path):
    run = tmp_path / "run"
    command = slurm.srun("-n", "2", runtime.python, "-m", "distlenet", "train")
    done = mpi_jobs.run([*command, *training(digits, run, SHORT)], env=slurm.env)
    assert done.returncode == 7, done.output
    assert "Traceback" not in done.output
    assert "2 processes that do not know each other" in done.stderr
    assert f"srun --mpi={SRUN[runtime.name]}" in done.stderr
    assert not run.exists()


def test_srun_of_one_task_is_one_process(slurm, digits, tmp_path, expected, summary_of):
    run = tmp_path / "run"
    command = slurm.srun("-n", "1", sys.executable, "-m", "distlenet", "train")
    mpi_jobs.run([*command, *training(digits, run, SHORT)], env=slurm.env).expect()
    assert summary_of(run)["theta_sha256"] == expected["short"]


def test_srun_with_the_right_mpi(slurm, runtime, digits, tmp_path, expected, summary_of):
    kind, run = SRUN[runtime.name], tmp_path / "run"
    slurm.needs(kind)
    command = slurm.srun("-n", "2", f"--mpi={kind}", runtime.python, "-m", "distlenet")
    mpi_jobs.run([*command, "train", *training(digits, run, SHORT)], env=slurm.env).expect()
    assert summary_of(run)["ranks"] == 2
    assert summary_of(run)["theta_sha256"] == expected["short"]

    report = json.loads(mpi_jobs.run([*command, "doctor", "--json"], env=slurm.env).expect().stdout)
    assert len(report["ranks"]) == report["launched"] == 2
    assert report["misfit"] is None


def test_srun_with_the_wrong_mpi_is_refused(slurm, openmpi, digits, tmp_path):
    slurm.needs("pmi2")
    command = slurm.srun("-n", "2", "--mpi=pmi2", openmpi.python, "-m", "distlenet", "train")
    done = mpi_jobs.run([*command, *training(digits, tmp_path / "run", SHORT)], env=slurm.env)
    assert done.returncode == 7, done.output
    assert "srun --mpi=pmix" in done.stderr


def test_sigusr1_to_srun_saves_and_continues(slurm, runtime, digits, tmp_path, expected, summary_of):
    kind, run, name = SRUN[runtime.name], tmp_path / "run", f"distlenet-test-{os.getpid()}-{runtime.name}"
    slurm.needs(kind)
    command = slurm.srun("-n", "2", f"--mpi={kind}", f"--job-name={name}", runtime.python, "-m", "distlenet", "train")
    with mpi_jobs.Job([*command, *training(digits, run, LONG)], env=slurm.env) as job:
        journal = run / "journal.jsonl"
        mpi_jobs.wait_for(lambda: journal.exists() and journal.read_text().count("\n") > 3, job)
        slurm.ask("scancel", "--signal=USR1", slurm.ask("squeue", "-h", f"--name={name}", "-o", "%i"))
        done = job.finish(PATIENCE).expect()
    assert saved_between(done.stdout)
    assert summary_of(run)["theta_sha256"] == expected["long"]


@pytest.mark.parametrize("launcher", ["mpirun", "srun"])
def test_job_script(slurm, runtime, launcher, digits, tmp_path, expected, summary_of):
    # in one job: a save, then requeueing as at a time limit, then the end of the run
    if launcher == "srun":
        slurm.needs(SRUN[runtime.name])
    run = tmp_path / "run"
    with BatchJob(slurm, runtime, run, launcher, training(digits, run, LONG)) as job:
        job.until_training()
        slurm.ask("scancel", "--batch", "--signal=USR1", job.id)
        job.until(lambda: saved_between(job.text()), "no checkpoint")
        slurm.ask("scancel", "--batch", "--signal=USR2", job.id)
        job.until(lambda: "requeueing job" in job.text(), "no requeueing")
        state = job.wait()
        assert (state["JobState"], state["ExitCode"]) == ("COMPLETED", "0:0"), job.text()
        assert state["Restarts"] == "1"
        assert f"start 0 of job {job.id}: " in job.text()
        assert f"start 1 of job {job.id}: " in job.text()
        assert "resuming from" in job.text()
    assert summary_of(run)["status"] == "complete"
    assert summary_of(run)["ranks"] == 2
    assert summary_of(run)["theta_sha256"] == expected["long"]


def test_scontrol_requeue(slurm, openmpi, digits, tmp_path, expected, summary_of):
    # as Slurm does after a preemption or a node failure
    run = tmp_path / "run"
    with BatchJob(slurm, openmpi, run, "mpirun", training(digits, run, LONG)) as job:
        job.until_training()
        slurm.ask("scontrol", "requeue", job.id)
        state = job.wait()
        assert (state["JobState"], state["Restarts"]) == ("COMPLETED", "1"), job.text()
    assert summary_of(run)["theta_sha256"] == expected["long"]


def test_scancel_saves_and_does_not_come_back(slurm, runtime, digits, tmp_path, summary_of):
    run = tmp_path / "run"
    with BatchJob(slurm, runtime, run, "mpirun", training(digits, run, ["--epochs", "5000"])) as job:
        job.until_training()
        slurm.ask("scancel", job.id)
        state = job.wait()
        assert (state["JobState"], state["Restarts"]) == ("CANCELLED", "0"), job.text()
    assert summary_of(run)["status"] == "stopped by SIGTERM"
    assert (run / "checkpoints/last.h5").exists()


def test_job_script_without_a_run_directory(tmp_path):
    done = mpi_jobs.run(["bash", str(SCRIPT), "--data", "x.h5"])
    assert done.returncode == 2
    assert "--run" in done.stderr
    assert os.access(SCRIPT, os.X_OK)

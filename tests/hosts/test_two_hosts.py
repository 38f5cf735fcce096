"""Training and evaluation on two hosts connected only by TCP: the same bits, and the loss of a host."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import mpi_jobs
import pytest
import two_hosts

TIMEOUT = 30.0  # seconds; the longest job needs a tenth of it
SETTINGS = ["--epochs", "12", "--batch-size", "64", "--rotate", "5", "--display", "plain"]  # 132 steps


@pytest.fixture
def hosts():
    """Two hosts on one machine, always removed afterwards; skipped if they cannot be created."""
    if reason := two_hosts.missing():
        pytest.skip(reason)
    with two_hosts.TwoHosts() as both:
        yield both


def one_process(runtime: mpi_jobs.Runtime, *arguments: object) -> mpi_jobs.Finished:
    """Run a command in one process, with the Python of ``runtime``, whose numpy may be another version."""
    done = mpi_jobs.run([runtime.python, "-m", "distlenet", *map(str, arguments)], timeout=TIMEOUT)
    assert done.returncode == 0, done.output
    return done


def on_both(hosts: two_hosts.TwoHosts, runtime: mpi_jobs.Runtime, *arguments: object) -> list[str]:
    """Return the command line that runs a command on one rank per host."""
    return hosts.mpirun(runtime, 1, "-m", "distlenet", *map(str, arguments))


def theta(run: Path) -> str:
    """Return the checksum of a complete run's parameters."""
    summary = json.loads((run / "summary.json").read_text())
    assert summary["status"] == "complete", summary
    return summary["theta_sha256"]


@pytest.fixture(scope="module")
def whole(runtime, digits, tmp_path_factory) -> Path:
    """A run in one process without any fault."""
    if reason := two_hosts.missing():
        pytest.skip(reason)
    run = tmp_path_factory.mktemp("whole") / "run"
    one_process(runtime, "train", "--data", digits, *SETTINGS, "--run", run)
    return run


def test_same_bits_as_one_process(hosts, runtime, digits, whole, tmp_path):
    two = tmp_path / "two"
    before = {host: hosts.bytes_sent(host) for host in two_hosts.ADDRESSES}
    done = mpi_jobs.run(on_both(hosts, runtime, "train", "--data", digits, *SETTINGS, "--run", two), timeout=TIMEOUT)
    assert done.returncode == 0, done.output
    assert theta(two) == theta(whole)
    assert json.loads((two / "summary.json").read_text())["ranks"] == 2
    steps = json.loads((two / "summary.json").read_text())["steps"]
    for host in two_hosts.ADDRESSES:  # the leaves were really sent: half a vector there, half a sum back
        assert hosts.bytes_sent(host) - before[host] > steps * 61_706 * 4
    evaluate = ["evaluate", two, "--data", digits, "--json"]
    done = mpi_jobs.run(on_both(hosts, runtime, *evaluate), timeout=TIMEOUT)
    assert done.returncode == 0, done.output
    assert done.stdout == one_process(runtime, *evaluate).stdout


def test_ranks_of_a_host_add_up_first(hosts, runtime):
    before = hosts.bytes_sent("h1")
    done = mpi_jobs.run(hosts.mpirun(runtime, 4, str(mpi_jobs.JOBS / "sums.py"), "own"), timeout=TIMEOUT)
    assert done.returncode == 0, done.output
    assert done.stdout == "all is well\n"
    vectors = (hosts.bytes_sent("h1") - before) / (50 * 61_714 * 4)
    assert 1 < vectors < 2  # half a sum there, half the total back; directly it would be four


@pytest.mark.parametrize("loss", ["power", "cable"])
def test_a_lost_host(hosts, runtime, digits, whole, tmp_path, loss):
    # without fault tolerance: the job ends, or hangs and is ended; then one host resumes from the checkpoint
    lost = tmp_path / "lost"
    train = ["train", "--data", digits, *SETTINGS, "--checkpoint-every", 10, "--run", lost]
    checkpoint = lost / "checkpoints/last.h5"
    with mpi_jobs.Job(on_both(hosts, runtime, *train)) as job:
        mpi_jobs.wait_for(checkpoint.exists, job, TIMEOUT)
        assert hosts.processes("h2")
        if loss == "power":
            hosts.kill("h2")
            job.process.wait(TIMEOUT)  # it ends without help, although Open MPI's mpirun returns 0
        else:
            hosts.cut()
            with pytest.raises(subprocess.TimeoutExpired):  # to the ranks it looks like a long silence
                job.process.wait(1.0)
        for host in two_hosts.ADDRESSES:
            hosts.kill(host)
    assert not (lost / "summary.json").exists()
    one_process(runtime, "inspect", lost)  # every checksum is verified
    one_process(runtime, "train", "--data", digits, "--run", lost, "--resume", "--display", "plain")
    assert theta(lost) == theta(whole)


def test_launch_with_the_root_on_another_host(hosts, runtime, digits, whole, tmp_path):
    # the launcher's temporary directory is on h1's own disk, the working directory is shared, ssh passes no environment
    run, here = tmp_path / "run", tmp_path / "here"
    here.mkdir()
    words = ["launch", "-n", 2, "--hosts", "h2:1,h1:1", "train", "--data", digits, *SETTINGS, "--run", run]
    command = shlex.join([runtime.python, "-m", "distlenet", *map(str, words)])
    env = mpi_jobs.environment(
        OMPI_MCA_btl_tcp_if_include=two_hosts.LINK,
        PRTE_MCA_plm_ssh_agent=str(hosts.ssh),
        HYDRA_LAUNCHER="ssh",
        HYDRA_LAUNCHER_EXEC=str(hosts.ssh),
    )
    done = mpi_jobs.run(
        hosts.on("h1", "sh", "-c", f"cd {here} && TMPDIR={hosts.disk} {command}"), env=env, timeout=TIMEOUT
    )
    assert done.returncode == 0, done.output
    assert theta(run) == theta(whole)
    assert json.loads((run / "summary.json").read_text())["ranks"] == 2
    assert not list(here.iterdir())


def test_different_datasets_are_refused(hosts, runtime, tmp_path, distlenet):
    for host, seed in zip(two_hosts.ADDRESSES, (1, 2), strict=True):  # each on its host's disk, with the same path
        distlenet("prepare", "synthetic", "--train", 300, "--test", 60, "--seed", seed, "--out", tmp_path / "drawn.h5")
        shutil.move(tmp_path / "drawn.h5", hosts.disk_of(host))
    run = tmp_path / "run"
    train = ["train", "--data", hosts.disk / "drawn.h5", "--run", run, *SETTINGS]
    done = mpi_jobs.run(on_both(hosts, runtime, *train), timeout=TIMEOUT)
    assert done.returncode == 4, done.output
    assert "Traceback" not in done.output
    (message,) = [line for line in done.output.splitlines() if "distlenet: error:" in line]
    assert "rank 1 on h2 has a dataset with fingerprint" in message and "rank 0 on h1" in message
    assert not (run / "checkpoints/last.h5").exists()


def test_nothing_is_left():
    if reason := two_hosts.missing():
        pytest.skip(reason)
    with two_hosts.TwoHosts() as hosts:
        subprocess.run(hosts.on("h1", "hostname"), check=True, capture_output=True, timeout=10)
        sleeper = subprocess.Popen(hosts.on("h2", "sleep", "60"), start_new_session=True)
        look = hosts.on("h2", "sh", "-c", "hostname; ls /dev/shm | wc -l")
        mine = subprocess.check_output(look, text=True, timeout=10)
        assert mine.split() == ["h2", "0"]
        subprocess.run(hosts.on("h1", "touch", str(hosts.disk / "a")), check=True, timeout=10)
        assert (hosts.disk_of("h1") / "a").exists()
        assert not list(hosts.disk.iterdir())
    assert sleeper.wait(10) != 0
    assert not [space for space in two_hosts.spaces() if space.startswith(hosts.prefix)]
    assert not list(two_hosts.NAMED.glob(f"{hosts.prefix}*"))
    assert not hosts.folder.exists()


def test_leftovers_of_a_killed_test_run_are_removed():
    if reason := two_hosts.missing():
        pytest.skip(reason)
    program = (
        "import os, two_hosts\nhosts = two_hosts.TwoHosts()\nhosts.__enter__()\n"
        "print(hosts.prefix, flush=True)\nos.kill(os.getpid(), 9)\n"
    )
    place = {"PYTHONPATH": str(Path(two_hosts.__file__).parent)}
    child = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | place, capture_output=True, timeout=20, check=False
    )
    killed = child.stdout.decode().strip()
    assert killed, child.stderr
    with two_hosts.TwoHosts():
        assert not [space for space in two_hosts.spaces() if space.startswith(killed)]

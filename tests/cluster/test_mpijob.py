"""A Kubernetes MPIJob: its manifest, and its entry point on three nodes as the MPI operator sets them up.

The launcher has a list of hosts with slots and a key; the workers run sshd. Names are found with their domain only.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import mpi_jobs
import pytest
from cluster import nodes

SCRIPTS = mpi_jobs.ROOT / "scripts"
ENTRY = SCRIPTS / "container/mpijob"
DOMAIN = ".distlenet.default.svc"
WORKERS = ("distlenet-worker-0", "distlenet-worker-1")
TIMEOUT = 240.0  # seconds; a start on three nodes takes ten times as long on a busy machine
SETTINGS = ["--epochs", "1", "--batch-size", "64", "--display", "plain"]


@pytest.fixture
def pods():
    """The nodes of an MPIJob with running workers."""
    if not shutil.which("sshd"):
        pytest.skip("workers need sshd, which is not installed")
    if reason := nodes.missing():
        pytest.skip(reason)
    with tempfile.TemporaryDirectory(prefix="distlenet-test-", dir="/var/tmp") as place:
        folder = Path(place)
        for key in ("key", "host_key"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / key], check=True, timeout=20)
        settings = {name: (SCRIPTS / "container" / name).read_text() for name in ("ssh_config", "sshd_config")}
        settings["ssh_config"] += f"IdentityFile {folder}/key\n"
        settings["sshd_config"] += f"HostKey {folder}/host_key\nAuthorizedKeysFile {folder}/key.pub\nPidFile none\n"
        for name, text in settings.items():
            (folder / name).write_text(text)
        (folder / "hostfile").write_text("".join(f"{worker}{DOMAIN} slots=2\n" for worker in WORKERS))
        shared, binds = [mpi_jobs.ROOT, Path(sys.prefix)], {folder / "ssh_config": Path("/etc/ssh/ssh_config")}
        with nodes.Nodes(folder, ["distlenet-launcher", *WORKERS], shared, binds, DOMAIN) as found:
            for worker in WORKERS:
                subprocess.run(found.on(worker, "mkdir", "-p", "/run/sshd"), check=True, timeout=10)
                sshd = [shutil.which("sshd"), "-D", "-e", "-f", folder / "sshd_config"]
                found.start(worker, *sshd, log=f"{worker}.log")
            yield found


def test_entry_point(pods, runtime, digits, tmp_path):
    folder = pods.folder
    shutil.copy(digits, folder / "drawn.h5")
    words = ["train", "--data", folder / "drawn.h5", "--run", tmp_path / "whole", *SETTINGS]
    mpi_jobs.run([runtime.python, "-m", "distlenet", *map(str, words)]).expect()
    variables = {"DISTLENET_HOSTFILE": str(folder / "hostfile"), "DISTLENET_PYTHON": runtime.python}
    command = pods.on("distlenet-launcher", ENTRY, "--data", "drawn.h5", "--run", "runs/a", *SETTINGS)
    command = [f"--wd={folder}" if word.startswith("--wd=") else word for word in command]
    env = nodes.environment(**variables)
    mpi_jobs.run(command, env=env, timeout=TIMEOUT).expect()
    summary, whole = (json.loads((run / "summary.json").read_text()) for run in (folder / "runs/a", tmp_path / "whole"))
    assert summary["ranks"] == 4
    assert summary["theta_sha256"] == whole["theta_sha256"]
    again = mpi_jobs.run(command, env=env, timeout=TIMEOUT)  # as after a failure of the launcher
    assert again.returncode == 0 and "complete" in again.output, again.output


@pytest.mark.parametrize(
    ("text", "hosts"),
    [("a.b slots=2\nc slots=1\n", "-n 3 --hosts a.b:2,c:1"), ("# all\na:4\n\nb:4", "-n 8 --hosts a:4,b:4")],
)
def test_lists_of_hosts(tmp_path, text, hosts):
    (tmp_path / "hostfile").write_text(text)
    for name, body in (("ssh", "exit 0"), ("python3", 'echo "$@"')):
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "DISTLENET_HOSTFILE": str(tmp_path / "hostfile")}
    done = mpi_jobs.run([str(ENTRY), "--run", "a b"], env=env).expect()
    assert done.stdout == f"-m distlenet launch {hosts} train --run a b --resume\n"
    (tmp_path / "hostfile").write_text("# none\n")
    done = mpi_jobs.run([str(ENTRY)], env=env)
    assert done.returncode == 7 and "lists no hosts" in done.stderr


def test_manifest():
    yaml = pytest.importorskip("yaml")
    job = yaml.safe_load((SCRIPTS / "mpijob.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("kubeflow.org/v2beta1", "MPIJob")
    launcher, worker = (job["spec"]["mpiReplicaSpecs"][role] for role in ("Launcher", "Worker"))
    (launches,), (works,) = (role["template"]["spec"]["containers"] for role in (launcher, worker))
    assert launcher["replicas"] == 1 and launches["command"] == ["mpijob"]
    ranks = worker["replicas"] * job["spec"]["slotsPerWorker"]
    assert ranks <= 8 and int(works["resources"]["limits"]["cpu"]) == job["spec"]["slotsPerWorker"]
    assert launches["image"] == works["image"]
    for role, container in ((launcher, launches), (worker, works)):
        (volume,), (mount,) = role["template"]["spec"]["volumes"], container["volumeMounts"]
        assert mount["mountPath"] == container["workingDir"] and mount["name"] == volume["name"]


def test_the_container_has_all_it_copies():
    text = (SCRIPTS / "Containerfile").read_text()
    copied = [word for line in re.findall(r"^COPY (.*)$", text, re.MULTILINE) for word in line.split()[:-1]]
    assert copied and all((mpi_jobs.ROOT / path).exists() for path in copied)
    assert len(re.findall(r"^FROM ", text, re.MULTILINE)) == 1

"""A real Slurm of several nodes on one machine, for tests: see ``nodes.py``. n0 has the controller and the users.

Needs root and Debian's slurmctld, slurmd, slurm-client, munge and libpmix2. Neither systemd nor cgroups are used.
Also a program, to try things by hand in the folder tests. ``up`` stays until Ctrl-C; the others are for a second
terminal:

    python -m cluster.slurm FOLDER up [NODES]
    python -m cluster.slurm FOLDER on NODE COMMAND...     sbatch and its like on n0; FOLDER is shared by all
    python -m cluster.slurm FOLDER kill|boot|unplug|plug NODE
    python -m cluster.slurm FOLDER down
"""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import mpi_jobs
from cluster import nodes

CPUS = 2  # of a node; they share the machine's
# Slurm's plug-in opens libpmix.so in it, which Debian leaves out
PMIX = next(Path("/usr/lib").glob("*-linux-gnu/pmix2/lib"), Path("/usr/lib/pmix2"))
CONTROLLER = "n0"
SETTINGS = """
ClusterName=test
SlurmUser=root
SlurmctldHost={controller}({address})
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire={requeue_after}
StateSaveLocation={folder}/state
SlurmctldPidFile=/run/slurmctld.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdSpoolDir=/run/slurmd
SlurmdPidFile=/run/slurmd.pid
SlurmdLogFile={folder}/slurmd-%n.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=2,sched_min_interval=0,batch_sched_delay=0,bf_interval=2
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
ReturnToService=2
SlurmdTimeout={down_after}
KillWait=10
PartitionName=low Nodes=ALL Default=YES PriorityTier=1 GraceTime=10
PartitionName=high Nodes=ALL PriorityTier=9 PreemptMode=OFF
"""
REQUEUE_AFTER = 12  # seconds that a requeued job waits
DOWN_AFTER = 20  # seconds without an answer after which a node counts as down


def missing() -> str | None:
    """Return the reason why there can be no Slurm here, or None."""
    for program in ("munged", "slurmctld", "slurmd", "sbatch"):
        if shutil.which(program) is None:
            return f"a Slurm needs `{program}`, which is not installed"
    if not PMIX.exists():
        return "a Slurm needs Debian's libpmix2 for `srun --mpi=pmix`, which is not installed"
    return nodes.missing()


class Slurm(nodes.Nodes):
    """A Slurm of n1, n2, ..., ``count`` in all. ``shared`` are folders below /tmp that its nodes see."""

    def __init__(self, folder: Path, count: int = 3, shared: Sequence[Path] = ()) -> None:
        names = [CONTROLLER, *(f"n{number}" for number in range(1, count + 1))]
        self._pmix, self.settings = folder.resolve() / "pmix", folder.resolve() / "slurm.conf"
        super().__init__(folder, names, shared, {self._pmix: PMIX})

    def __enter__(self) -> "Slurm":
        self.folder.chmod(0o755)
        (self.folder / "state").mkdir()
        shutil.copytree(PMIX, self._pmix, symlinks=True)
        (self._pmix / "libpmix.so").unlink(missing_ok=True)
        (self._pmix / "libpmix.so").symlink_to("libpmix.so.2")
        key = self.folder / "munge.key"
        key.touch(0o600)
        key.write_bytes(os.urandom(128))
        facts = {"controller": CONTROLLER, "address": self.address(CONTROLLER), "folder": self.folder}
        facts |= {"requeue_after": REQUEUE_AFTER, "down_after": DOWN_AFTER}
        lines = [f"NodeName={name} NodeAddr={self.address(name)} CPUs={CPUS}" for name in self.names[1:]]
        self.settings.write_text(SETTINGS.format(**facts) + "\n".join(lines) + "\n")
        (self.folder / "cgroup.conf").touch()
        super().__enter__()
        try:
            nodes.until(self.all_idle, f"Slurm does not start: see {self.folder}")
        except BaseException:
            self.__exit__()
            raise
        return self

    def boot(self, name: str) -> None:
        """Switch a node on and start its daemon."""
        super().boot(name)
        if name != CONTROLLER:
            self.start(name, "slurmd", "-D", "-f", self.settings, "-N", name, log=f"{name}.out")
            return
        socket = self.folder / "munge.socket"
        words = ["--foreground", "--force", f"--key-file={self.folder / 'munge.key'}", f"--socket={socket}"]
        words += [
            "--pid-file=/run/munge.pid",
            "--seed-file=/run/munge.seed",
            f"--log-file={self.folder / 'munged.log'}",
        ]
        self.start(name, "munged", *words, log="munged.out")  # one for all nodes: they share the file of its socket
        nodes.until(socket.exists, "munged does not start")
        self.start(name, "slurmctld", "-D", "-i", "-f", self.settings, log="slurmctld.out")

    def all_idle(self) -> bool:
        """Whether all nodes are ready for jobs."""
        return self.ask("sinfo", "-h", "-p", "low", "-t", "idle", "-o", "%D") == str(len(self.names) - 1)

    def environment(self, **variables: str) -> dict[str, str]:
        """Return the environment of Slurm's commands."""
        return nodes.environment(SLURM_CONF=str(self.settings), **variables)

    def run(self, *command: object, **variables: str) -> subprocess.CompletedProcess:
        """Run a command on n0, where the users are."""
        words, env = self.on(CONTROLLER, *command), self.environment(**variables)
        return subprocess.run(words, env=env, capture_output=True, text=True, timeout=30, check=False)

    def ask(self, *command: object) -> str:
        """Return the output of a command on n0, "" if it fails."""
        return self.run(*command).stdout.strip()


def main() -> int:
    """Operate a cluster by hand."""
    folder, verb, *words = Path(sys.argv[1]), *sys.argv[2:]
    if verb == "up":
        if reason := missing():
            sys.exit(reason)
        folder.mkdir(parents=True)
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        count = int(words[0]) if words else 3
        with Slurm(folder, count, [folder, mpi_jobs.ROOT]) as slurm:
            (folder / "up").write_text(f"{os.getpid()} {count}")
            print(slurm.ask("sinfo"), flush=True)
            try:
                signal.pause()
            except KeyboardInterrupt:
                return 0
    owner, count = map(int, (folder / "up").read_text().split())
    slurm = Slurm(folder, count, [folder, mpi_jobs.ROOT])
    if verb == "on":
        os.environ["SLURM_CONF"] = str(slurm.settings)
        return subprocess.run(slurm.on(*words), check=False).returncode
    if verb == "down":
        os.kill(owner, signal.SIGTERM)
    elif verb in ("kill", "boot", "unplug", "plug"):
        getattr(slurm, verb)(words[0])
    else:
        sys.exit(__doc__)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""``distlenet launch``: exit codes, forwarded signals, and restarts."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import launches
import mpi_jobs
import pytest
import sessions
from faults import runs

from distlenet import cli
from distlenet.cli import build_parser
from distlenet.errors import ConfigError, RanksLost
from distlenet.launching import job as launch
from distlenet.launching import mpirun
from distlenet.runs.lock import notes

AUTO = ["--resume", "auto"]


@pytest.mark.parametrize(
    ("arguments", "is_ours", "expected"),
    [
        (["train", "--run", "a"], True, ["train", "--run", "a", *AUTO]),
        (["train", "--run", "a"], False, ["train", "--run", "a"]),
        (["train", "--run", "a", "--overwrite"], False, ["train", "--run", "a", "--overwrite"]),
        (["train", "--overwrite", "--run", "a"], True, ["train", "--run", "a", *AUTO]),
        *(  # the last --resume counts
            (["train", *resume, "--run", "a"], True, ["train", *resume, "--run", "a", *AUTO])
            for resume in (["--resume", "b/last.h5"], ["--resume=b/last.h5"], ["--resume"])
        ),
        (["train", "--run", "a", "--resume"], True, ["train", "--run", "a", "--resume", *AUTO]),
        (["train", "--resume", "b/last.h5", "--run", "a"], False, ["train", "--resume", "b/last.h5", "--run", "a"]),
    ],
)
def test_arguments_of_a_restart(monkeypatch, arguments, is_ours, expected):
    monkeypatch.setattr(launch, "notes", lambda path: {"job": "this" if is_ours else "another"})
    found = launch.arguments_now(launch.Job(2, arguments, Path("a")), "this")
    assert found == expected
    assert build_parser("train").parse(found).resume == ("auto" if is_ours else expected_resume(arguments))
    assert launch.arguments_now(launch.Job(2, arguments), "this") == arguments  # no run to resume


def expected_resume(arguments):
    return arguments[arguments.index("--resume") + 1] if "--resume" in arguments else None


OWN = "is an option of launch, not of {}: give it before the command"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("-n 2 train --run x --max-restarts 0", "--max-restarts " + OWN.format("train")),
        ("-n 2 train --run x --max-restarts=0", "--max-restarts " + OWN.format("train")),
        ("-n 2 -- train --run x --hosts=a:2", "--hosts " + OWN.format("train")),
        ("-n 2 evaluate x --no-fault-tolerance", "--no-fault-tolerance " + OWN.format("evaluate")),
        ("-n 2 evaluate x --stall-after 3", "--stall-after " + OWN.format("evaluate")),
        ("-n 2 repeat -n 3 --ranks 2 --run x", "--ranks " + OWN.format("repeat")),
        ("train -n 4 --run x", "-n " + OWN.format("train")),
        ("train --run x -n4", "-n " + OWN.format("train")),
        ("-n 2 train --run x --max-restart 1", "did you mean --max-restarts?"),
        ("-n 2 --epochs 3 train --run x", "--epochs is an option of train, not of launch"),
        ("-n 2 --lr=0.1 train --run x", "--lr is an option of train, not of launch"),
        ("-n 2 train --run x --epoch 3", "did you mean '--epochs'?"),
        ("-n 2 --max-restarts -1 train --run x", "--max-restarts: '-1', expected a whole number of at least 0"),
        ("-n 2 --stall-after nan train --run x", "--stall-after: 'nan', expected a number of at least 0"),
        ("repeat -n 5 --run x", "required: -n/--ranks"),
        ("train", "required: -n/--ranks"),
        ("-n 2", "launch needs the command to run"),
        ("-n 0 train", "-n/--ranks: '0', expected a whole number of at least 1"),
        ("-n two train", "-n/--ranks: 'two', expected a whole number"),
        ("-n 2 --stall-after -1 -- train", "--stall-after: '-1', expected a number of at least 0"),
        ("-n 2 predict x", "launch starts train, evaluate, repeat, compare, doctor, got 'predict'"),
    ],
)
def test_bad_usage_and_options_in_the_wrong_place(distlenet, only_sentence, words, message):
    only_sentence(distlenet("launch", *words.split()), 2, message)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("-n 100 train --run x", "100 ranks, but the training set is cut into 8 shards"),
        ("-n 3 train --run x --shards 2", "cut into 2 shards"),
        ("-n 5 train --run x --config CONFIG", "cut into 4 shards"),
        ("-n 5 train --run RUN --resume", "at most 4 ranks, because a resumed run keeps its shards"),
        ("-n 9 train --run new --resume", "give --shards 9 --batch-size 261, which changes the results"),
        ("-n 5 train --run other --resume RUN/checkpoints/last.h5", "cut into 4 shards"),
        ("-n 9 repeat -n 2 --run x", "9 ranks"),
        ("-n 10 compare fast slow:shards=4 --side-by-side 2 --run x", "5 ranks, but"),
        ("-n 1000000000 doctor", "this system has room for"),
    ],
)
def test_more_ranks_than_shards_are_refused_before_the_start(capsys, monkeypatch, digits, tmp_path, words, message):
    (tmp_path / "shards.toml").write_text("shards = 4\n")
    if "RUN" in words:
        flags = {"shards": 4, "batch_size": 64, "epochs": 1}
        assert sessions.train_run(digits, tmp_path / "run", flags=flags).code == 0
    monkeypatch.setattr(launch, "launch", lambda *_: pytest.fail("started"))
    words = words.replace("RUN", str(tmp_path / "run")).replace("CONFIG", str(tmp_path / "shards.toml"))
    assert cli.main(["launch", *words.split()]) == 7
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("ranks", [3, 16, 100])
@pytest.mark.parametrize("start", ["launch -n", "scale --steps 1 --oversubscribe --ranks"])
def test_the_settings_that_a_refusal_names_can_be_copied(capsys, monkeypatch, digits, tmp_path, ranks, start):
    monkeypatch.setattr(launch, "launch", lambda *_: 99)
    monkeypatch.setattr("distlenet.bench.study.Study.run", lambda *_: (130, {}))
    words = [*start.split(), f"{ranks}", "train", "--data", f"{digits}", "--run", f"{tmp_path / 'run'}"]
    words += ["--shards", "2", "--batch-size", "50"]
    assert cli.main(words) == 7
    advice = re.search(r"or give (.*), which changes", capsys.readouterr().err)[1]
    assert cli.main([*words, *advice.split()]) in (99, 130)


def test_ranks_train_with_the_settings_that_a_refusal_names(any_mpi, distlenet, digits, tmp_path, summary_of):
    words = ["train", "--data", digits, "--run", tmp_path / "run", "--recipe", "fast", "--epochs", 1, "--shards", 2]
    done = distlenet(*words, "--batch-size", 50, runtime=any_mpi, ranks=3).expect(7)
    advice = re.search(r"or give (.*), which changes", done.output)[1]
    distlenet(*words, *advice.split(), runtime=any_mpi, ranks=3).expect()
    assert summary_of(tmp_path / "run")["ranks"] == 3


@pytest.mark.parametrize("words", ["-n 8 train --run x", "-n 16 repeat -n 2 --run x --side-by-side 2", "-n 9 doctor"])
def test_as_many_ranks_as_shards_are_started(capsys, monkeypatch, words):
    started = []
    monkeypatch.setattr(launch, "launch", lambda job, restarts: started.append(job.ranks) or 0)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1})
    assert cli.main(["launch", *words.split()]) == 0
    assert started == [int(words.split()[1])]
    assert ("expect it to be slow" in capsys.readouterr().err) == (started[0] > 8)


def launched(*words, python=sys.executable, **variables):
    with launches.Launched("-n", 2, *words, python=python, **variables) as job:
        done = job.finish()
        assert not job.left_behind()
    return done


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--lr", "-1"], 3, "lr"),
        (["--data", "/nowhere.h5"], 4, "/nowhere.h5"),
        (["--shards", "1"], 7, "shards"),
    ],
)
def test_bad_input_is_not_retried(openmpi, digits, tmp_path, only_sentence, options, code, message):
    run = tmp_path / "run"
    done = launched("--max-restarts", 2, "train", "--data", digits, "--run", run, *options)
    only_sentence(done, code, message)
    assert "restart" not in done.output


def test_evaluate(openmpi, trained, digits, distlenet):
    words = ["evaluate", trained, "--data", digits, "--json"]
    done = launched("--max-restarts", 1, *words).expect()
    assert done.stdout == distlenet(*words).stdout
    assert "restart" not in done.output


def under_way(digits, run, python=sys.executable):
    """Return a job that trains until it is asked to end."""
    words = runs.train(digits, run, "--epochs", 1000, "--validation", 50)
    job = launches.Launched("-n", 2, "--max-restarts", 1, *words, python=python)
    try:
        mpi_jobs.wait_for((run / runs.FIRST_WRITES).exists, job)
        mpi_jobs.wait_for(lambda: runs.saved(run), job)
    except BaseException:
        job.close()
        raise
    return job


def stops(digits, run, number, python=sys.executable):
    """Send a signal to the launcher: the run is saved, ends with the signal's exit code, and can be resumed."""
    with under_way(digits, run, python) as job:
        job.process.send_signal(number)
        done = job.finish()
        assert not job.left_behind()
    assert done.returncode == 128 + number, done.output
    assert "Traceback" not in done.output, done.output
    assert runs.summary(run)["status"].startswith("stopped by "), done.output
    assert f"saved in {run}/checkpoints/last.h5; resume with the same command and --resume" in done.output
    progress = runs.newest(run).progress
    assert progress.steps == runs.summary(run)["steps"]
    end = ["--epochs", progress.epoch + 1, "--override", "epochs", "--resume", "auto"]
    runs.do(runs.train(digits, run, "--validation", 50, *end)).expect()
    assert runs.summary(run)["steps"] > progress.steps or progress.step == 0
    epochs = [line["epoch"] for line in runs.journal(run) if line["kind"] == "epoch"]
    assert epochs == sorted(set(epochs)) and len(epochs) == runs.summary(run)["epochs"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_ends(openmpi, digits, tmp_path, number):
    stops(digits, tmp_path / "run", number)


def test_the_same_signal_twice_counts_once(openmpi, digits, tmp_path):
    run = tmp_path / "run"
    with under_way(digits, run) as job:
        for _ in range(2):  # like a shell and a scheduler
            job.process.send_signal(signal.SIGTERM)
            time.sleep(0.02)
        done = job.finish()
    assert done.returncode == 143, done.output
    assert runs.newest(run).progress.steps == runs.summary(run)["steps"]


def test_a_signal_before_mpirun_is_started(openmpi, digits, tmp_path, monkeypatch):
    mpirun.which_mpi()  # caches the answer before Popen is replaced below
    real, started = subprocess.Popen, []

    def popen(command, **options):
        if "mpirun" not in command[0]:
            return real(command, **options)
        os.kill(os.getpid(), signal.SIGTERM)
        started.append(real(command, **options))
        return started[0]

    monkeypatch.setattr(launch.subprocess, "Popen", popen)
    words = runs.train(digits, tmp_path / "run", "--epochs", 1000)
    assert launch.launch(launch.Job(2, [str(word) for word in words], fault_tolerance=False), max_restarts=1) == 143
    assert len(started) == 1
    assert started[0].poll() is not None


@pytest.mark.parametrize("where", ["before", "after"])
def test_the_root_hangs_when_the_run_is_done(survivors_continue, digits, tmp_path, where):
    # SIGSTOP where no other rank waits for it: before or after it has written the exit code
    stops = f"""import os, signal
if os.environ.get("OMPI_COMM_WORLD_RANK") == "0":
    from distlenet import handshake
    tell = handshake.tell_launcher
    def tell_and_stop(*words, **named):
        {"os.kill(os.getpid(), signal.SIGSTOP)" if where == "before" else "tell(*words, **named)"}
        os.kill(os.getpid(), signal.SIGSTOP)
    handshake.tell_launcher = tell_and_stop
"""
    (tmp_path / "sitecustomize.py").write_text(stops)
    run, path = tmp_path / "run", f"{tmp_path}{os.pathsep}{mpi_jobs.ROOT}"
    words = runs.train(digits, run, "--epochs", 1)
    done = launched("--stall-after", 1, "--max-restarts", 1, *words, PYTHONPATH=path).expect()
    assert "the job was done 1 s ago, but a rank hangs: ending it" in done.output
    assert "restart" not in done.output
    assert runs.summary(run)["status"] == "complete"


def test_mpirun_hangs_when_a_rank_aborts_the_job(survivors_continue, digits, tmp_path, monkeypatch, capfd):
    (tmp_path / "sitecustomize.py").write_text("""import os, time
if os.environ.get("OMPI_COMM_WORLD_RANK") == "1":
    from distlenet import handshake
    tell = handshake.tell_aborted
    def tell_and_hang():
        tell()
        time.sleep(1000)
    handshake.tell_aborted = tell_and_hang
    from distlenet.runs import rank_comparison
    rank_comparison.compare_numerics = None  # calling it is a defect of this rank
""")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{mpi_jobs.ROOT}")
    monkeypatch.setattr(launch, "ABORT_SECONDS", 0.5)
    words = runs.train(digits, tmp_path / "run", "--epochs", 1)
    assert launch.launch(launch.Job(2, [str(word) for word in words])) == RanksLost.exit_code
    assert "a rank aborted the job, but mpirun hangs: ending it" in capfd.readouterr().err


def test_the_root_is_killed_while_it_leaves_the_exit_code(survivors_continue, digits, tmp_path):
    # its file is there, but empty: the code of the other ranks counts
    (tmp_path / "sitecustomize.py").write_text("""import os, pathlib, signal, time
if os.environ.get("OMPI_COMM_WORLD_RANK") == "0":
    from distlenet import handshake
    def create_and_die(code, left=False):
        path = pathlib.Path(os.environ[handshake.EXIT_FILE])
        while not path.with_name(handshake.LEFT).exists():
            time.sleep(0.01)
        path.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    handshake.tell_launcher = create_and_die
""")
    words = runs.train(digits, tmp_path / "run", "--epochs", 1)
    launched(*words, PYTHONPATH=f"{tmp_path}{os.pathsep}{mpi_jobs.ROOT}").expect()
    assert runs.summary(tmp_path / "run")["status"] == "complete"


@pytest.mark.parametrize("tolerance", [[], ["--no-fault-tolerance"]], ids=["survives", "does not survive"])
def test_a_result_that_cannot_be_shown_is_a_failure(openmpi, trained, digits, tmp_path, tolerance):
    fails = "import distlenet.ui, sys\nclass Refuse:\n"
    fails += "    def find_spec(self, name, path, target=None):\n"
    fails += "        if name == 'distlenet.ui.tables':\n            raise OSError('no such view')\n"
    (tmp_path / "sitecustomize.py").write_text(f"{fails}sys.meta_path.insert(0, Refuse())\n")
    path = f"{tmp_path}{os.pathsep}{mpi_jobs.ROOT}"
    done = launched(*tolerance, "evaluate", trained, "--data", digits, PYTHONPATH=path)
    assert done.returncode != 0, done.output
    assert "no such view" in done.output


def kill_ranks(job):
    for rank in job.ranks().values():
        os.kill(rank, signal.SIGKILL)


def test_all_ranks_killed_is_a_failure(survivors_continue, digits, tmp_path):
    with launches.Launched("-n", 2, *runs.train(digits, tmp_path / "run", "--epochs", 1000)) as job:
        mpi_jobs.wait_for(lambda: runs.saved(tmp_path / "run"), job)
        kill_ranks(job)
        done = job.finish()
    assert done.returncode == RanksLost.exit_code, done.output
    assert "distlenet launch: all ranks died" in done.output


@pytest.mark.parametrize(("name", "first_start"), [("run", ("last.h5", "3")), ("other", ("epoch-0001.h5", "2"))])
def test_a_restart_resumes_only_the_jobs_own_checkpoints(survivors_continue, digits, tmp_path, name, first_start):
    run, longer = tmp_path / "run", ["--epochs", 1000, "--override", "epochs,schedule", "--schedule", "constant"]
    runs.do(runs.train(digits, run, "--epochs", 2, "--keep-every", 1)).expect()
    words = runs.train(digits, tmp_path / name, *longer, "--resume", run / "checkpoints" / first_start[0])
    with launches.Launched("-n", 2, "--max-restarts", 1, *words) as job:
        mpi_jobs.wait_for(lambda: " epoch epoch=5/1000" in job.output_so_far(), job)
        kill_ranks(job)
        mpi_jobs.wait_for(lambda: job.output_so_far().count("resuming from") == 2, job)
        job.process.send_signal(signal.SIGTERM)
        done = job.finish()
    assert done.returncode == 143, done.output
    first, second = re.findall(r"resuming from \S+/(\S+): epoch (\d+)", done.output)
    assert first == first_start
    # the ranks may have died in a save, which writes best.h5 before last.h5
    assert second[0] in ("best.h5", "last.h5", "last-1.h5") and int(second[1]) >= 5


def test_a_folder_that_the_root_cannot_see(digits, tmp_path, only_sentence, runtime):
    command = runtime.command(2, "-m", "distlenet", *map(str, runs.train(digits, tmp_path / "run")))
    done = mpi_jobs.run(command, env=mpi_jobs.environment(DISTLENET_EXIT_FILE="/nowhere/exit-code"))
    only_sentence(done, 7, "does not see /nowhere, where `distlenet launch` waits for it")


def test_mpich(digits, tmp_path):
    found = mpi_jobs.find_runtime("mpich")
    if isinstance(found, str):
        pytest.skip(found)
    stops(digits, tmp_path / "run", signal.SIGTERM, found.python)


def test_sigusr1_saves_and_training_continues(openmpi, digits, tmp_path):
    def epochs() -> int:
        return job.output_so_far().count(" epoch epoch=")

    with under_way(digits, tmp_path / "run") as job:
        job.process.send_signal(signal.SIGUSR1)
        mpi_jobs.wait_for(lambda: "reason=requested " in job.output_so_far(), job)
        before = epochs()
        mpi_jobs.wait_for(lambda: epochs() > before + 1, job)
        job.process.send_signal(signal.SIGTERM)
        done = job.finish()
    assert done.returncode == 143, done.output


def test_a_restart_still_overwrites_the_old_run(digits, tmp_path):
    # all ranks die after taking the lock and before the old run is removed; the old run is not resumed
    run, marked = tmp_path / "run", tmp_path / "died"
    assert runs.do(runs.train(digits, run, "--epochs", 1, "--seed", 1)).returncode == 0
    old = runs.results(run)
    (tmp_path / "sitecustomize.py").write_text(
        "import os, signal\n"
        "from distlenet.runs.directory import LockedDirectory\n"
        "remove = LockedDirectory._remove_run\n"
        "def die(self):\n"
        f"    if not os.path.exists({str(marked)!r}):\n"
        f"        os.mkdir({str(marked)!r})\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    remove(self)\n"
        "LockedDirectory._remove_run = die\n"
    )
    words = runs.train(digits, run, "--epochs", 1, "--seed", 2, "--overwrite")
    path = f"{tmp_path}{os.pathsep}{mpi_jobs.ROOT}"
    done = launched("--no-fault-tolerance", "--max-restarts", 1, *words, PYTHONPATH=path)
    assert marked.exists() and "restart 1 of 1" in done.output, done.output
    assert done.returncode == 0, done.output
    alone = tmp_path / "alone"
    assert runs.do(runs.train(digits, alone, "--epochs", 1, "--seed", 2)).returncode == 0
    assert runs.results(run) == runs.results(alone) != old


def test_which_run_a_job_owns(digits, tmp_path, monkeypatch):
    # from its start on, not before
    run = tmp_path / "run"

    def owner():
        return notes(run / "lock").get("job")

    assert owner() is None
    assert sessions.train_run(digits, run, flags={"epochs": 0}).code == 0
    assert owner() is None
    monkeypatch.setenv("DISTLENET_LAUNCH_ID", "job-1")

    def die(*_):
        raise ConfigError("killed")

    for place in ("directory.LockedDirectory._remove_run", "writer.Journal"):
        with monkeypatch.context() as broken:
            broken.setattr(f"distlenet.runs.{place}", die)
            assert sessions.train_run(digits, run, flags={"epochs": 1}, overwrite=True).code == 3
        assert owner() is None
    assert sessions.train_run(digits, run, flags={"epochs": 0}, overwrite=True).code == 0
    assert owner() == "job-1"
    monkeypatch.setenv("DISTLENET_LAUNCH_ID", "job-2")
    assert sessions.train_run(digits, run, resume="auto").code == 0
    assert owner() == "job-2"
    monkeypatch.delenv("DISTLENET_LAUNCH_ID")
    assert sessions.train_run(digits, run, resume="auto").code == 0
    assert owner() is None


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("train --run elsewhere --run=~/run", "run"),  # the last one counts, ~ is expanded
        ("train --run ~/other --resume", "other"),
        ("evaluate ~/run", None),
        ("repeat -n 2 --run ~/run", None),  # resumes its runs by itself
    ],
)
def test_which_run_is_resumed_after_a_restart(tmp_path, monkeypatch, words, name):
    monkeypatch.setenv("HOME", str(tmp_path))
    started = []
    monkeypatch.setattr(launch, "launch", lambda job, restarts: started.append(job.run) or 0)
    assert cli.main(["launch", "-n", "2", *words.split()]) == 0
    assert started == [name and tmp_path / name]

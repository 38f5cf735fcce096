"""Ranks that no longer hold the same state are found and named at the next checkpoint, and no bad one is kept."""

import platform

import mpi_jobs
import numpy as np
import pytest
import sessions

from distlenet.errors import ReplicaError
from distlenet.runs.checkpoint_file import read_checkpoint
from distlenet.training.state import TrainState

FLAGS = {"epochs": 3, "batch_size": 96, "shards": 6, "lr": 0.03, "train_sample": 50}  # 7 steps an epoch
STEPS = 7


def flip(state: TrainState, what: str, place: int = 12345, bit: int = 3) -> None:
    """Flip one bit of one number of ``what``: a vector of the state, or with "good/..." of its good snapshot."""
    vector = (state.vectors() | {f"good/{name}": one for name, one in state.good.vectors.items()})[what]
    vector.view(np.uint32)[place] ^= np.uint32(1 << bit)


def flip_on(rank: int, step: int, what: str, **place: int):
    """Flip on ``rank`` when ``step`` steps are done."""

    def act(own, state, signals):
        if own == rank and state.progress.steps == step:
            flip(state, what, **place)

    return act


@pytest.mark.skipif(platform.machine() != "x86_64", reason="its BLAS has several kernels to choose from")
@pytest.mark.parametrize("optimizer", ["nesterov", "muon"])
def test_ranks_on_unlike_cpus_stay_together(openmpi, digits, tmp_path, optimizer):
    words = ["-m", "distlenet", "train", "--data", digits, "--run", tmp_path / "run", "--epochs", 2]
    words = [openmpi.python, *map(str, words), "--batch-size", "64", "--clip", "0.1", "--display", "plain"]
    words += ["--optimizer", optimizer]
    kinds = [["-n", "1", "-x", f"OPENBLAS_CORETYPE={kernel}"] for kernel in ("Nehalem", "Haswell")]
    done = mpi_jobs.run([openmpi.mpirun, *kinds[0], *words, ":", *kinds[1], *words])
    if "compute with other numerics" not in done.output:
        pytest.skip("this BLAS does not let one choose its kernel")
    assert done.returncode == 0, done.output


def good_checkpoints(run):
    """Return the steps of all checkpoints; each must be readable."""
    found = {path.name: read_checkpoint(path) for path in (run / "checkpoints").iterdir()}
    return {name: checkpoint.progress.steps for name, checkpoint in found.items()}


@pytest.mark.parametrize("what", ["theta", "optimizer/velocity"])
@pytest.mark.parametrize(("ranks", "rank"), [(2, 0), (2, 1), (3, 0), (3, 2), (5, 3)])
def test_a_flipped_bit_ends_the_run(digits, tmp_path, ranks, rank, what):
    # checkpoints at steps 4 and 8, epochs' ends at 7 and 14; the bit flips after step 9
    whole = sessions.train_run(digits, tmp_path / "whole", flags=FLAGS).expect()
    done = sessions.train_run(
        digits, tmp_path / "run", ranks, flip_on(rank, STEPS + 2, what), flags=FLAGS, save_steps=4, keep_newest=9
    ).expect(10)
    assert all(isinstance(error, ReplicaError) and error.agreed for error in done.codes)
    assert "after epoch 2, step 5," in done.error  # step 12 of the run: the next checkpoint
    if ranks == 2:
        assert "no majority agrees: rank 0: " in done.error and ", rank 1: " in done.error
    else:
        assert f"rank {rank} of {ranks} differ" in done.error
    assert "--resume auto" in done.error
    assert good_checkpoints(done.run) == {"last.h5": 8, "last-1.h5": 7, "last-2.h5": 4, "best.h5": 7}
    # the kept checkpoints are good: the run resumes from them to exactly the same end
    sessions.train_run(digits, tmp_path / "run", 2, resume="auto").expect()
    assert sessions.results(done.run) == sessions.results(whole.run)
    assert sessions.journal(done.run) == sessions.journal(whole.run)


@pytest.mark.parametrize("step", [0, 1])
def test_at_the_end_of_an_epoch(digits, tmp_path, step):
    # no checkpoints in between; a bit that flips in the last step is found too
    done = sessions.train_run(digits, tmp_path / "run", 3, flip_on(1, 2 * STEPS - step, "theta"), flags=FLAGS)
    assert done.code == 10
    assert "rank 1 of 3 differ" in done.error
    assert good_checkpoints(done.run) == {"last.h5": STEPS, "best.h5": STEPS}


def test_before_a_stop(digits, tmp_path):
    # the save that a signal requests does not save the bad state either
    def act(rank, state, signals):
        flip_on(1, STEPS + 1, "theta")(rank, state, signals)
        sessions.stop_after(STEPS + 2)(rank, state, signals)

    done = sessions.train_run(digits, tmp_path / "run", 3, act, flags=FLAGS).expect(10)
    assert good_checkpoints(done.run) == {"last.h5": STEPS, "best.h5": STEPS}


def test_two_ranks_of_five(digits, tmp_path):
    def act(rank, state, signals):
        if state.progress.steps == 3 and rank in (1, 4):
            flip(state, "optimizer/velocity", place=rank)

    done = sessions.train_run(digits, tmp_path / "run", 5, act, flags={**FLAGS, "optimizer": "momentum"})
    assert "ranks 1, 4 of 5 differ from the others" in done.error
    assert good_checkpoints(done.run) == {}


@pytest.mark.parametrize("place", [0, -1])
@pytest.mark.parametrize("bit", [0, 22, 31])
def test_every_bit_counts(digits, tmp_path, place, bit):
    # from the last bit of the fraction to the sign, in the first and the last number
    act = flip_on(1, STEPS, "theta", place=place, bit=bit)
    done = sessions.train_run(digits, tmp_path / "run", 2, act, flags=FLAGS).expect(10)
    assert good_checkpoints(done.run) == {}


@pytest.mark.parametrize(
    ("optimizer", "name"),
    [
        *(("adam", f"optimizer/{name}") for name in ("mean", "square")),
        ("rmsprop", "optimizer/square"),
        *(("sgd", name) for name in ("best/theta", "good/theta")),
    ],
)
def test_every_vector_of_the_state(digits, tmp_path, optimizer, name):
    flags = {**FLAGS, "optimizer": optimizer, "lr": 0.001}
    act = flip_on(2, STEPS + 2, name)
    done = sessions.train_run(digits, tmp_path / "run", 3, act, flags=flags, save_steps=1).expect(10)
    assert "rank 2 of 3 differ" in done.error


# the command line program, but rank 1 has other parameters after step 9 of the run
FLIPPING = """
import sys
import numpy as np
from distlenet.cli import main
from distlenet.parallel.connect import launched_rank
from distlenet.training import loop

take_step = loop.take_step

def flipping(state, *rest):
    done = take_step(state, *rest)
    if state.progress.steps == 9 and launched_rank() == 1:
        state.net.theta.view(np.uint32)[777] ^= np.uint32(8)
    return done

loop.take_step = flipping
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(("ranks", "words"), [(2, "no majority agrees"), (3, "rank 1 of 3 differ")])
def test_under_mpirun(any_mpi, digits, tmp_path, only_sentence, ranks, words):
    run = tmp_path / "run"
    flags = [word for name, value in FLAGS.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    arguments = ["train", "--data", str(digits), "--run", str(run), *flags, "--checkpoint-every", "4"]
    done = mpi_jobs.run(any_mpi.command(ranks, "-c", FLIPPING, *arguments, "--display", "plain"))
    only_sentence(done, 10, "after epoch 2, step 5", words)
    assert good_checkpoints(run) == {"last.h5": 8, "last-1.h5": 7, "best.h5": 7}

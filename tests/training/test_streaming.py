"""Whole runs that stream their shards: the same bits as from memory, and a clean end if the file is damaged."""

from functools import partial

import drawn
import numpy as np
import pytest
import sessions

from distlenet.data.plan import Plan
from distlenet.data.sources.drawing import draw_digits
from distlenet.errors import DataError
from distlenet.runs import experiment
from distlenet.runs.checkpoint_file import read_checkpoint
from distlenet.training import postmortem

FLAGS = {"epochs": 2, "batch_size": 96, "shards": 6, "lr": 0.03, "train_sample": 50, "seed": 5, "validation": 200}
STEPS = 32  # per epoch: 3,000 images, shards of 500, leaves of 16
STREAM = FLAGS | {"memory_limit": 0}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "drawn.h5"
    return drawn.write(path, 3200, 260)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(experiment, "Plan", partial(Plan, block=90))  # six blocks a shard, the last one short


@pytest.fixture
def whole(data, tmp_path):
    session = sessions.train_run(data, tmp_path / "whole", flags=FLAGS).expect()
    return session.run


@pytest.fixture
def copied(data, tmp_path):
    path = tmp_path / "copied.h5"
    path.write_bytes(data.read_bytes())
    return path


def damage(path, row):
    """Change a pixel of a training image; returns a function that undoes it."""
    stored = path.read_bytes()
    place = stored.find(draw_digits(1000, seed=1)[0].tobytes()) + row * 784 + 400
    path.write_bytes(stored[:place] + bytes([stored[place] ^ 1]) + stored[place + 1 :])
    return lambda: path.write_bytes(stored)


@pytest.mark.parametrize("ranks", [1, 2, 3, 6])
def test_the_same_bits_as_in_memory(data, tmp_path, whole, ranks):
    session = sessions.train_run(data, tmp_path / "run", ranks, flags=STREAM).expect()
    assert sessions.results(session.run) == sessions.results(whole)
    assert sessions.journal(session.run) == sessions.journal(whole)


def test_a_run_resumes_in_the_middle_of_a_block_and_with_another_limit(data, tmp_path, whole):
    run = tmp_path / "run"
    assert sessions.train_run(data, run, 2, sessions.stop_after(13), flags=STREAM).code == 130
    assert sessions.train_run(data, run, 3, sessions.stop_after(STEPS + 2), resume="auto").code == 130
    assert sessions.train_run(data, run, 1, resume="auto", flags={"memory_limit": 100}).code == 0
    assert sessions.results(run) == sessions.results(whole)


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_damage_ends_all_ranks_and_the_run_resumes_once_it_is_fixed(copied, tmp_path, whole, ranks):
    run, repair = tmp_path / "run", damage(copied, 1234)
    session = sessions.train_run(copied, run, ranks, flags=STREAM).expect(4)
    assert "rows 1,000 to 1,999 of /train do not match their SHA-256" in session.error
    assert read_checkpoint(run / "checkpoints/last.h5").progress.steps < 2 * STEPS
    repair()
    assert sessions.train_run(copied, run, ranks, resume="auto").code == 0
    assert sessions.results(run) == sessions.results(whole)


def test_damage_under_mpirun_is_one_sentence(copied, tmp_path, any_mpi, distlenet, only_sentence):
    damage(copied, 1234)  # shard 2: only rank 0 reads it; rank 1 reads a neighbour under the same digest
    settings = ["--memory-limit", 0, "--batch-size", 96, "--shards", 6, "--display", "quiet"]
    done = distlenet("train", "--data", copied, "--run", tmp_path / "run", *settings, runtime=any_mpi, ranks=2)
    only_sentence(done, 4, "is damaged", "rows 1,000 to 1,999 of /train", "distlenet prepare")


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_damage_that_the_curvature_pass_meets(data, copied, tmp_path, ranks):
    settings = STREAM | {"optimizer": "levenberg-marquardt", "lr": 0.001, "epochs": 1}
    whole = sessions.train_run(data, tmp_path / "whole", 1, flags=settings)
    repair = damage(copied, 1234)  # in the images of one rank
    session = sessions.train_run(copied, tmp_path / "run", ranks, flags=settings).expect(4)
    assert "rows 1,000 to 1,999 of /train do not match their SHA-256" in session.error
    assert (tmp_path / "run/checkpoints/last.h5").exists()
    repair()
    assert sessions.train_run(copied, tmp_path / "run", ranks, resume="auto").code == whole.code == 0
    assert sessions.results(tmp_path / "run") == sessions.results(whole.run)


@pytest.mark.parametrize("settings", [STREAM, FLAGS])
@pytest.mark.parametrize(("ranks", "row"), [(1, 3150), (3, 3010), (3, 3190)])
def test_damaged_validation_images_are_found_before_the_first_step(copied, tmp_path, settings, ranks, row):
    damage(copied, row)
    session = sessions.train_run(copied, tmp_path / "run", ranks, flags=settings).expect(4)
    assert "rows 3,000 to 3,199 of /train do not match their SHA-256" in session.error
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("ranks", [1, 3])
def test_validation_images_damaged_during_training_cost_no_epoch(copied, tmp_path, whole, ranks):
    repairs = []

    def act(rank, state, signals):
        if rank == 0 and state.progress.steps == STEPS - 3:
            repairs.append(damage(copied, 3150))

    sessions.train_run(copied, tmp_path / "run", ranks, act, flags=FLAGS).expect(4)
    assert read_checkpoint(tmp_path / "run/checkpoints/last.h5").progress.step == STEPS
    repairs[0]()
    done = sessions.train_run(copied, tmp_path / "run", 2, resume="auto").expect()
    assert any(text.endswith("last.h5: the evaluation of epoch 1") for text in done.notices)
    assert sessions.results(tmp_path / "run") == sessions.results(whole)
    assert sessions.journal(tmp_path / "run") == sessions.journal(whole)


@pytest.mark.parametrize("ranks", [2, 3])
def test_a_post_mortem_whose_images_one_rank_cannot_read(copied, tmp_path, monkeypatch, ranks):
    real = postmortem.sample_images

    def unreadable(leaves, epoch):
        if 2 in leaves.shards:
            raise DataError("those rows are damaged")
        return real(leaves, epoch)

    def act(rank, state, signals):
        state.net.theta[5] = np.inf

    monkeypatch.setattr(postmortem, "sample_images", unreadable)
    sessions.train_run(copied, tmp_path / "run", ranks, act, flags=STREAM).expect(4, "those rows are damaged")


@pytest.mark.parametrize("ranks", [2, 3])
def test_debug_whose_images_one_rank_cannot_read(copied, tmp_path, ranks):
    damage(copied, 1234)
    session = sessions.train_run(copied, tmp_path / "run", ranks, flags=STREAM, debug=True)
    assert session.code == 4 and "do not match their SHA-256" in session.error

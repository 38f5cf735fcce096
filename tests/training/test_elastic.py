"""Ranks die at any of their messages; the others go on, and what comes out is as if nothing had happened."""

import mortal
import numpy as np
import pytest
import sessions

from distlenet.errors import RanksLost
from distlenet.training.checkpoint_file import read_checkpoint

FLAGS = {"flags": {"batch_size": 112, "shards": 7, "train_sample": 50, "epochs": 2, "validation": 100}}
RANKS = 3


@pytest.fixture(scope="module")
def undisturbed(digits, tmp_path_factory):
    """A run in which nobody dies; how many MPI calls each rank makes until the first step is done, and in all."""
    run, job, first = tmp_path_factory.mktemp("undisturbed") / "run", mortal.Job(RANKS, {}), {}
    session = train(digits, run, job, act=lambda rank, state, signals: first.setdefault(rank, job.calls[rank]))
    assert session.code == 0
    return run, first, job.calls


def train(digits, run, job=None, **options):
    return sessions.train_run(digits, run, mortals=job, log_every=1, save_steps=3, **(FLAGS | options))


def outcome(run):
    """Return all of a run that no death may change."""
    last = read_checkpoint(run / "checkpoints/last.h5")
    return sessions.results(run), sessions.journal(run), last.theta.tobytes()


def survive(undisturbed, digits, run, deaths):
    """Train while ranks die, and see that the end is the undisturbed one; return what became of the job."""
    whole, first, _ = undisturbed
    session, came = train(digits, run, mortal.Job(RANKS, deaths)), "went on"
    if RanksLost in map(type, session.codes):  # before all had begun to train: the launcher starts the job again
        came = "begun anew"
        assert any(call <= first[rank] for rank, call in deaths.items())
        session = train(digits, run, resume="auto")
    assert session.code == 0
    assert outcome(run) == outcome(whole)
    return came


@pytest.mark.parametrize("rank", range(RANKS))
def test_a_rank_dies_at_any_of_its_calls(undisturbed, digits, tmp_path, soak, rank):
    calls, trials = undisturbed[2][rank], soak.count(200)
    with soak.fault(f"a pretend rank {rank} that dies at one of its {calls} calls") as fault:
        # from the last to the first: the end of a run is where most things follow one another
        for call in np.unique(np.geomspace(1, calls, trials).astype(int)):
            with fault.trial(calls + 1 - call):
                fault.saw(survive(undisturbed, digits, tmp_path / str(call), {rank: int(calls + 1 - call)}))


def test_two_die_at_about_the_same_time(undisturbed, digits, tmp_path, soak):
    random, calls = np.random.default_rng(11), undisturbed[2]
    with soak.fault("two pretend ranks of three that die one soon after the other") as fault:
        for trial in range(soak.count(200)):
            first, second = (int(rank) for rank in random.permutation(RANKS)[:2])
            when = random.random()
            soon = int(random.integers(30))  # calls: the recovery from the first death takes about as many
            deaths = {first: 1 + int(when * calls[first]), second: 1 + int(when * calls[second]) + soon}
            with fault.trial(deaths):
                fault.saw(survive(undisturbed, digits, tmp_path / str(trial), deaths))

"""Ranks die at any of their messages; the others continue, and the result is as if nothing had happened."""

import mortal
import numpy as np
import pytest
import sessions

from distlenet.data.leaves import Leaves
from distlenet.errors import DataError, RanksLost
from distlenet.runs.checkpoint_file import read_checkpoint

FLAGS = {"flags": {"batch_size": 112, "shards": 7, "train_sample": 50, "epochs": 2, "validation": 100}}
RANKS = 3


@pytest.fixture(scope="module")
def undisturbed(digits, tmp_path_factory):
    """A run in which no rank dies, and the MPI calls of each rank: until the first step is done, and in total."""
    run, job, first = tmp_path_factory.mktemp("undisturbed") / "run", mortal.Job(RANKS, {}), {}
    train(digits, run, job, act=lambda rank, state, signals: first.setdefault(rank, job.calls[rank])).expect()
    return run, first, job.calls


def train(digits, run, job=None, **options):
    return sessions.train_run(digits, run, mortals=job, log_every=1, **({"save_steps": 3} | FLAGS | options))


def outcome(run):
    """Return everything in a run that no death may change."""
    last = read_checkpoint(run / "checkpoints/last.h5")
    return sessions.results(run), sessions.journal(run, "epoch"), last.theta.tobytes()


def survive(undisturbed, digits, run, deaths):
    """Train while ranks die, and check that the result is the undisturbed one; return how the job continued."""
    whole, first, _ = undisturbed
    session, how = train(digits, run, mortal.Job(RANKS, deaths)), "survived"
    if RanksLost in map(type, session.codes):  # before all ranks had started training: the launcher restarts the job
        how = "restarted"
        assert any(call <= first[rank] for rank, call in deaths.items())
        session = train(digits, run, resume="auto")
    assert session.code == 0
    assert outcome(run) == outcome(whole)
    steps, expected = sessions.journal(run, "step"), sessions.journal(whole, "step")
    missing = [line for line in expected if line not in steps]  # steps that neither the old nor the new root took
    assert len(missing) <= len(deaths) and steps == [line for line in expected if line not in missing]
    return how


@pytest.mark.parametrize("rank", range(RANKS))
def test_a_rank_dies_at_any_of_its_calls(undisturbed, digits, tmp_path, soak, rank):
    calls, trials = undisturbed[2][rank], soak.count(200)
    with soak.fault(f"a pretend rank {rank} that dies at one of its {calls} calls") as fault:
        # from the last call to the first: most happens at the end of a run
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


WILD = {"flags": FLAGS["flags"] | {"optimizer": "rmsprop", "lr": 0.001}}
SPOILED = {"theta": 9, "optimizer": 7}  # by vector: after how many steps the update leaves an infinity in it


@pytest.fixture(scope="module")
def spoiled(digits, tmp_path_factory):
    """For each spoiled vector: a run that heals and in which no rank dies."""
    found = {}
    for what in SPOILED:
        run = tmp_path_factory.mktemp("spoiled") / "run"
        assert train(digits, run, mortal.Job(RANKS, {}), act=spoil(what), **WILD).code == 0
        found[what] = run
    return found


def spoil(what, job=None, deaths=()):
    """Return an act that leaves an infinity in the state, once, and lets ranks die some calls later."""

    def act(rank, state, signals):
        if state.progress.steps == SPOILED[what] and not state.progress.divergences:
            vector = state.net.theta if what == "theta" else state.optimizer.state["square"]
            vector[5] = np.inf
            for name, calls in dict(deaths).items():
                if name == rank:
                    job.deaths[name] = job.calls[name] + calls

    return act


@pytest.mark.parametrize("what", SPOILED)
@pytest.mark.parametrize("deaths", [{1: 1}, {2: 3}, {0: 2}, {1: 20}, {0: 1, 2: 30}])
def test_a_rank_dies_when_an_update_has_spoiled_the_state(digits, tmp_path, spoiled, what, deaths):
    job = mortal.Job(RANKS, {})
    train(digits, tmp_path / "run", job, act=spoil(what, job, deaths), **WILD).expect()
    assert job.dead >= set(deaths)
    assert outcome(tmp_path / "run") == outcome(spoiled[what])
    summaries = [sessions.summary(run) for run in (tmp_path / "run", spoiled[what])]
    assert summaries[0]["divergences"] == summaries[1]["divergences"] != []


def test_a_requested_save_does_not_make_a_run_heal_earlier(digits, tmp_path, spoiled):
    harm = spoil("optimizer")

    def act(rank, state, signals):
        harm(rank, state, signals)
        signals.save = rank == 0 and state.progress.steps == SPOILED["optimizer"] - 1

    assert train(digits, tmp_path / "run", mortal.Job(RANKS, {}), act=act, save_steps=1, **WILD).code == 0
    assert outcome(tmp_path / "run")[0] == outcome(spoiled["optimizer"])[0]


@pytest.mark.parametrize("when", [6, 11])
def test_the_lost_ranks_shards_cannot_be_read(digits, tmp_path, monkeypatch, when):
    job, real = mortal.Job(RANKS, {}), Leaves.own

    def own(leaves, shards):
        if leaves.__dict__.get("shards") and 6 in shards:
            raise DataError("those rows are damaged")
        real(leaves, shards)

    def act(rank, state, signals):
        if rank == 2 and state.progress.steps == when:
            job.deaths[2] = job.calls[2] + 1

    monkeypatch.setattr(Leaves, "own", own)
    train(digits, tmp_path / "run", job, act=act).expect(4, "those rows are damaged")
    assert read_checkpoint(tmp_path / "run/checkpoints/last.h5").position[0] >= when
    assert sessions.summary(tmp_path / "run")["failure"] == "DataError"

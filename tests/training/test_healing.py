"""Runs that really diverge: they heal to the same bits on any number of ranks, interrupted or not."""

import json
import os
import types
from unittest import mock

import mortal
import pytest
import sessions
from checkpoints import no_room

from distlenet.errors import ConfigError, RanksLost
from distlenet.parallel import Serial
from distlenet.runs import keeper
from distlenet.runs.checkpoint_file import read_checkpoint
from distlenet.runs.choice import find_checkpoint
from distlenet.training import loss_watch
from distlenet.training.events import CheckpointSaved, Diverged

FLAGS = {
    **{"batch_size": 64, "shards": 8, "train_sample": 50, "rotate": 0.0, "shift": 0.0, "zoom": 0.0, "epochs": 8},
    **{"schedule": "constant", "lr": 0.02, "seed": 1},
}
STEPS = 11  # an epoch
HARMED = {"dead": 3, "spike": 69, "non-finite": 72}  # steps after which the network is harmed, alike on every rank


def harm(name, state):
    """Make the run diverge, once. A wild rate would not do: its effect depends on the last bit of every product."""
    if state.progress.steps == HARMED[name] and not state.progress.divergences:
        value = {name: parameter.value for name, parameter in state.net.parameters.items()}
        if name == "dead":
            value["C3/b"][:] = -1000
        elif name == "spike":
            value["output/b"][0] = 1000
        else:
            value["C1/W"][:] = 3e38


@pytest.fixture(scope="module", autouse=True)
def hasty():
    """Judge after fewer steps than usual, because the runs are short."""
    with mock.patch.multiple(loss_watch, DEAD_STEPS=60, SPIKE_STEPS=8):
        yield


@pytest.fixture(scope="module")
def healed(digits, tmp_path_factory):
    """The three cases, each in one process and undisturbed."""
    folder = tmp_path_factory.mktemp("healed")
    return {name: train(digits, folder / name, name) for name in HARMED}


def train(digits, run, name, ranks=1, act=lambda *_: None, more=types.MappingProxyType({}), **options):
    def harmful(rank, state, signals):
        harm(name, state)
        act(rank, state, signals)

    flags = {"flags": {**FLAGS, **more}} if "resume" not in options else {}
    return sessions.train_run(digits, run, ranks, harmful, log_every=1, **flags, **options)


def outcome(run):
    """Return everything in a run that neither ranks nor interruptions may change."""
    summary = sessions.summary(run)
    last = read_checkpoint(run / "checkpoints/last.h5")
    return (
        sessions.results(run),
        summary["divergences"],
        summary["lr_factor"],
        sessions.journal(run),
        last.theta.tobytes(),
        (last.progress.factor, last.progress.divergences, last.progress.watch, last.good and last.good.progress),
    )


@pytest.mark.parametrize("name", HARMED)
def test_it_heals(healed, name):
    session = healed[name]
    assert session.code == 0
    (record,) = sessions.summary(session.run)["divergences"]
    assert record["kind"] == name
    # a run that has not learned anything yet starts again
    first = "gone back to epoch 1, step 1, the rate is 0.5" in record["action"]
    assert first == (name == "dead")
    assert record["lr_factor"] == 0.5
    if name == "non-finite":  # the gradient of the step after the harm
        assert (record["epoch"], record["step"]) == divmod(HARMED[name], STEPS)
    assert any(record["action"] in text for text in session.notices)
    steps = [line["steps"] for line in sessions.journal(session.run, "step")]
    assert steps == list(range(1, FLAGS["epochs"] * STEPS + 1))  # without the steps that it went back from
    rates = [line["lr"] for line in sessions.journal(session.run, "epoch")]
    assert rates[-1] == 0.01
    assert session.events[-1].summary["status"] == "complete"


@pytest.mark.parametrize("name", HARMED)
def test_the_post_mortem(healed, name):
    run = healed[name].run
    found, text = (run / "postmortem" / f"1.{kind}" for kind in ("json", "txt"))
    report = json.loads(found.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    (event,) = [event for event in healed[name].events if isinstance(event, Diverged)]
    assert report["findings"] == event.report["findings"]
    assert all(finding in text.read_text() for finding in report["findings"])
    assert len(report["steps"]) == len(report["gradient_norms"]["C3/W"]) == min(200, report["now"]["steps"])
    assert [layer["name"] for layer in report["now"]["layers"]][:2] == ["C1", "C1.activation"]


@pytest.mark.parametrize(("name", "ranks"), [("dead", 3), ("spike", 2), ("non-finite", 5)])
def test_on_several_ranks(healed, digits, tmp_path, name, ranks):
    assert train(digits, tmp_path / "run", name, ranks).code == 0
    assert outcome(tmp_path / "run") == outcome(healed[name].run)


@pytest.mark.parametrize("name", ["spike", "non-finite"])
def test_a_rank_dies_while_a_diverged_run_ends(digits, tmp_path, name):
    stops, deaths = {"more": {"on_divergence": "stop"}}, mortal.Job(3, {})
    whole = train(digits, tmp_path / "whole", name, mortals=deaths, **stops)
    for before in (1, 8, 20, 30):  # dies that many calls before its last one
        run = tmp_path / str(before)
        session = train(digits, run, name, mortals=mortal.Job(3, {2: deaths.calls[2] - before}), **stops)
        assert session.error == whole.error
        assert outcome(run)[:4] == outcome(whole.run)[:4], before  # it may have saved once more
        (record,) = sessions.summary(run)["divergences"]
        assert record["action"] == "stopped"


@pytest.mark.parametrize("name", ["dead", "non-finite"])
def test_stopped_before_and_after(healed, digits, tmp_path, name):
    run = tmp_path / "run"

    def healed_and_on(rank, state, signals):
        if state.progress.divergences and state.progress.step == 3:
            signals.ask_to_stop()

    # stopped within an epoch: the checkpoint also holds the earlier good state
    assert train(digits, run, name, 2, sessions.stop_after(27 if name == "dead" else 69)).code == 130
    checkpoint = read_checkpoint(run / "checkpoints/last.h5")
    assert checkpoint.good.progress.steps < checkpoint.position[0]
    assert train(digits, run, name, 1, healed_and_on, resume="auto").code == 130
    assert train(digits, run, name, 3, resume="auto").code == 0
    assert outcome(run) == outcome(healed[name].run)


@pytest.mark.parametrize("newest", [1, 2])
@pytest.mark.parametrize("trouble", ["killed", "a full disk"])
def test_the_save_after_going_back_fails(healed, digits, tmp_path, monkeypatch, trouble, newest):
    run, real, refused = tmp_path / "run", keeper.write_checkpoint, []

    def write(path, state, *others):
        if state.progress.divergences and state.progress.steps <= 1 and not refused:
            refused.append(read_checkpoint(run / "checkpoints/last.h5").progress.order)
            if trouble == "killed":
                raise ConfigError("the power is cut")
            no_room()
        real(path, state, *others)

    monkeypatch.setattr(keeper, "write_checkpoint", write)
    done = train(digits, run, "dead", keep_newest=newest, save_steps=4)
    assert refused == [(0, 56, 5)]  # from there it diverges again, and goes back
    if trouble == "killed":
        assert done.code == 3
        assert train(digits, run, "dead", resume="auto", keep_newest=newest, save_steps=4).code == 0
    assert outcome(run) == outcome(healed["dead"].run)


def test_checkpoints_from_before_a_healing_are_not_resumed(healed, digits, tmp_path):
    # although they have more steps
    run = tmp_path / "run"

    def act(rank, state, signals):
        if state.progress.divergences and state.progress.steps == 5:
            raise ConfigError("the power is cut")

    assert train(digits, run, "dead", 1, act, keep_every=1, keep_newest=99, save_steps=4).code == 3
    orders = {path.name: read_checkpoint(path).progress.order for path in (run / "checkpoints").iterdir()}
    assert max(orders.values()) == orders["last.h5"] == (1, 4, 0)
    assert orders["epoch-0005.h5"] == (0, 55, 5) and "best.h5" not in orders and "best.h5.aside" in orders
    last = read_checkpoint(run / "checkpoints/last.h5")
    assert find_checkpoint(run).theta.tobytes() == last.theta.tobytes()  # there is no best epoch yet
    assert train(digits, run, "dead", 2, resume="auto").code == 0
    assert outcome(run) == outcome(healed["dead"].run)


@pytest.mark.parametrize("call", range(5))
def test_ranks_lost_meanwhile(healed, digits, tmp_path, monkeypatch, call):
    class Losing(Serial):
        """Loses a rank in one of the messages after the run was found dead."""

        calls = 0

        def allgather(self, value):
            self.count()
            return super().allgather(value)

        def broadcast(self, value, source=0):
            self.count()
            return super().broadcast(value, source)

        def count(self):
            if self.calls or (watching and watching[0].verdict):
                self.calls += 1
                if self.calls == call + 1:
                    raise RanksLost("a rank was lost")

    watching = []

    def act(rank, state, signals):
        watching[:] = [state.progress.watch]

    monkeypatch.setattr(sessions, "Serial", Losing)
    session = train(digits, tmp_path / "run", "dead", 1, act).expect()
    assert any("ranks lost" in text for text in session.notices)
    assert outcome(tmp_path / "run") == outcome(healed["dead"].run)


def test_under_mpirun(openmpi, digits, tmp_path, distlenet):
    flags = {**FLAGS, "epochs": 2, "lr": 1e4, "clip": 0.0, "max_heals": 30}
    words = [word for name, value in flags.items() for word in (f"--{name.replace('_', '-')}", value)]
    found = []
    for ranks in (1, 2):  # both in separate processes, because this one has fewer SPIKE_STEPS
        run = tmp_path / str(ranks)
        done = distlenet(
            "train", "--data", digits, "--run", run, "--display", "plain", *words, runtime=openmpi, ranks=ranks
        ).expect()
        assert "gone back to epoch" in done.output
        summary = sessions.summary(run)
        found.append((summary["theta_sha256"], summary["divergences"]))
        assert (run / "postmortem/1.txt").exists()
    assert found[0] == found[1]
    assert found[0][1][0]["kind"] == "non-finite"


def test_stop(digits, tmp_path):
    session = train(digits, tmp_path / "run", "dead", 2, more={"on_divergence": "stop"}).expect(14)
    assert "no better than guessing for 60 steps" in session.error
    assert "lower --lr" in session.error
    summary = sessions.summary(tmp_path / "run")
    assert [record["action"] for record in summary["divergences"]] == ["stopped"]
    assert (tmp_path / "run/postmortem/1.txt").exists()
    assert "test_accuracy" not in summary


def test_ignore(digits, tmp_path):
    train(digits, tmp_path / "run", "dead", more={"on_divergence": "ignore", "epochs": 6}).expect()
    assert sessions.results(tmp_path / "run")["steps"] == 6 * STEPS
    assert sessions.summary(tmp_path / "run")["divergences"] == []


def test_a_hopeless_run_ends(digits, tmp_path):
    flags = {**FLAGS, "lr": 1e30, "clip": 0.0, "max_heals": 2}
    session = sessions.train_run(digits, tmp_path / "run", flags=flags).expect(8)
    assert "after going back 2 times to lower rates" in session.error
    assert "epoch 1, step 2" in session.error
    assert sorted(os.listdir(tmp_path / "run/postmortem")) == sorted(
        f"{n}.{k}" for n in (1, 2, 3) for k in ("json", "txt")
    )
    divergences = sessions.summary(tmp_path / "run")["divergences"]
    assert [record["lr_factor"] for record in divergences] == [0.5, 0.25, 0.25]


def test_a_network_that_is_alive_is_left_alone(digits, tmp_path):
    flags = {**FLAGS, "lr": 1e-6, "init": "he"}

    def save_always(rank, state, signals):
        signals.save = True  # also at the step where it is found alive

    session = sessions.train_run(digits, tmp_path / "run", 1, save_always, flags=flags).expect()
    assert sum("the network is alive" in text for text in session.notices) == 1
    reasons = [event.reason for event in session.events if isinstance(event, CheckpointSaved)]
    assert reasons.count("requested") == FLAGS["epochs"] * STEPS - 1  # after every step but the first
    assert sessions.summary(tmp_path / "run")["divergences"] == []

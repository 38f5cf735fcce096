"""A run gives the same bits on any number of ranks, whether or not batches, shards and ranks divide evenly.

The real training loop on pretend ranks, threads of this process (see pretend.py), compared with one rank
alone: parameters, optimizer, the loss of every step, every evaluation. The same under real MPIs, with
fewer cases, is in test_same_bits.py.
"""

import dataclasses
from pathlib import Path
from typing import Any

import drawn
import numpy as np
import pretend
import pytest
import sessions
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from distlenet.data.plan import Plan
from distlenet.data.sources.drawing import draw_digits
from distlenet.errors import LaunchError
from distlenet.parallel import Communicator, Serial
from distlenet.runs.experiment import RunOptions, set_up
from distlenet.training.loop import LoopOptions, train
from distlenet.training.signals import Signals

RANKS = (1, 2, 3, 4, 5, 8)
SHARDS = (1, 2, 4, 6, 8, 16)
LEAVES = (1, 4, 7, 11, 16, 32)
RATES = {
    **{"sgd": 0.1, "momentum": 0.02, "nesterov": 0.02, "rmsprop": 0.001, "adam": 0.001},
    "levenberg-marquardt": 0.001,
}
TOTAL = 560  # images in the file; those that are not trained on are held back for validation


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("bits") / "drawn.h5"
    train, test = draw_digits(TOTAL, seed=11), draw_digits(263, seed=12)
    return drawn.write(path, train, test)


def flags(shards: int, leaf: int, samples: int, optimizer: str, **more: Any) -> dict[str, Any]:
    """Return settings of a short run on the first ``samples`` images."""
    own = {"shards": shards, "batch_size": shards * leaf, "validation": TOTAL - samples, "train_sample": 97}
    return {"epochs": 2, **own, "optimizer": optimizer, "lr": RATES[optimizer], **more}


def whole_run(data: Path, flags: dict[str, Any], comm: Communicator) -> dict[str, Any]:
    """Train and evaluate; return everything that must not depend on the number of ranks."""
    signals = Signals()
    experiment = set_up(RunOptions(data=str(data), run_directory="nowhere", flags=flags), comm, signals)
    state = experiment.state
    options = LoopOptions(experiment.schedule, flags["epochs"], signals)
    with np.errstate(all="ignore"):
        events = [
            sessions.timeless({"kind": type(event).__name__, **dataclasses.asdict(event)})
            for event in train(state, experiment.leaves, experiment.epoch_end, options, comm)
        ]
    test = experiment.epoch_end.evaluate(state.net, experiment.slices.test)
    return {
        "theta_sha256": state.theta_sha256(),
        "theta": state.net.theta.tobytes(),
        "optimizer": {name: vector.tobytes() for name, vector in state.optimizer.state.items()},
        "events": events,
        "test": (test.loss, test.confusion.tolist()),
        "best": (state.progress.best_accuracy, state.progress.best_epoch, state.best_theta.tobytes()),
        "steps": state.progress.steps,
    }


def check_same(data: Path, flags: dict[str, Any], ranks: list[int]) -> dict[str, Any]:
    """Compare one rank alone with every rank of each number of pretend ranks."""
    alone = whole_run(data, flags, Serial())
    for size in ranks:
        for rank, found in enumerate(pretend.run(size, lambda comm: whole_run(data, flags, comm))):
            differing = [key for key in alone if found[key] != alone[key]]
            assert not differing, f"rank {rank} of {size} has other {differing} with {flags}"
    return alone


# (shards, leaf, images trained on, optimizer, more)
CASES = [
    (1, 32, 211, "sgd", {}),
    (2, 7, 211, "nesterov", {"rotate": 0.0, "shift": 0.0, "zoom": 0.0}),
    (4, 11, 353, "momentum", {"schedule": "cosine"}),
    (6, 16, 500, "adam", {}),  # shards of 83 and 84 rows: a last leaf of 3 or 4
    (6, 7, 211, "rmsprop", {"activation": "tanh", "pooling": "max"}),  # 35 = 5 * 7 rows, one shard 36: empty leaves
    (8, 11, 353, "nesterov", {"clip": 0.01}),  # 44 = 4 * 11 rows, one shard 45: seven empty leaves
    (8, 32, 500, "adam", {"weight_decay": 0.01}),
    (16, 1, 211, "momentum", {"epochs": 1}),
    (16, 11, 353, "sgd", {}),  # 22 = 2 * 11 rows, one shard 23
    (4, 4, 211, "levenberg-marquardt", {"model": "lenet5-1998", "init": "fan-in"}),
    (6, 7, 211, "levenberg-marquardt", {}),
    (16, 7, 500, "rmsprop", {"train_sample": -1}),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, case[:4])))
def test_any_number_of_ranks(data, case):
    shards = case[0]
    alone = check_same(data, flags(*case[:4], **case[4]), [size for size in RANKS if size <= shards])
    assert alone["steps"] >= 4
    losses = [event["loss"] for event in alone["events"] if event["kind"] == "StepDone"]
    assert len(set(losses)) == alone["steps"]  # it trains


def test_the_cases_cover_what_they_claim():
    plans = [(case, Plan(case[2], case[0], case[0] * case[1], 1)) for case in CASES]

    def last_leaves(plan: Plan) -> list[int]:
        last = plan.steps_per_epoch - 1
        return [len(plan.rows(0, last, shard)) for shard in range(plan.shards)]

    assert {case[0] for case in CASES} == set(SHARDS)
    assert {case[1] for case in CASES} == set(LEAVES)
    assert {case[3] for case in CASES} == set(RATES)
    # shards that run out one step before others, and short leaves of different lengths
    assert sum(0 in last_leaves(plan) for _, plan in plans) >= 3
    assert sum(0 < min(last_leaves(plan)) < plan.leaf for _, plan in plans) >= 3
    assert any(0 < min(last_leaves(plan)) < max(last_leaves(plan)) for _, plan in plans)


@st.composite
def runs(draw: st.DrawFn) -> tuple[dict[str, Any], int]:
    """Draw settings with shards that are short by any number of images, and a number of ranks."""
    shards, leaf = draw(st.sampled_from(SHARDS)), draw(st.sampled_from(LEAVES))
    steps = draw(st.integers(1, 4))
    missing = draw(st.integers(0, shards * leaf - 1))
    samples = min(max(shards, steps * shards * leaf - missing), TOTAL - 1)
    ranks = draw(st.sampled_from([size for size in (*RANKS, shards) if size <= shards]))
    augmented = draw(st.booleans())
    more = {"seed": draw(st.integers(0, 2**63 - 1))}
    if not augmented:
        more |= {"rotate": 0.0, "shift": 0.0, "zoom": 0.0}
    return flags(shards, leaf, samples, draw(st.sampled_from(sorted(RATES))), **more), ranks


@settings(derandomize=True, deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(runs())
def test_any_run(data, drawn):
    flags, ranks = drawn
    check_same(data, flags, [ranks])


@pytest.mark.parametrize(("ranks", "shards"), [(2, 1), (3, 2), (5, 4), (8, 6)])
def test_more_ranks_than_shards_are_refused(data, ranks, shards):
    found = pretend.outcomes(ranks, lambda comm: whole_run(data, flags(shards, 7, 211, "sgd"), comm))
    for error in found:  # the same on every rank
        assert isinstance(error, LaunchError)
        assert error.agreed
        assert error.exit_code == 7
        assert f"{ranks} ranks" in str(error) and f"{shards} shards" in str(error)


class RankByRank(pretend.PretendCommunicator):
    """Adds up each rank's leaves first and then the ranks' sums, like trainers without a reduction tree."""

    def allreduce_leaves(self, leaves: np.ndarray, shards: int) -> np.ndarray:
        own = leaves[0].copy()
        for leaf in leaves[1:]:
            own += leaf
        parts = np.zeros((self.size, len(own)), np.float32)
        parts[self.rank] = own
        self.allreduce(parts)
        total = parts[0].copy()
        for part in parts[1:]:
            total += part
        return total


def test_a_sum_by_ranks_is_detected(data):
    # the comparison must detect another order of the same additions
    settings = flags(6, 16, 353, "sgd")
    found = {size: pretend.run(size, lambda comm: whole_run(data, settings, comm), RankByRank)[0] for size in (1, 2, 3)}
    assert len({run["theta_sha256"] for run in found.values()}) == 3
    # the last bits only: it is the same training
    one, three = (np.frombuffer(found[size]["theta"], np.float32) for size in (1, 3))
    assert np.abs(one - three).max() < 1e-3

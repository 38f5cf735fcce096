"""Ranks that were given something else than the others are refused at the start, in one sentence that names them."""

import itertools
import os
import shutil
import sys
import threading
import types
from pathlib import Path

import h5py
import mpi_jobs
import numpy as np
import pretend
import pytest

from distlenet.config import Config
from distlenet.errors import CheckpointError, ConfigError, DataError, LaunchError
from distlenet.nn import Dense, Flatten, ReLU, Sequential, build_net
from distlenet.nn.fingerprint import hash_answer, hash_constants
from distlenet.own_files import hash_code
from distlenet.parallel.agreement import in_agreement
from distlenet.runs import rank_comparison as checks
from distlenet.runs.experiment import RunOptions, set_up
from distlenet.runs.measure import measure
from distlenet.runs.rank_comparison import hash_package
from distlenet.series.trials import Trial, run_in_teams
from distlenet.training.signals import Signals
from distlenet.trust import Trust

HOST = os.uname().nodename
NET = """
import numpy as np
from distlenet.nn import Dense, Flatten, Layer, Sequential
WIDTH = 12


class Scaled(Layer):
    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, x):
        return x * self.factor

    def backward(self, dy):
        return dy * self.factor


def build(input_shape, classes):
    return Sequential(input_shape, Flatten(), Dense(WIDTH), Scaled(np.ones(1, np.float32)), Dense(classes))
"""


def options_of(digits, run, **changes):
    flags = {"batch_size": 64, "train_sample": 50, "epochs": 1} | changes.pop("flags", {})
    return RunOptions(data=str(digits), run_directory=str(run), flags=flags, **changes)


def disagree(kind, words, job, ranks=2):
    """See all ``ranks`` that do ``job(comm)`` raise the same error, of that ``kind`` and with these ``words``."""
    found = pretend.outcomes(ranks, job)
    assert all(getattr(error, "agreed", False) for error in found), found
    assert len({(type(error), str(error)) for error in found}) == 1, found
    assert type(found[0]) is kind and words in str(found[0]), found[0]


def disagree_on(kind, words, options, ranks=2):
    """The same of ranks that set up a run, by ``options(rank)``."""
    disagree(kind, words, lambda comm: set_up(options(comm.rank), comm, Signals()), ranks)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"flags": {"lr": 0.5}}, "setting lr 0.5, rank 0 on {} has 0.14"),
        ({"flags": {"seed": 2}}, "setting seed 2, "),
        ({"flags": {"model": "feed-forward"}}, "setting model 'feed-forward', rank 0 on {} has 'lenet5'"),
        ({"flags": {"epochs": 2}}, "setting epochs 2, "),
        ({"flags": {"on_divergence": "stop"}}, "setting on_divergence 'stop', "),
        ({"flags": {"train_sample": 60}}, "setting train_sample 60, "),
        ({"flags": {"test_curve": True}}, "setting test_curve True, "),
        ({"flags": {"shards": 2, "batch_size": 64}}, "setting shards 2, "),
        ({"recipe": "fast"}, "setting rotate 0.0, "),
        ({"save_steps": 5}, "option save_steps 5, rank 0 on {} has 0"),
        ({"stall_after": 60.0}, "option stall_after 60.0, "),
        ({"override": ("lr",)}, "option override ['lr'], "),
        ({"resume": "auto"}, "option resume 'auto', rank 0 on {} has none"),
        ({"overwrite": True}, "option overwrite True, "),
        ({"debug": True}, "option debug True, "),
        ({"keep_every": 2}, "option keep_every 2, "),
    ],
)
def test_settings_and_options(digits, tmp_path, changes, what):
    words = f"the ranks differ: rank 2 on {HOST} has {what.format(HOST)}"
    run = tmp_path / "run"
    disagree_on(ConfigError, words, lambda rank: options_of(digits, run, **(changes if rank == 2 else {})), ranks=3)


def test_another_run_directory(digits, tmp_path):
    words = f"option run_directory '{tmp_path}/1', rank 0"
    disagree_on(ConfigError, words, lambda rank: options_of(digits, tmp_path / str(rank)))


def test_a_toml_file_that_differs(digits, tmp_path):
    files = [tmp_path / "a.toml", tmp_path / "b.toml"]
    files[0].write_text("lr = 0.1\n")
    files[1].write_text("lr = 0.1\nmomentum = 0.8\n")

    def options(rank):
        return options_of(digits, tmp_path, config_file=str(files[rank]))

    disagree_on(ConfigError, "setting momentum 0.8, rank 0", options)
    files[1].write_text("lr = 0.1\n")  # another file, the same settings
    pretend.run(2, lambda comm: set_up(options(comm.rank), comm, Signals()))


@pytest.mark.parametrize("attribute", ["mean", "std"])
def test_a_dataset_of_other_pixels(digits, tmp_path, attribute):
    other = shutil.copy(digits, tmp_path / "other.h5")
    with h5py.File(other, "r+") as file:
        (name,) = [name for name in file.attrs if attribute in name]
        file.attrs[name] = 0.25
    disagree_on(DataError, "0.25, rank 0", lambda rank: options_of(other if rank else digits, tmp_path))


def test_another_dataset(digits, other_size, tmp_path):
    words = "a dataset with fingerprint"
    disagree_on(DataError, words, lambda rank: options_of(other_size if rank else digits, tmp_path))


def test_other_code_of_the_program(digits, tmp_path, monkeypatch):
    hashes = itertools.count()
    monkeypatch.setattr(checks, "hash_package", lambda: f"{next(hashes):064x}")
    disagree_on(LaunchError, "distlenet source 0000", lambda rank: options_of(digits, tmp_path))


def test_streamed_on_one_rank_alone(digits, tmp_path):
    def job(comm):
        flags = {"memory_limit": 0} if comm.rank else {}
        return set_up(options_of(digits, tmp_path, flags=flags), comm, Signals()).leaves.streamed

    assert pretend.run(2, job) == [False, True]


def networks_differ(texts, folder, **files):
    """Compare the networks of pretend ranks, each built from a text of its own; return the error."""
    nets = []
    for rank, text in enumerate(texts):
        path = folder / str(rank) / "net.py"
        path.parent.mkdir()
        path.write_text(text)
        for name, contents in files.items():
            (path.parent / f"{name}.py").write_text(contents[rank])
        model = f"{path}:build"
        sys.path.insert(0, str(path.parent))
        try:
            net = build_net(Config(model=model), (1, 28, 28), 10, Trust(model))
            net.initialize("he", 1)
            nets.append((net, hash_code(model)))
        finally:
            sys.path.remove(str(path.parent))
            for name in files:
                sys.modules.pop(name, None)

    def job(comm):
        net, code = nets[comm.rank]
        checks.compare_ranks(comm, lambda: named(checks.of_network(comm, str(comm.rank), net)))
        return code

    def named(facts):
        return [
            checks.Fact("net" + fact.what.lstrip("0123456789"), fact.value, fact.error, fact.advice) for fact in facts
        ]

    with pytest.MonkeyPatch.context() as patch:  # ranks are threads: they share their modules
        patch.setattr(checks, "hash_code", lambda model: nets[int(model)][1])
        return pretend.outcomes(len(texts), job)[0]


def test_networks_alike(tmp_path):
    code = networks_differ([NET, NET], tmp_path)
    assert list(code) == ["distlenet_own_net"]


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (("WIDTH = 12", "WIDTH = 12  # "), "net with the source of distlenet_own_net"),
        (("return dy * self.factor", "return dy"), "net with the source of"),
    ],
)
def test_the_source_differs(tmp_path, change, what):
    error = networks_differ([NET, NET.replace(*change)], tmp_path)
    assert type(error) is ConfigError and what in str(error) and f"rank 1 on {HOST}" in str(error)


def test_a_module_that_the_source_imports_differs(tmp_path):
    text = NET.replace("WIDTH = 12", "from net_width import WIDTH")
    error = networks_differ([text, text], tmp_path, net_width=["WIDTH = 12\n", "WIDTH = 6 * 2\n"])
    assert "net with the source of net_width" in str(error)


def test_a_module_of_a_module_that_is_imported_when_it_is_needed(tmp_path):
    text = NET.replace("    return Seq", "    import net_a\n    WIDTH = net_a.width()\n    return Seq")
    inner = "def width():\n    from net_b import WIDTH\n    return WIDTH\n"
    error = networks_differ([text, text], tmp_path, net_a=[inner, inner], net_b=["WIDTH = 5", "WIDTH = 2 + 3"])
    assert "net with the source of net_b" in str(error)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (("Dense(WIDTH)", "Dense(next(N))"), "net with layer 2 'dense1: Dense to 13, "),
        (("np.ones(1, np.float32)", "np.full(1, next(N), np.float32)"), "net with constants of layer scaled1 "),
        (("np.ones(1, np.float32)", "{'a': [1.0, {next(N)}]}['a'][0] and 1.0"), None),
        (("Scaled(np.ones(1, np.float32))", "Scaled(np.random.default_rng())"), None),  # it is seen only when used
    ],
)
def test_the_same_source_builds_another_network(tmp_path, change, what, monkeypatch):
    monkeypatch.setattr(types, "N", itertools.count(12), raising=False)
    text = NET.replace(*change).replace("WIDTH = 12", "from types import N")
    text = text.replace("Dense(WIDTH)", "Dense(12)")
    error = networks_differ([text, text], tmp_path)
    assert isinstance(error, dict) if what is None else what in str(error), error


def test_initial_parameters_that_differ(tmp_path):
    net = build_net(Config(model="feed-forward"), (1, 28, 28), 10)

    def job(comm):
        own = build_net(Config(model="feed-forward"), (1, 28, 28), 10)
        own.initialize("he", 1)
        own.theta[5] += comm.rank == 1
        checks.compare_ranks(comm, lambda: checks.of_network(comm, "feed-forward", own))

    disagree(ConfigError, "feed-forward with initial parameters", job, ranks=3)
    assert hash_constants(net) == hash_constants(build_net(Config(model="feed-forward"), (1, 28, 28), 10))


def closed_over(factor):
    """Return a network whose layer computes with a number that is not an attribute of it."""

    class Odd(ReLU):
        def forward(self, x):
            return super().forward(x) * np.float32(factor())

    net = Sequential((1, 4, 4), Flatten(), Dense(5), Odd(), Dense(3))
    net.initialize("he", 1)
    return net


def test_code_that_reads_something_else_on_one_rank(monkeypatch):
    def job(comm, other):
        net = closed_over(lambda: other if comm.rank == 2 else 1.5)
        checks.compare_ranks(comm, lambda: checks.of_network(comm, "own:build", net))

    assert pretend.outcomes(3, lambda comm: job(comm, 1.5)) == [None] * 3
    found = pretend.outcomes(3, lambda comm: job(comm, 2.5))
    assert all("has own:build with an answer to the same images" in str(error) for error in found), found
    assert all("rank 2" in str(error) for error in found)
    count = itertools.count()
    monkeypatch.setattr(checks, "numerics", lambda name: {"kernel": next(count)})
    assert pretend.outcomes(3, lambda comm: job(comm, 2.5)) == [None] * 3


def test_answers_that_cannot_be_compared():
    state = np.random.get_state()[1].tolist()  # noqa: NPY002
    assert hash_answer(closed_over(lambda: 2.0)) == hash_answer(closed_over(lambda: 2.0)) is not None
    assert hash_answer(closed_over(np.random.random)) is None  # noise
    assert hash_answer(closed_over(lambda: 1 / 0)) is None
    assert np.random.get_state()[1].tolist() == state  # noqa: NPY002
    net = closed_over(lambda: 2.0)
    net.layers[0].lock = threading.Lock()  # cannot be copied
    assert hash_answer(net) is None

    noise = np.random.default_rng()  # not numpy's own generator: these ranks are threads, which share that

    def job(comm):
        noisy = closed_over(noise.random if comm.rank else lambda: 2.0)
        checks.compare_ranks(comm, lambda: checks.of_network(comm, "own:build", noisy))

    assert pretend.outcomes(2, job) == [None, None]


def test_unlike_numerics_are_not_a_reason(monkeypatch):
    found = itertools.count()
    monkeypatch.setattr(checks, "numerics", lambda name: {"kernel": next(found)})

    def job(comm):
        net = Sequential((1, 4, 4), Flatten(), Dense(3))
        net.theta += comm.rank
        checks.compare_ranks(comm, lambda: checks.of_network(comm, "own", net))

    assert pretend.outcomes(2, job) == [None, None]


def test_a_rank_that_fails_alone_is_named():
    def job(comm):
        with in_agreement(comm):
            if comm.rank:
                raise DataError("there is no file x")

    found = pretend.outcomes(3, job)
    assert [str(error) for error in found] == [f"there is no file x (rank 1 on {HOST})"] * 3


def test_the_package_is_what_its_files_are(tmp_path):
    (tmp_path / "a.py").write_text("x = 1\n")
    before = hash_package(tmp_path)
    (tmp_path / "b.py").write_text("")
    assert hash_package(tmp_path) != before


# what a rank is given is chosen by its number: {0} is its folder
WRAPPER = """
import os, sys
rank = os.environ.get("OMPI_COMM_WORLD_RANK") or os.environ.get("PMI_RANK") or "0"
os.chdir({folder!r} + "/" + rank)
from distlenet.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def places(tmp_path):
    """Two folders, the working directories of two ranks, each with a network and settings."""
    for rank in "01":
        (tmp_path / rank).mkdir()
        (tmp_path / rank / "net.py").write_text(NET)
        (tmp_path / rank / "set.toml").write_text("epochs = 1\nbatch_size = 64\n")
    (tmp_path / "wrapper.py").write_text(WRAPPER.format(folder=str(tmp_path)))
    return tmp_path


def start(runtime, places: Path, *words):
    return mpi_jobs.run(runtime.command(2, str(places / "wrapper.py"), *map(str, words)))


def test_under_mpirun(any_mpi, places, digits, only_sentence):
    train = ["train", "--data", digits, "--run", places / "run", "--config", "set.toml", "--model", "net.py:build"]
    train += ["--display", "plain"]
    (places / "1/net.py").write_text(NET + "\n# edited\n")
    done = start(any_mpi, places, *train)
    only_sentence(done, 3, f"rank 1 on {HOST} has net.py:build with the source of", f"rank 0 on {HOST} has")
    assert not (places / "run/checkpoints").exists()
    (places / "1/net.py").write_text(NET)
    (places / "1/set.toml").write_text("epochs = 1\nbatch_size = 128\n")
    only_sentence(start(any_mpi, places, *train), 3, f"rank 1 on {HOST} has setting batch_size 128")


def trials_of(digits, run, seeds=(1, 2), **flags):
    return [
        Trial("fast", seed, options_of(digits, run / str(seed), recipe="fast", flags=flags | {"seed": seed}))
        for seed in seeds
    ]


@pytest.mark.parametrize(
    ("changes", "teams", "what"),
    [
        ({"lr": 0.5}, 1, "fast of seed 1 with the setting lr 0.5, rank 0"),
        ({"seeds": (1, 3)}, 1, "has runs 2 2 3, rank 0"),
        ({"seeds": (1,)}, 2, "has runs [['fast', 1, "),
        ({}, 2, "option side-by-side 2, rank 0"),
        ({"lr": 0.5}, 2, "option side-by-side 2, rank 0"),
    ],
)
def test_a_series(digits, tmp_path, changes, teams, what):
    def job(comm):
        mine = trials_of(digits, tmp_path, **(changes if comm.rank == 1 else {}))
        run_in_teams(mine, teams if comm.rank == 1 else 1, comm, Signals(), list, lambda *_: None)

    if "seeds" in changes:
        teams = 1
    disagree(ConfigError, what, job)
    assert not list(tmp_path.iterdir())


def test_evaluate(digits, tmp_path, trained, monkeypatch):
    def measured(*changes):
        def job(comm):
            asked = {"checkpoint_path": trained, "data": digits, "split": "test"} | changes[comm.rank]
            return measure(**asked, comm=comm).result.accuracy

        return pretend.outcomes(2, job)

    assert len(set(measured({}, {}))) == 1
    found = measured({}, {"split": "validation"})
    assert all("option split 'validation', rank 0" in str(error) for error in found), found
    found = measured({}, {"checkpoint_path": trained / "checkpoints/last-1.h5"})
    assert all(type(error) is CheckpointError and "a checkpoint with parameters" in str(error) for error in found)
    found = measured({}, {"checkpoint_path": "missing.h5"})
    assert all(f"there is no checkpoint missing.h5 (rank 1 on {HOST})" in str(error) for error in found), found

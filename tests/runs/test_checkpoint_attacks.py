"""Checkpoints that somebody made to do harm: each is refused in one sentence, soon, and without much memory."""

import dataclasses
import json
import os
import re
import shutil
import socket
import sys
from pathlib import Path

import h5py
import mpi_jobs
import numpy as np
import pytest
from checkpoints import FACTS, change, new_state, put, rewrite

from distlenet.config import Config
from distlenet.errors import CheckpointError
from distlenet.nn import build_optimizer
from distlenet.runs.checkpoint_file import read_checkpoint, read_order, write_checkpoint
from distlenet.training.state import TrainState

READ = """
import resource, sys
from distlenet.errors import CheckpointError
from distlenet.runs.checkpoint_file import read_checkpoint
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in sys.argv[1:]:
    try:
        read_checkpoint(path)
    except CheckpointError as error:
        print("refused:", path, error)
    else:
        print("read:", path)
print("MiB:", (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
print("CPU seconds:", int(resource.getrusage(resource.RUSAGE_SELF).ru_utime))
"""


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A checkpoint of LeNet-5 after some epochs, with the parameters of the best one."""
    path = tmp_path_factory.mktemp("good") / "last.h5"
    state = new_state(optimizer="nesterov")
    state.progress = dataclasses.replace(state.progress, epoch=2, steps=20, best_epoch=1, best_accuracy=0.5)
    state.best_theta = state.net.theta / 2
    write_checkpoint(path, state, Config(), FACTS)
    return path


@pytest.fixture
def forged(good, tmp_path):
    """``forged(how, name)``: a copy of it whose file and list of checksums ``how(file, sums)`` has changed."""

    return lambda how, name="forged.h5": change(shutil.copy(good, tmp_path / name), how)


def replaced(name: str, **dataset: object):
    """Return the change that makes the array ``name`` again, otherwise."""

    def change(file, sums) -> None:
        del file[name]
        file.create_dataset(name, **dataset)

    return change


def links(count: int):
    """Return the change that gives the parameters so many more names."""

    def change(file, sums) -> None:
        for number in range(count):
            file[f"optimizer/v{number}"] = file["theta"]
            sums[f"optimizer/v{number}"] = sums["theta"]

    return change


def links_to_a_group(file, sums) -> None:
    """A parameter under many names, by a group that holds itself."""
    file["parameters/C1/again"] = file["parameters"]
    for depth in range(25):
        sums["parameters/" + "C1/again/" * depth + "output/W"] = sums["parameters/output/W"]


def external_group(file, sums) -> None:
    del file["optimizer"]
    file["optimizer"] = h5py.ExternalLink("other.h5", "/optimizer")


def soft_group(file, sums) -> None:
    file.move("best", "elsewhere")
    file["best"] = h5py.SoftLink("/elsewhere")


def link_to_a_pipe(file, sums) -> None:
    os.mkfifo(Path(file.filename).with_name("pipe"))
    del file["parameters"]
    file["parameters"] = h5py.ExternalLink("pipe", "/parameters")


def swapped(file, sums) -> None:
    """Every checksum is right, but the kernels shown are not those of the network."""
    put("parameters/C1/W", np.zeros((6, 1, 5, 5), "f4"))(file, sums)


def unlisted(file, sums) -> None:
    del sums["theta"]


def renamed(file, sums) -> None:
    file.move("optimizer/velocity", "optimizer/../velocity")
    sums["optimizer/../velocity"] = sums.pop("optimizer/velocity")


ATTACKS = {
    "many links": (links(20_000), r"has 20,\d+ arrays, more than any checkpoint"),
    "some links": (links(10), "more than the"),
    "a group in itself": (links_to_a_group, "expected as many|more than the"),
    "external group": (external_group, "/optimizer is an external link"),
    "soft group": (soft_group, "/best is a soft link"),
    "link to a pipe": (link_to_a_pipe, "/parameters is an external link"),
    "swapped": (swapped, "/parameters/C1/W differs from its part of /theta"),
    "unlisted": (unlisted, "theta"),
    "climbing name": (renamed, "a checkpoint has no array 'optimizer/../velocity'"),
    "unknown array": (put("extra/x", np.zeros(5, "f4")), "a checkpoint has no array 'extra/x'"),
    "unknown vector": (put("best/optimizer/x", np.zeros(61706, "f4")), "a checkpoint has no array"),
    "more parameters": (put("parameters/C9/W", np.zeros(5, "f4")), "expected as many"),
    "long vector": (put("optimizer/velocity", np.zeros(5, "f4")), r"/optimizer/velocity is \(5,\)"),
    "doubles": (put("theta", np.zeros(61706)), "expected a vector of float32"),
    "matrix": (put("theta", np.zeros((61706, 1), "f4")), "expected a vector of float32"),
    "empty": (put("theta", np.zeros(0, "f4")), "expected a vector of float32"),
    "huge": (replaced("theta", shape=(2**40,), dtype="f4", chunks=(1024,)), "chunked or compressed"),
    "packed": (replaced("theta", shape=(2**28,), dtype="f4", chunks=(2**20,), compression="gzip"), "chunked"),
    "text": (replaced("theta", data=np.array([b"x" * 99] * 9)), "data that are not numbers"),
    "huge meta": (replaced("meta", shape=(2**35,), dtype="u1", chunks=(2**20,)), "chunked"),
    "meta of floats": (put("meta", np.zeros(100, "f4")), "expected at most .* bytes of JSON"),
    "no attribute": (lambda file, sums: file.attrs.pop("sha256"), "forged.h5"),
}


@pytest.mark.parametrize(("change", "says"), ATTACKS.values(), ids=ATTACKS)
def test_refused(forged, change, says):
    path = forged(change)
    for read in (read_checkpoint, read_order):
        with pytest.raises(CheckpointError, match=says) as caught:
            read(path)
        assert "\n" not in str(caught.value) and str(path) in str(caught.value)


def sparse(file, sums) -> None:
    """Two gigabytes that take no room on the disk."""
    del file["theta"]
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    plan.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    space = h5py.h5s.create_simple((2**29,))
    h5py.h5d.create(file.id, b"theta", h5py.h5t.IEEE_F32LE, space, plan)


def long_list(file, sums) -> None:
    sums["theta"] = "a" * 90_000_000


def deep_list(file, sums) -> None:
    sums["theta"] = [[[]]]
    for _ in range(900):
        sums["theta"] = [sums["theta"]]


def test_neither_time_nor_memory_is_taken(forged, good, tmp_path):
    meta = json.dumps(read_checkpoint(good).facts())
    wide = dataclasses.asdict(FACTS) | {"image_shape": [512, 512], "class_names": [str(i) for i in range(256)]}
    files = [forged(change, f"{name}.h5") for name, (change, _) in ATTACKS.items() if name != "link to a pipe"]
    files += [forged(change, f"{change.__name__}.h5") for change in (sparse, long_list, deep_list)]
    texts = {
        "deep": '{"position":' + "[" * 5_000_000,
        "deeper than allowed": meta.replace('"history": []', '"history": [' + "[" * 500 + "]" * 500 + "]"),
        "long": meta[:-1] + ', "more": [' + "[]," * 15_000_000 + "0]}",
        "vast": json.dumps(json.loads(meta) | {"dataset": wide, "config": {"model": "double-conv"}}),
        "number": meta[:-1] + ', "more": ' + "9" * 10_000_000 + "}",
        "list": "[]",
        "nothing": "",
        "utf-16": meta.encode("utf-16").decode("latin-1"),
    }
    for name, text in texts.items():
        files.append(tmp_path / f"{name}.h5")
        rewrite(files[-1], good.read_bytes(), text)
    pipe, seat = tmp_path / "pipe.h5", tmp_path / "socket.h5"
    os.mkfifo(pipe)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(seat))
        files += [pipe, seat, Path("/dev/zero"), tmp_path, tmp_path / "none.h5"]
        done = mpi_jobs.run([sys.executable, "-c", READ, *map(str, files)]).expect()
    assert done.stdout.count("refused: ") == len(files), done.stdout
    assert int(re.search(r"MiB: (\d+)", done.stdout)[1]) < 700
    assert int(re.search(r"CPU seconds: (\d+)", done.stdout)[1]) < 10


def test_other_content_is_not_read(forged):
    path = forged(lambda file, sums: file.create_dataset("notes/mine", (2**30,), "f8", chunks=(1024,)))
    assert read_checkpoint(path).theta.size == 61706


def test_a_large_network_is_bounded_by_itself_alone(tmp_path):
    """More than the code could know: the parameters of a user-defined network."""
    from distlenet.nn import Dense, Flatten, Sequential

    net = Sequential((1, 28, 28), Flatten(), Dense(4000), Dense(1000), Dense(10))
    state = TrainState(net, build_optimizer(Config(optimizer="sgd", weight_decay=0.0, clip=0.0), net.decays))
    write_checkpoint(tmp_path / "large.h5", state, Config(model="net.py:build"), FACTS)
    assert read_checkpoint(tmp_path / "large.h5").theta.size == net.size > 7_000_000

"""The gradient check of --debug: user-defined networks are checked in float64, and wrong layers are named."""

import re
from pathlib import Path

import mpi_jobs
import numpy as np
import pytest

from distlenet.config import Config
from distlenet.nn import build_net
from distlenet.runs.gradient_check import check_network
from distlenet.trust import Trust

OWN = """
import numpy as np
from distlenet.nn import Dense, Flatten, Layer, Net, ReLU, Sequential


class Own(Layer):
    shares_arrays = output_is_free = {promises}

    def forward(self, x):
        self._x = x
        {forward}

    def backward(self, dy):
        {backward}


def build(input_shape, classes):
    return Sequential(input_shape, Flatten(), Dense(12), Own(), {after}Dense(classes){dtype})
"""
TANH = {
    **{"promises": "False", "forward": "self._y = np.tanh(x); return self._y", "after": "", "dtype": ""},
    "backward": "return dy * (1 - self._y**2)",
}


def readme_networks():
    """Return the code of the networks that the READMEs show: with user-defined layers, and without."""
    texts = [(mpi_jobs.ROOT / name).read_text() for name in ("README.md", "distlenet/nn/README.md")]
    return [
        code for text in texts for code in re.findall(r"```python\n(# \w+\.py\n.*?def build.*?)```", text, re.DOTALL)
    ]


def notice_of(folder: Path, code: str, name="net.py"):
    (folder / name).write_text(code)
    model = f"{folder / name}:build"
    net = build_net(Config(model=model), (1, 28, 28), 10, Trust(model))
    net.initialize("he", 1)
    random = np.random.default_rng(1)
    with np.errstate(all="ignore"):
        return check_network(net, model, random.standard_normal((1, 28, 28, 4)), random.integers(0, 10, 4))


@pytest.mark.parametrize(
    "code",
    [
        *readme_networks(),
        OWN.format(**TANH),
        OWN.format(**TANH | {"dtype": ", dtype=np.float32"}),
        OWN.format(**TANH | {"after": "ReLU(), "}),
        "from distlenet.nn import lenet5\n\ndef build(shape, classes):\n    return lenet5(shape, classes)\n",
    ],
)
def test_a_right_network_passes(tmp_path, code):
    notice = notice_of(tmp_path, code)
    assert notice.level == "info", notice
    assert float(re.search(r"differences (\S+) ", notice.text)[1]) < 1e-6


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"backward": "return dy * (1 - self._y)"}, ["the backward pass of own1 (Own) does not fit"]),
        ({"backward": "return 1.02 * dy * (1 - self._y**2)"}, ["the backward pass of own1 (Own) does not fit"]),
        ({"promises": "True", "after": "ReLU(), "}, ["each layer alone is right", "output_is_free = True"]),
        (
            {"forward": "self._y = np.tanh(x).astype(np.float32); return self._y"},
            ["no gradient check: layer own1 (Own) computes in float32"],
        ),
        (
            {"forward": "self._y = np.tanh(x + np.random.normal(size=x.shape)); return self._y"},
            ["no gradient check: layer own1 (Own) answers the same input in different ways"],
        ),
        (
            {"forward": "assert x.dtype == np.float32, x.dtype; self._y = np.tanh(x); return self._y"},
            ["no gradient check", "cannot compute in float64 (AssertionError: float64)"],
        ),
    ],
)
def test_a_wrong_layer_is_named(tmp_path, changes, words):
    notice = notice_of(tmp_path, OWN.format(**TANH | changes))
    assert notice.level == "warning"
    for word in words:
        assert word in notice.text


def test_a_network_that_is_built_differently_each_time_is_checked_as_it_is(tmp_path):
    code = OWN.format(**TANH).replace("Dense(12)", "Dense(int(np.random.default_rng().integers(10, 99)))")
    assert notice_of(tmp_path, code).level == "info"

"""User-defined code in portable runs: named if it uses functions that depend on the machine."""

import numpy as np
import pytest

from distlenet.arithmetic import PORTABLE
from distlenet.config import Config
from distlenet.nn import SGD, Dense, Layer, ReLU, Sequential, build_optimizer
from distlenet.nn.portability import list_unportable


class Exponential(Layer):
    def forward(self, x):
        return np.exp(x)


class Inner(Layer):
    def forward(self, x):
        def inner(y):
            return (y * y).sum(axis=0)

        return inner(x) + x @ x.T


class Fine(Layer):
    def forward(self, x):
        return np.sqrt(np.maximum(x, 0)) / 2 + abs(x)


class Asking(Layer):
    def forward(self, x):
        return self.arithmetic.exp(x)


class Derived(Exponential):
    def backward(self, dy):
        return dy


class Slow(SGD):
    def update(self, theta, gradient, lr):
        theta -= lr * gradient / np.linalg.norm(gradient)


def found(layer, optimizer=None):
    net = Sequential((3,), layer, Dense(2), arithmetic=PORTABLE)
    return list_unportable(net, optimizer or build_optimizer(Config(optimizer="sgd"), net.decays))


@pytest.mark.parametrize(("layer", "names"), [(Exponential(), "exp"), (Inner(), "@, sum"), (Derived(), "exp")])
def test_layers_that_depend_on_the_machine_are_named(layer, names):
    (text,) = found(layer)
    assert f"({type(layer).__name__}) uses {names}, not self.arithmetic" in text


@pytest.mark.parametrize("layer", [Fine(), Asking(), ReLU()])
def test_others_are_not(layer):
    assert found(layer) == []


def test_optimizers_are_named_too():
    assert "optimizer Slow uses norm, not" in found(ReLU(), Slow(Config(), np.ones(8, np.float32)))[0]

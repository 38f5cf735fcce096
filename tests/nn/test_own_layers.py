"""Gradients of user-defined layers, with only connect, forward and backward, mixed with built-in ones."""

import os

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from distlenet.errors import ConfigError
from distlenet.nn import (
    AveragePool2d,
    Conv2d,
    Dense,
    Flatten,
    Layer,
    MaxPool2d,
    Net,
    Parameter,
    Sequential,
    TrainablePool2d,
)
from distlenet.nn.activations import Activation
from distlenet.nn.losses import MAPLoss
from distlenet.nn.models import ACTIVATIONS
from distlenet.nn.partial_convolution import PartialConv2d
from distlenet.nn.pooling import Pad2d
from distlenet.nn.rbf import RBF


class ReadsOutput(Layer):
    def forward(self, x):
        self._y = np.tanh(x)
        return self._y

    def backward(self, dy):
        return dy * (1 - self._y**2)


class KeepsInput(Layer):
    def forward(self, x):
        self._x = x
        return x * abs(x)

    def backward(self, dy):
        return 2 * dy * abs(self._x)


class SinInPlace(Layer):
    """Overwrites its argument in both directions, and reads its output."""

    def forward(self, x):
        self._sign = np.where(np.cos(x) > 0, 1, -1)
        self._y = np.sin(x, out=x)
        return x

    def backward(self, dy):
        dy *= self._sign * np.sqrt(1 - self._y**2)
        return dy


class OverwritesWhatItKept(Layer):
    """Writes its gradient into the memory of its input, which it also returned as its output."""

    def forward(self, x):
        self._x = x
        return x

    def backward(self, dy):
        self._x[...] = dy
        return self._x


class KeepsAndReturns(Layer):
    """Returns the buffer of the last call again, and reads it."""

    def forward(self, x):
        if getattr(self, "_y", np.empty(0)).shape != x.shape:
            self._y = np.empty_like(x)
        self._y[...] = 1 / (1 + x**2)
        self._x = x
        return self._y

    def backward(self, dy):
        return -2 * self._x * self._y**2 * dy


class View(Layer):
    """The input backwards: a view of it."""

    def forward(self, x):
        return x[::-1]

    def backward(self, dy):
        return dy[::-1]


class Transposed(Layer):
    """A picture with rows and columns swapped, or a vector unchanged: a view."""

    def connect(self, shape):
        self._axes = (0, 2, 1, 3) if len(shape) == 3 else (0, 1)
        return (shape[0], shape[2], shape[1]) if len(shape) == 3 else shape

    def forward(self, x):
        return x.transpose(self._axes)

    def backward(self, dy):
        return dy.transpose(self._axes)


class Cropped(Layer):
    """Without the first row of numbers: a view that is not contiguous."""

    def connect(self, shape):
        if shape[-1] < 2:
            raise ConfigError("too small")
        return *shape[:-1], shape[-1] - 1

    def forward(self, x):
        self._shape = x.shape
        return x[..., 1:, :]

    def backward(self, dy):
        dx = np.zeros(self._shape)
        dx[..., 1:, :] = dy
        return dx


class Repeated(Layer):
    """Every channel or unit twice: a read-only broadcast view."""

    def connect(self, shape):
        return 2 * shape[0], *shape[1:]

    def forward(self, x):
        return np.broadcast_to(x, (2, *x.shape)).reshape(-1, *x.shape[1:])

    def backward(self, dy):
        return dy.reshape(2, -1, *dy.shape[1:]).sum(axis=0)


class Mean(Layer):
    """The mean of each map, or the vector itself."""

    def connect(self, shape):
        return shape[:1]

    def forward(self, x):
        self._shape = x.shape
        return x.mean(axis=(1, 2)) if x.ndim == 4 else x

    def backward(self, dy):
        if len(self._shape) == 2:
            return dy
        return np.broadcast_to(dy[:, None, None] / np.prod(self._shape[1:3]), self._shape)


class Total(Layer):
    """The sum of a vector; its gradient is a read-only view."""

    def connect(self, shape):
        return (1,)

    def forward(self, x):
        self._shape = x.shape
        return x.sum(axis=0, keepdims=True)

    def backward(self, dy):
        return np.broadcast_to(dy, self._shape)


class Scaled(Layer):
    """A factor for each channel or unit, and a bias; its gradients are written as ``how`` says."""

    how = "written"

    def connect(self, shape):
        self._full = (-1, *[1] * len(shape))
        self.parameters = Parameter("W", shape[:1], 1, 1), Parameter("b", shape[:1], 1, 1)
        return shape

    def forward(self, x):
        self._x = x
        weight, bias = (parameter.value.reshape(self._full) for parameter in self.parameters)
        return x * weight + bias

    def backward(self, dy):
        axes = tuple(range(1, dy.ndim))
        for parameter, found in zip(self.parameters, ((dy * self._x).sum(axis=axes), dy.sum(axis=axes)), strict=True):
            if self.how == "written":
                parameter.gradient[...] = found
            elif self.how == "added":
                parameter.gradient += found
            else:
                parameter.gradient = found
        return dy * self.parameters[0].value.reshape(self._full)


class ScaledByAdding(Scaled):
    how = "added"


class ScaledBySetting(Scaled):
    how = "set"


class Around:
    """User code around a built-in layer."""

    def forward(self, x):
        self._y = np.tanh(super().forward(x))
        return self._y

    def backward(self, dy):
        return super().backward(dy * (1 - self._y**2))


class TanhDense(Around, Dense):
    pass


class TanhConv(Around, Conv2d):
    pass


class TanhPool(Around, AveragePool2d):
    pass


class Sine(Activation):
    """Keeps its input, although an activation may be asked to work in place."""

    def apply(self, x, out):
        self._cosine = np.cos(x)
        np.sin(x, out=out)

    def backward(self, dy):
        return self._cosine * dy


OWN = [ReadsOutput, KeepsInput, SinInPlace, OverwritesWhatItKept, KeepsAndReturns, View, Transposed, Cropped, Repeated]
OWN += [Scaled, ScaledByAdding, ScaledBySetting, Sine]
SQUASHING = list(ACTIVATIONS.values())
ANYWHERE = st.one_of(st.sampled_from([(kind,) for kind in OWN]), st.sampled_from([(kind,) for kind in SQUASHING]))
OF_PICTURES = st.one_of(
    st.tuples(
        st.sampled_from([Conv2d, TanhConv]),
        st.sampled_from([1, 2, 6]),
        st.sampled_from([1, 3]),
        st.sampled_from(["valid", "same", "full"]),
    ),
    st.tuples(st.sampled_from([AveragePool2d, MaxPool2d, TrainablePool2d, TanhPool]), st.sampled_from([2, 3])),
    st.tuples(st.sampled_from([AveragePool2d, MaxPool2d, TrainablePool2d, TanhPool]), st.just(2), st.just(1)),
    st.just((PartialConv2d, [[0], [0]], 3)),
    st.just((Pad2d, 1, 0.5)),
)
OF_VECTORS = st.tuples(st.sampled_from([Dense, TanhDense]), st.integers(1, 6))
PICTURES = st.lists(st.one_of(ANYWHERE, OF_PICTURES), min_size=1, max_size=6)
VECTORS = st.lists(st.one_of(ANYWHERE, OF_VECTORS), max_size=4)
ENDS = st.sampled_from([[(Dense, 3)], [(Dense, 4), (ReadsOutput,), (RBF, np.eye(3, 4))], [(Dense, 3), (View,)]])


def slope_is_right(net, x, labels, random):
    """Whether gradient and finite difference agree along a random direction, at random parameters."""
    net.theta[:] = random.normal(size=net.size) * 0.7
    gradient, kept = np.full(net.size, np.nan), x.copy()
    net.loss_and_grad(x, labels, gradient)
    np.testing.assert_array_equal(x, kept)
    direction, theta, sums = random.normal(size=net.size), net.theta.copy(), []
    for step in (1e-6, -1e-6):
        net.theta[:] = theta + step * direction
        sums.append(net.loss.losses(net.forward(x), labels).sum())
    net.theta[:] = theta
    terms = gradient * direction
    return abs(terms.sum() - (sums[0] - sums[1]) / 2e-6) <= 1e-6 * max(1, abs(terms).max(), np.linalg.norm(terms))


@settings(derandomize=True, deadline=None, max_examples=int(os.environ.get("DISTLENET_EXAMPLES", "150")))
@given(
    pictures=PICTURES,
    between=st.sampled_from([Flatten, Mean]),
    vectors=VECTORS,
    end=ENDS,
    shape=st.tuples(st.integers(1, 2), st.integers(4, 9), st.integers(4, 9)),
    n=st.sampled_from([1, 3]),
    seed=st.integers(0, 999),
)
def test_any_mixture_of_own_and_built_in_layers(pictures, between, vectors, end, shape, n, seed):
    drawn = [*pictures, (between,), *vectors, *end]
    try:
        layers = [(f"L{place}", kind(*rest)) for place, (kind, *rest) in enumerate(drawn)]
        net = Net(layers, shape, np.float64, MAPLoss() if end[-1][0] is RBF else None)
    except ConfigError:
        assume(False)
    random = np.random.default_rng(seed)
    x, labels = random.normal(size=(*shape, n)), random.integers(0, 3, n)
    # a kink affects one attempt now and then, a wrong gradient affects all
    assert any(slope_is_right(net, x, labels, random) for _ in range(4))
    assert slope_is_right(net, x[..., :1], labels[:1], random) or slope_is_right(net, x[..., :1], labels[:1], random)


CONVOLUTION, PARTIAL = (Conv2d, 2, 3, "same"), (PartialConv2d, [[0, 1], [0]], 3, "same")
POOLS = [(kind, 2) for kind in (AveragePool2d, MaxPool2d, TrainablePool2d)]
NEIGHBOURS = [*[(kind,) for kind in SQUASHING], (SinInPlace,)]


@pytest.mark.parametrize("own", OWN)
def test_between_any_two_neighbours(own):
    random, fitting = np.random.default_rng(0), 0
    pictures = [*NEIGHBOURS, CONVOLUTION, PARTIAL, *POOLS, (Pad2d, 1)]
    rows = [[CONVOLUTION, a, (own,), b, (Flatten,)] for a in pictures for b in pictures]
    vectors = [*NEIGHBOURS, (Dense, 3), (TanhDense, 3), (Total,)]
    rows += [[(Flatten,), (Dense, 4), a, (own,), b] for a in vectors for b in vectors]
    for row in rows:
        layers = [(f"L{place}", kind(*rest)) for place, (kind, *rest) in enumerate([*row, (Dense, 3)])]
        try:
            net = Net(layers, (1, 8, 8), np.float64)
        except ConfigError:  # the sum of a vector leaves nothing to crop
            continue
        x, labels = random.normal(size=(1, 8, 8, 2)), random.integers(0, 3, 2)
        assert any(slope_is_right(net, x, labels, random) for _ in range(4)), row
        fitting += 1
    assert fitting > 200


def test_an_own_layer_gets_contiguous_pictures():
    """Next to a convolution and its pooling, whose rows come first in memory."""
    seen = []

    class Seeing(ReadsOutput):
        def forward(self, x):
            seen.append(x.copy())
            assert x.flags.c_contiguous
            return super().forward(x)

        def backward(self, dy):
            assert dy.shape == self._y.shape and dy.flags.c_contiguous
            return super().backward(dy)

    net = Sequential((1, 8, 8), Conv2d(6, 3, "same"), Seeing(), AveragePool2d(2), Flatten(), Dense(3))
    x = np.random.default_rng(0).normal(size=(1, 8, 8, 5)).astype(np.float32)
    net.initialize("he", 1)
    net.loss_and_grad(x, np.zeros(5, int), np.empty_like(net.theta))
    convolution = net.layers[0].forward(x)
    assert not convolution.flags.c_contiguous
    np.testing.assert_array_equal(seen[0], convolution)


@pytest.mark.parametrize(
    ("forward", "backward", "says"),
    [
        (
            lambda x: x[:1],
            lambda dy: dy,
            r"layer own1 \(Own\): forward returned one of shape \(1, 2\), expected .*\(4, 2\)",
        ),
        (lambda x: x, lambda dy: dy[:1], r"layer own1 \(Own\): backward returned one of shape \(1, 2\)"),
        (lambda x: x, lambda dy: None, r"layer own1 \(Own\): backward returned None, expected .* \(4, 2\)"),
    ],
)
def test_a_layer_that_returns_another_shape_is_named(forward, backward, says):
    class Own(Layer):
        def forward(self, x):
            return forward(x)

        def backward(self, dy):
            return backward(dy)

    net = Sequential((3,), Dense(4), Own(), Dense(3))
    with pytest.raises(ConfigError, match=says):
        net.loss_and_grad(np.ones((3, 2), np.float32), np.array([0, 1]), np.zeros_like(net.theta))


def test_promises_hold_for_the_methods_that_made_them():
    class Wider(Dense):
        def connect(self, shape):
            return super().connect(shape)

    class Promised(TanhDense):
        shares_arrays = True

    assert Wider.shares_arrays and Wider.output_is_free
    assert not (TanhDense.shares_arrays or TanhDense.output_is_free)
    assert Promised.shares_arrays and not Promised.output_is_free

"""The layers in portable arithmetic: exactly what its specification says, whatever the engine's tiles and blocks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distlenet.arithmetic import PORTABLE
from distlenet.arithmetic.exact import BITS, TERMS
from distlenet.config import Config
from distlenet.errors import ConfigError
from distlenet.nn import Conv2d, Dense, Flatten, Sequential, TrainablePool2d, build_net, convolution, lowering
from distlenet.nn.losses import SoftmaxCrossEntropy

QUICK = settings(derandomize=True, deadline=None, max_examples=60)


def whole(tensor):
    """Return a factor as integers (int64), and the exponent of the number that one stands for."""
    exponent = int(np.frexp(abs(tensor).max())[1]) - BITS
    return np.rint(np.ldexp(tensor.astype(np.float64), -exponent)).astype(np.int64), exponent


def back(integers, exponent):
    """Return whole numbers (below 2^53) times a power of two, rounded once to float32."""
    return np.ldexp(integers.astype(np.float64), exponent)


def convolve(x, kernel, bias, border, dy):
    """Return output and gradients of a convolution by the specification, in integers."""
    k, ((pixels, a), (weights, b), (douts, c)) = kernel.shape[-1], map(whole, (x, kernel, dy))
    padded = np.pad(pixels, ((0, 0), (border, border), (border, border), (0, 0)))
    rows, columns = dy.shape[1:3]
    y, dx, dkernel = np.zeros(dy.shape, np.int64), np.zeros_like(padded), np.zeros(kernel.shape)
    length = TERMS // (rows * columns)
    for i, j in np.ndindex(k, k):
        under = padded[:, i : i + rows, j : j + columns]
        y += np.einsum("oc,chwn->ohwn", weights[:, :, i, j], under)
        dx[:, i : i + rows, j : j + columns] += np.einsum("oc,ohwn->chwn", weights[:, :, i, j], douts)
        for start in range(0, x.shape[-1], length):
            part = np.s_[..., start : start + length]
            dkernel[:, :, i, j] += back(np.einsum("ohwn,chwn->oc", douts[part], under[part]), a + c)
    height, width = x.shape[1:3]
    y = back(y, a + b).astype(np.float32) + bias[:, None, None, None]
    inner = dx[:, border : border + height, border : border + width]
    results = y, back(inner, b + c), dkernel, back(douts.sum(axis=(1, 2, 3)), c)
    return [result.astype(np.float32) for result in results]


def connected(layer, shape, seed=0):
    """Return ``layer`` in portable arithmetic, with random parameters, as part of a network with a layer before it."""
    Sequential(shape, Conv2d(shape[0], 1), layer, Flatten(), Dense(2), arithmetic=PORTABLE)
    random = np.random.default_rng(seed)
    for parameter in layer.parameters:
        parameter.value[...] = random.standard_normal(parameter.shape)
        parameter.gradient = np.empty(parameter.shape, np.float32)
    return layer


@QUICK
@given(
    data=st.tuples(*(st.integers(1, most) for most in (4, 13, 9, 9))),
    kernel=st.sampled_from([1, 3, 5]),
    padding=st.sampled_from(["same", "full"]),
    n=st.sampled_from([1, 5, 32]),
    tile=st.sampled_from([1, 2, 4]),
    small=st.sampled_from([1, 5_000, 10**9]),
)
def test_a_convolution_follows_the_specification(data, kernel, padding, n, tile, small):
    (inputs, channels, height, width), random = data, np.random.default_rng(sum(data))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(convolution, "choose_tile", lambda channels, rows: tile if rows % tile == 0 else 1)
        patch.setattr(lowering, "SMALL", small)
        layer = connected(Conv2d(channels, kernel, padding), (inputs, height, width))
        x, dy = (random.standard_normal((*shape, n)).astype(np.float32) for shape in (layer.shape, layer.out_shape))
        weights, bias = layer.parameters
        found = [layer.forward(x).copy(), layer.backward(dy), weights.gradient, bias.gradient]
    for ours, expected in zip(found, convolve(x, weights.value, bias.value, layer.border, dy), strict=True):
        assert ours.dtype == np.float32 and ours.tobytes("C") == expected.tobytes("C")


def test_a_long_weight_gradient_is_cut_by_samples():
    layer, random = connected(Conv2d(2, 5, "same"), (1, 28, 28)), np.random.default_rng(1)
    x, dy = (random.standard_normal((channels, 28, 28, 100)).astype(np.float32) for channels in (1, 2))
    layer.forward(x)
    layer.backward(dy)
    expected = convolve(x, layer.parameters[0].value, layer.parameters[1].value, 2, dy)
    for parameter, gradient in zip(layer.parameters, expected[2:], strict=True):
        assert parameter.gradient.tobytes() == gradient.tobytes()


def test_a_dense_layer_follows_the_specification():
    layer, random = Dense(7), np.random.default_rng(2)
    Sequential((300,), Dense(300), layer, arithmetic=PORTABLE)
    weights, bias = layer.parameters
    for parameter in layer.parameters:
        parameter.value[...] = random.standard_normal(parameter.shape)
        parameter.gradient = np.empty(parameter.shape, np.float32)
    x, dy = (random.standard_normal((units, 33)).astype(np.float32) for units in (300, 7))
    found = [layer.forward(x).copy(), layer.backward(dy), weights.gradient, bias.gradient]
    (w, a), (pixels, b), (douts, c) = map(whole, (weights.value, x, dy))
    y = back(w @ pixels, a + b).astype(np.float32) + bias.value[:, None]
    expected = y, back(w.T @ douts, a + c), back(douts @ pixels.T, b + c), back(douts.sum(axis=1), c)
    for ours, exact in zip(found, expected, strict=True):
        assert ours.tobytes() == exact.astype(np.float32).tobytes()


def test_weights_that_change_are_rounded_again():
    layer = Dense(3)
    Sequential((4,), layer, arithmetic=PORTABLE)
    x = np.ones((4, 1), np.float32)
    layer.parameters[0].value[...] = 1
    assert layer.forward(x).tolist() == [[4.0]] * 3
    layer.parameters[0].value[...] = 2
    assert layer.forward(x).tolist() == [[8.0]] * 3


@pytest.mark.parametrize("strange", [np.nan, np.inf])
@pytest.mark.parametrize("layer", [Conv2d(3, 3), TrainablePool2d(2)])
def test_nan_and_infinity_are_seen(layer, strange):
    layer = connected(layer, (1, 6, 6))
    x = np.ones((1, 6, 6, 2), np.float32)
    x[0, 0, 0, 0] = strange
    y = layer.forward(x)
    layer.backward(np.ones_like(y))
    assert not np.isfinite(y).all() and not np.isfinite(layer.parameters[0].gradient).all()


@pytest.mark.parametrize("scale", [0.0, 1e-42, 1e-38, 1e37])
def test_extreme_numbers(scale):
    layer = Dense(3)
    Sequential((5,), layer, arithmetic=PORTABLE)
    layer.parameters[0].value[...] = np.eye(3, 5)
    x = (scale * np.arange(1, 6)[:, None]).astype(np.float32)
    np.testing.assert_allclose(layer.forward(x), x[:3], rtol=0, atol=2.0**-BITS * x.max())


@pytest.mark.parametrize(
    ("shape", "layer", "words"),
    [
        ((1, 200, 200), Conv2d(2, 3), "the gradient of a convolution's weight, for one image, adds up 39,204 products"),
        ((5000, 4, 4), Conv2d(1, 3), "a pixel of a 3x3 convolution adds up 45,000 products"),
        ((1, 200, 200), TrainablePool2d(1), "the gradient of a pooling coefficient, for one image, adds up 40,000"),
    ],
)
def test_sums_that_cannot_be_exact_are_refused(shape, layer, words):
    with pytest.raises(ConfigError, match=words):
        Sequential(shape, layer, Flatten(), Dense(2), arithmetic=PORTABLE)


def test_the_loss_is_close_to_the_native_one():
    random, labels = np.random.default_rng(5), np.arange(40) % 10
    logits = random.normal(0, 5, (10, 40)).astype(np.float32)
    native, portable = SoftmaxCrossEntropy(), SoftmaxCrossEntropy()
    portable.arithmetic = PORTABLE
    (one, gradient), (other, exact) = (loss.loss_and_gradient(logits, labels) for loss in (native, portable))
    assert exact.dtype == np.float32 and other == pytest.approx(one, rel=1e-6)
    np.testing.assert_allclose(exact, gradient, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("model", ["lenet5", "lenet5-1998", "lenet5-1998-softmax", "conv8-conv8"])
def test_gradients_are_close_to_the_native_ones(model):
    nets = [build_net(Config(model=model, numerics=name), (1, 28, 28), 10) for name in ("native", "portable")]
    random, labels = np.random.default_rng(6), np.arange(20) % 10
    x, found = random.standard_normal((1, 28, 28, 20)).astype(np.float32), []
    for net in nets:
        net.initialize("fan-in", 1)
        gradient, curvature = np.empty((2, net.size), np.float32)
        loss, _ = net.loss_and_grad(x, labels, gradient)
        if "1998" in model:
            net.curvature(x, curvature)
            found.append([loss, gradient, curvature])
        else:
            found.append([loss, gradient])
    for native, portable in zip(*found, strict=True):
        np.testing.assert_allclose(portable, native, rtol=1e-3, atol=5e-4 * np.abs(native).max())


def test_a_copy_for_the_gradient_check_computes_natively():
    net = build_net(Config(numerics="portable"), (1, 28, 28), 10)
    copied = net.to(np.float64)
    assert copied.arithmetic.name == "native" and net.arithmetic is PORTABLE
    assert all(layer.arithmetic is copied.arithmetic for layer in copied.layers)

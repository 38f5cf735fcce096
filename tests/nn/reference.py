"""Slow, simple reference implementations of the layers, and a finite-difference check of a single layer.

Everything here works in float64 on plain pictures (channels, rows, columns, samples), one layer at a
time, with no buffer used twice.
"""

import numpy as np
import pytest

from distlenet.nn.activations import ELU, LeakyReLU, ReLU, ScaledTanh, Sigmoid, Tanh
from distlenet.nn.convolution import Conv2d
from distlenet.nn.dense import Dense, Flatten
from distlenet.nn.pooling import AveragePool2d, MaxPool2d, TrainablePool2d

ORDERS = {"plain": (0, 1, 2, 3), "rows first": (1, 0, 2, 3), "columns first": (2, 1, 0, 3)}


def laid_out(x, order):
    """Return the picture ``x`` (C, H, W, N) as a view of memory in that order of ORDERS."""
    axes = ORDERS[order]
    return np.ascontiguousarray(x.transpose(axes)).transpose(axes)  # each of them is its own inverse


# ---- the references: each returns its output and a function from dy to (dx, parameter gradients)


def convolve(x, kernel, bias, border):
    """Return the cross-correlation of ``x`` (C, H, W, N) with ``kernel`` (channels, C, k, k), one tap at a time."""
    k = kernel.shape[-1]
    padded = np.pad(x, ((0, 0), (border, border), (border, border), (0, 0)))
    rows, columns = padded.shape[1] - k + 1, padded.shape[2] - k + 1
    y = np.zeros((len(kernel), rows, columns, x.shape[-1])) + bias[:, None, None, None]
    for i in range(k):
        for j in range(k):
            y += np.einsum("oc,chwn->ohwn", kernel[:, :, i, j], padded[:, i : i + rows, j : j + columns])

    def back(dy):
        dpadded, dkernel = np.zeros_like(padded), np.zeros_like(kernel)
        for i in range(k):
            for j in range(k):
                under = padded[:, i : i + rows, j : j + columns]
                dkernel[:, :, i, j] = np.einsum("ohwn,chwn->oc", dy, under)
                dpadded[:, i : i + rows, j : j + columns] += np.einsum("oc,ohwn->chwn", kernel[:, :, i, j], dy)
        height, width = x.shape[1:3]
        dx = dpadded[:, border : border + height, border : border + width]
        return dx, [dkernel, dy.sum(axis=(1, 2, 3))]

    return y, back


def pool(x, window, stride, largest):
    """Return the mean or maximum of each window of ``x`` (C, H, W, N), one window at a time."""
    channels, height, width, n = x.shape
    rows, columns = 1 + (height - window) // stride, 1 + (width - window) // stride
    y = np.zeros((channels, rows, columns, n))
    shares = {}
    for i in range(rows):
        for j in range(columns):
            part = x[:, i * stride : i * stride + window, j * stride : j * stride + window]
            flat = part.reshape(channels, window * window, n)
            if largest:
                y[:, i, j] = flat.max(axis=1)
                share = np.arange(window * window)[None, :, None] == flat.argmax(axis=1)[:, None]  # the first
            else:
                y[:, i, j] = flat.mean(axis=1)
                share = np.full(flat.shape, 1 / window**2)
            shares[i, j] = share.reshape(part.shape)

    def back(dy):
        dx = np.zeros_like(x)
        for (i, j), share in shares.items():
            place = np.s_[:, i * stride : i * stride + window, j * stride : j * stride + window]
            dx[place] += share * dy[:, i : i + 1, j : j + 1]
        return dx, []

    return y, back


def subsample(x, coefficient, bias, window, stride):
    """Return coefficient * (sum of the window) + bias of ``x`` (C, H, W, N), by the mean of each window."""
    mean, back_of_mean = pool(x, window, stride, False)
    factor = (coefficient * window**2)[:, None, None, None]

    def back(dy):
        dx, _ = back_of_mean(dy * factor)
        return dx, [(dy * mean).sum(axis=(1, 2, 3)) * window**2, dy.sum(axis=(1, 2, 3))]

    return mean * factor + bias[:, None, None, None], back


def dense(x, weights, bias):
    """Return W x + b for ``x`` (inputs, N)."""
    return weights @ x + bias[:, None], lambda dy: (weights.T @ dy, [dy @ x.T, dy.sum(axis=1)])


CURVES = {  # each activation and its derivative, as functions of the input
    ReLU: (lambda x: np.maximum(x, 0), lambda x: x > 0),
    Tanh: (np.tanh, lambda x: 1 - np.tanh(x) ** 2),
    Sigmoid: (lambda x: (1 + np.tanh(x / 2)) / 2, lambda x: (1 - np.tanh(x / 2) ** 2) / 4),
    LeakyReLU: (lambda x: np.where(x > 0, x, 0.01 * x), lambda x: np.where(x > 0, 1, 0.01)),
    ELU: (lambda x: np.where(x > 0, x, np.exp(x.clip(max=0)) - 1), lambda x: np.exp(x.clip(max=0))),
    ScaledTanh: (lambda x: 1.7159 * np.tanh(2 * x / 3), lambda x: 1.7159 * 2 / 3 * (1 - np.tanh(2 * x / 3) ** 2)),
}


def apply_layer(layer, x):
    """Run the reference of ``layer`` on the float64 ``x``, with the layer's own parameters."""
    values = [parameter.value.astype(np.float64) for parameter in layer.parameters]
    match layer:
        case Conv2d():
            return convolve(x, *values, layer.border)
        case TrainablePool2d():
            return subsample(x, *values, layer.window, layer.stride)
        case AveragePool2d() | MaxPool2d():
            return pool(x, layer.window, layer.stride, isinstance(layer, MaxPool2d))
        case Dense():
            return dense(x, *values)
        case Flatten():
            return x.reshape(-1, x.shape[-1]), lambda dy: (dy.reshape(x.shape), [])
    value, slope = CURVES[type(layer)]
    return value(x), lambda dy: (dy * slope(x), [])


def losses(logits, labels):
    """Return the cross-entropy of each sample (N,) by log-sum-exp, for ``logits`` (classes, N)."""
    return np.logaddexp.reduce(logits, axis=0) - logits[labels, np.arange(len(labels))]


def run_net(net, x, labels):
    """Return logits, summed loss and flat gradient of ``net`` by the references, in float64."""
    y, backs = x.astype(np.float64), []
    for layer in net.layers:
        y, back = apply_layer(layer, y)
        backs.append(back)
    dy = np.exp(y - np.logaddexp.reduce(y, axis=0)) - (np.arange(len(y))[:, None] == labels)
    gradients = []
    for back in reversed(backs):
        dy, parts = back(dy)
        gradients[:0] = parts
    return y, losses(y, labels).sum(), np.concatenate([gradient.ravel() for gradient in gradients])


# ---- a single layer


def connect(layer, shape, random, dtype=np.float64):
    """Connect ``layer`` and give it random parameters; gradients start as NaN, so all of them must be written."""
    layer.dtype = dtype
    out = layer.connect(shape)
    for parameter in layer.parameters:
        parameter.value = random.normal(size=parameter.shape).astype(dtype)
        parameter.gradient = np.full(parameter.shape, np.nan, dtype)
    return out


def distinct(random, shape):
    """Return values within +-2, no two within 4 / size of each other, none near 0: no kink is near."""
    size = int(np.prod(shape))
    return ((random.permutation(size) - size // 2 + 0.5) * (4 / size)).reshape(shape)


def slope(loss, array, direction, epsilon=1e-6):
    """Return the derivative of ``loss()`` when ``array`` moves along ``direction``, by central differences."""
    kept = array.copy()
    array += epsilon * direction
    above = loss()
    array[...] = kept - epsilon * direction
    below = loss()
    array[...] = kept
    return (above - below) / (2 * epsilon)


def check_layer(layer, shape, n, random, order="plain", elements=12):
    """Assert that ``layer.backward`` is the derivative of ``layer.forward``, in float64.

    Compares derivatives along two random directions, which cover all elements, and along ``elements`` single elements,
    which locate a fault, of the input and of each parameter. ``shape`` is that of one sample, ``n`` the number of
    samples; a picture has that ``order`` of ORDERS in memory.
    """
    out = connect(layer, shape, random)
    x = distinct(random, (*shape, n))
    if len(shape) == 3:
        x = laid_out(x, order)
    y = layer.forward(x)
    assert y.dtype == np.float64
    assert y.shape == (*out, n)
    dy = random.normal(size=y.shape)
    kept = dy.copy()
    dx = layer.backward(dy).reshape(x.shape).copy()
    np.testing.assert_array_equal(dy, kept)  # backward does not write to its argument
    pairs = [(x, dx)] + [(parameter.value, parameter.gradient.copy()) for parameter in layer.parameters]

    def loss():
        return float((layer.forward(x) * dy).sum())

    for array, gradient in pairs:
        directions = [random.normal(size=array.shape) for _ in range(2)]
        for place in random.permutation(array.size)[:elements]:
            directions.append(np.zeros(array.shape))
            directions[-1].flat[place] = 1
        for direction in directions:
            expected = slope(loss, array, direction)
            assert (gradient * direction).sum() == pytest.approx(expected, rel=1e-6, abs=1e-6 * y.size**0.5)


def check_buffers(make, shape, order="plain"):
    """Assert that the layer made by ``make`` computes like a new one after any sequence of sample counts."""

    def passes(layer, n, seed):
        random = np.random.default_rng(seed)
        x = random.normal(size=(*shape, n)).astype(np.float32)
        y = layer.forward(laid_out(x, order) if len(shape) == 3 else x).copy()
        dx = layer.backward(random.normal(size=y.shape).astype(np.float32)).copy()
        return y, dx, *(parameter.gradient.copy() for parameter in layer.parameters)

    def fresh():
        layer = make()
        connect(layer, shape, np.random.default_rng(7), np.float32)
        return layer

    used = fresh()
    for seed, n in enumerate([32, 11, 250, 32, 32, 1, 11]):
        for found, expected in zip(passes(used, n, seed), passes(fresh(), n, seed), strict=True):
            np.testing.assert_array_equal(found, expected)

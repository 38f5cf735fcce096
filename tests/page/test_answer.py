"""The answer that the page shows: its true outputs, and not too many of them."""

import base64

import numpy as np
import pytest

pytest.importorskip("flask", reason="the drawing page needs distlenet[draw]")

from distlenet.config import Config
from distlenet.nn import Conv2d, Dense, Flatten, ReLU, Sequential, build_net
from distlenet.nn.inspection import outputs
from distlenet.page.answer import MOST_NUMBERS, answer, shown_layers
from distlenet.reader import Reader
from distlenet.runs.choice import find_checkpoint


def names(net):
    return [layer.name for layer in shown_layers(net.layers)]


def test_a_layer_is_shown_with_its_activation():
    assert names(build_net(Config(), (1, 28, 28), 10)) == [
        *("C1", "S2", "C3", "S4", "C5", "F6", "output"),
    ]
    assert names(build_net(Config(model="lenet5-1998"), (1, 28, 28), 10))[:3] == ["input", "C1", "S2"]
    assert names(Sequential((5,), ReLU(), Dense(3))) == ["relu1", "dense1"]


def test_many_or_large_maps_are_cut():
    net = Sequential((1, 64, 64), Conv2d(30, 3, padding="same"), Flatten(), Dense(3))
    maps, last = shown_layers(net.layers)
    assert maps.size == (30, 64, 64) and maps.shape == (MOST_NUMBERS // 64**2, 64, 64)
    assert last.shape == last.size == (3,)
    maps, units, _ = shown_layers(Sequential((1, 5, 5), Conv2d(99, 5), Flatten(), Dense(2000), Dense(3)).layers)
    assert maps.shape == (64, 1, 1)
    assert units.size == (2000,) and units.shape == (1024,)


@pytest.fixture
def image():
    return np.random.default_rng(3).integers(0, 256, (28, 28)).astype(np.uint8)


def test_the_answer_is_that_of_the_network(recognizer, image):
    shown = shown_layers(recognizer.net.layers)
    found = answer(recognizer, shown, image)
    probabilities = recognizer.probabilities(image)
    np.testing.assert_allclose(found["probabilities"], probabilities, atol=6e-7)
    assert found["none"] == 0
    assert found["label"] == recognizer.class_names[probabilities.argmax()]
    assert base64.b64decode(found["image"]) == image.tobytes()
    assert len(found["layers"]) == len(shown)


def test_layers_are_signed_bytes_in_plain_order(reader, recognizer, image):
    checkpoint = find_checkpoint(reader)
    net, facts = checkpoint.build_net(), checkpoint.dataset
    x = ((image / 255 - facts.mean) / facts.std).astype(np.float32)[None, :, :, None]
    true = {layer.name: output for layer, output in outputs(net, x)}
    shown = shown_layers(recognizer.net.layers)
    found = answer(recognizer, shown, image)["layers"]
    for layer, text in zip(shown, found, strict=True):
        values = np.frombuffer(base64.b64decode(text), np.int8).reshape(layer.shape)
        exact = true[recognizer.net.layers[layer.place].name][..., 0]
        np.testing.assert_allclose(values / 127, exact / np.abs(exact).max(), atol=1 / 127)


def test_a_silent_layer(recognizer):
    """A layer that outputs zeros divides nothing by zero."""
    from distlenet.page.answer import _as_bytes

    assert not _as_bytes(np.zeros((2, 3, 3), np.float32)).any()


def test_threads_share_one_network(reader, recognizer):
    """Layers use their memory again and again: answers must not mix."""
    from concurrent.futures import ThreadPoolExecutor

    images = np.random.default_rng(4).integers(0, 256, (40, 28, 28)).astype(np.uint8)
    alone = Reader(find_checkpoint(reader))
    shown = shown_layers(alone.net.layers)
    expected = [answer(alone, shown, image) for image in images]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda image: answer(recognizer, shown, image), images)) == expected

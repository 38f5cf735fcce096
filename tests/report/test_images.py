import numpy as np
import pytest

from distlenet.config import Config
from distlenet.data.augmentation import Resampler
from distlenet.data.file.dataset_file import open_digit_file
from distlenet.data.slices import DatasetSlice
from distlenet.nn import build_net
from distlenet.nn.inspection import outputs
from distlenet.reader import Reader
from distlenet.report.images import answers, mean_gradient
from distlenet.runs.record import read_run

RNG = np.random.default_rng(6)


def network(shape=(28, 28), pooling="average", classes=10):
    net = build_net(Config(pooling=pooling), (1, *shape), classes)
    net.initialize("he", 1)
    return net


@pytest.mark.parametrize("shape", [(28, 28), (20, 30), (17, 13)])
def test_the_output_of_every_layer_is_in_plain_order(shape):
    """In memory the rows of a picture come first, and layers overwrite each other: the outputs shown do neither."""
    net = network(shape)
    x = RNG.normal(size=(1, *shape, 3)).astype(np.float32)
    found = {layer.name: output for layer, output in outputs(net, x)}
    assert list(found) == [layer.name for layer in net.layers]

    kernel, bias = (net.parameters[f"C1/{name}"].value for name in "Wb")
    padded = np.pad(x[0], ((2, 2), (2, 2), (0, 0)))
    patches = np.lib.stride_tricks.sliding_window_view(padded, (5, 5), (0, 1))  # (H, W, N, 5, 5)
    expected = np.einsum("hwnij,cij->chwn", patches, kernel[:, 0]) + bias[:, None, None, None]
    np.testing.assert_allclose(found["C1"], expected, atol=1e-4)
    np.testing.assert_array_equal(found["C1.activation"], np.maximum(found["C1"], 0))
    a = found["C1.activation"]
    rows, columns = (size // 2 * 2 for size in shape)
    pooled = a[:, :rows, :columns].reshape(6, rows // 2, 2, columns // 2, 2, 3).mean(axis=(2, 4))
    np.testing.assert_allclose(found["S2"], pooled, atol=1e-5)
    np.testing.assert_array_equal(found["flatten"], found["S4"].reshape(-1, 3))
    np.testing.assert_array_equal(found["output"], net.forward(x))


def test_answers_are_those_of_the_network(trained, digits):
    reader = Reader(read_run(trained).checkpoint)
    with open_digit_file(digits) as file:
        found = answers(reader, DatasetSlice(file, "train", 100, 700))
        images, labels = file.read("train", 100, 700)
        np.testing.assert_array_equal(found.labels, labels)
        np.testing.assert_array_equal(found.images(np.array([0, 599, 7])), images[[0, 599, 7]])
        np.testing.assert_array_equal(found.predicted[:250], reader.logits(images[:250]).argmax(axis=0))
        assert found.confusion.sum() == 600 and np.trace(found.confusion) == (found.predicted == labels).sum()
        assert ((found.probability > 0.1) & (found.probability <= 1)).all()


def test_the_gradient_is_a_mean_over_validation_images(trained, digits):
    run = read_run(trained)
    reader, net, facts = Reader(run.checkpoint), run.checkpoint.build_net(), run.checkpoint.dataset
    resampler = Resampler(28, 28, facts.mean, facts.std)
    with open_digit_file(digits) as file:
        gradient, sample = mean_gradient(reader, run, file)
        images, labels = file.read("train", 642, 700)
    assert sample == "58 validation images"
    whole = np.zeros_like(net.theta)
    net.loss_and_grad(resampler.normalize(images), labels.astype(np.intp), whole)
    np.testing.assert_array_equal(gradient, whole / 58)

"""Exported networks give the logits of ours, and broken wishes one sentence."""

import json

import numpy as np
import pytest
from checkpoints import untrained
from drawn import MNIST

from distlenet.cli import main
from distlenet.config import Config
from distlenet.data.augmentation import Resampler
from distlenet.data.slices import DatasetFacts
from distlenet.data.sources.drawing import draw_digits
from distlenet.data.sources.idx import read_idx
from distlenet.errors import ExportError
from distlenet.export import export
from distlenet.export.onnx_file import CONVERTERS, operators
from distlenet.export.tensor_files import tensors
from distlenet.nn import input_statistics
from distlenet.nn.layer import Layer
from distlenet.nn.models import ACTIVATIONS, MODELS, POOLINGS, TABLE
from distlenet.runs.checkpoint_file import read_checkpoint, write_checkpoint
from distlenet.runs.experiment import make_state

IMAGES, LABELS = draw_digits(1000, seed=9)
NETWORKS = {
    **{name: {"model": name} for name in MODELS if name != "lenet5-1998"},
    "lenet5-1998": {"model": "lenet5-1998", "init": "fan-in"},
    **{name: {"activation": name} for name in ACTIVATIONS},
    **{name: {"pooling": name} for name in POOLINGS},
    "trainable, scaled-tanh": {"pooling": "trainable", "activation": "scaled-tanh", "model": "single-conv-pool"},
}


@pytest.fixture(scope="module", params=NETWORKS)
def checkpoint(request, tmp_path_factory):
    return untrained(tmp_path_factory.mktemp("checkpoint") / "last.h5", noise=0.01, **NETWORKS[request.param])


def answers(checkpoint, images):
    """Return our own logits and probabilities, (N, classes) each."""
    facts, net = checkpoint.dataset, checkpoint.build_net()
    resampler = Resampler(*facts.image_shape, facts.mean, facts.std)
    logits = net.forward(resampler.normalize(images)).copy()
    return logits.T, net.loss.probabilities(logits).T


def test_every_activation_and_pooling_by_name_can_be_exported():
    assert {*ACTIVATIONS.values(), *POOLINGS.values()} <= CONVERTERS.keys()


def torch_module(torch, layers):
    """Build the network as the metadata describes it, from modules of torch.nn and the two that it lacks."""

    class ScaledTanh(torch.nn.Module):
        def __init__(self, amplitude, slope):
            super().__init__()
            self.amplitude, self.slope = amplitude, slope

        def forward(self, x):
            return self.amplitude * torch.tanh(self.slope * x)

    class RBF(torch.nn.Module):
        def __init__(self, in_features, out_features):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.empty(out_features, in_features))

        def forward(self, x):
            return -((x[:, None] - self.weight) ** 2).sum(dim=2)

    own = {"ScaledTanh": ScaledTanh, "RBF": RBF}
    module = torch.nn.Sequential()
    for name, kind, arguments in layers:
        make = own.get(kind) or getattr(torch.nn, kind)
        module.add_module(name.replace(".", "_"), make(**arguments))
    return module


def run_onnx(checkpoint, path, images):
    """Export the network to ``path``; return the file's logits and probabilities, (N, classes) each, and classes."""
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    export(checkpoint, "onnx", path)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    found = session.run(["logits", "probabilities"], {"pixels": images[:, None].astype(np.float32)})
    return *found, json.loads(session.get_modelmeta().custom_metadata_map["class_names"])


def test_onnx(checkpoint, tmp_path):
    logits, likely, names = run_onnx(checkpoint, tmp_path / "net.onnx", IMAGES)
    expected = answers(checkpoint, IMAGES)
    assert np.abs(logits - expected[0]).max() < 1e-4
    assert np.abs(likely - expected[1]).max() < 1e-5
    assert names == list("0123456789")


def test_onnx_of_odd_sizes(tmp_path):
    """Rows and columns that do not fill a window are left out."""
    for pooling in POOLINGS:
        checkpoint = untrained(tmp_path / f"{pooling}.h5", (27, 23), noise=0.01, pooling=pooling)
        images = np.ascontiguousarray(IMAGES[:10, :27, :23])
        logits, _, _ = run_onnx(checkpoint, tmp_path / "net.onnx", images)
        assert np.abs(logits - answers(checkpoint, images)[0]).max() < 1e-4


@pytest.mark.parametrize("kind", ["safetensors", "npz"])
def test_parameters_fit_a_torch_module(kind, checkpoint, tmp_path):
    torch = pytest.importorskip("torch")
    path = tmp_path / f"net.{kind}"
    export_or_skip(checkpoint, kind, path)
    if kind == "npz":
        arrays = dict(np.load(path, allow_pickle=False))
        about = json.loads(str(arrays.pop("metadata")))
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    else:
        from safetensors import safe_open

        with safe_open(path, "pt") as file:
            about = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    assert about["activation"] == checkpoint.config.activation
    module = torch_module(torch, json.loads(about["layers"]))
    module.load_state_dict(tensors)  # strict: every name and shape
    facts = checkpoint.dataset
    x = (torch.from_numpy(IMAGES[:, None].astype(np.float32)) / 255 - facts.mean) / facts.std
    with torch.no_grad():
        assert np.abs(module(x).numpy() - answers(checkpoint, IMAGES)[0]).max() < 1e-4


def test_what_a_partial_convolution_does_not_see_is_zero(tmp_path):
    checkpoint = untrained(tmp_path / "last.h5", noise=0.01, **NETWORKS["lenet5-1998"])
    found = tensors(checkpoint)
    assert found["C3.weight"].shape == (16, 6, 5, 5) and found["S2.weight"].shape == (6, 1, 2, 2)
    seen = found["C3.weight"].any(axis=(2, 3))
    assert [np.flatnonzero(row).tolist() for row in seen] == TABLE
    assert set(np.unique(found["output.weight"])) == {-1, 1}


def mnist_images(split, count):
    images, labels = (read_idx(MNIST / f"{split}-{what}-ubyte.gz")[:count] for what in ("images-idx3", "labels-idx1"))
    return images, labels.astype(np.intp)


def a_little_trained(model, path):
    """Return a checkpoint of ``model`` after 6,000 of MNIST's training images."""
    config = Config(**NETWORKS[model], optimizer="adam")
    mean, std = input_statistics(model, 0.1307, 0.3081)
    facts = DatasetFacts("MNIST", "", (28, 28), tuple("0123456789"), mean, std)
    state, resampler = make_state(config, facts), Resampler(28, 28, mean, std)
    images, labels = mnist_images("train", 6000)
    gradient = np.empty_like(state.net.theta)
    for start in range(0, 6000, 40):
        x = resampler.normalize(images[start : start + 40])
        state.net.loss_and_grad(x, labels[start : start + 40], gradient)
        state.optimizer.step(state.net.theta, gradient / 40, 0.002)
    write_checkpoint(path, state, config, facts)
    return read_checkpoint(path)


@pytest.mark.skipif(not (MNIST / "t10k-images-idx3-ubyte.gz").is_file(), reason="$DISTLENET_MNIST is not set")
@pytest.mark.parametrize("model", ["lenet5", "lenet5-1998", "conv8-conv8"])
def test_real_digits(model, tmp_path):
    """A thousand of MNIST's test images, on a network that has learned a little: its logits are far apart."""
    images, labels = mnist_images("t10k", 1000)
    checkpoint = a_little_trained(model, tmp_path / "last.h5")
    logits, likely, _ = run_onnx(checkpoint, tmp_path / "net.onnx", images)
    expected = answers(checkpoint, images)
    assert (likely.argmax(axis=1) == labels).mean() > 0.8
    np.testing.assert_allclose(logits, expected[0], rtol=1e-6, atol=1e-4)  # distances of an RBF are 200 and more
    np.testing.assert_allclose(likely, expected[1], atol=1e-4)


def export_or_skip(checkpoint, kind, path):
    if kind == "safetensors":
        pytest.importorskip("safetensors")
    export(checkpoint, kind, path)


def test_a_layer_without_an_operator():
    class Dropout(Layer):
        name = "D7"

    with pytest.raises(ExportError, match="layer D7 is a Dropout"):
        operators(Dropout())


def test_command(trained, tmp_path, capsys):
    for words in ([tmp_path / "a.npz"], ["npz", tmp_path / "b"]):
        assert main(["export", str(trained), "--to", *map(str, words)]) == 0
        assert "wrote" in capsys.readouterr().out
    assert (tmp_path / "a.npz").read_bytes()[:2] == (tmp_path / "b").read_bytes()[:2] == b"PK"
    assert main(["export", str(trained), "--to", "net.onx"]) == 2
    assert "did you mean 'onnx'" in capsys.readouterr().err
    assert main(["export", str(trained), "--to", str(tmp_path / "b" / "net.npz")]) == 13  # b is a file
    assert "cannot write" in capsys.readouterr().err

"""Exported networks give the logits of ours, and broken wishes one sentence."""

import json

import numpy as np
import pytest

from distlenet.cli import main
from distlenet.config import Config
from distlenet.data.augmentation import Resampler
from distlenet.data.drawing import draw_digits
from distlenet.errors import ExportError
from distlenet.export import export
from distlenet.export.onnx_file import operators
from distlenet.nn.layer import Layer
from distlenet.training.checkpoint import DatasetFacts, read_checkpoint, write_checkpoint
from distlenet.training.experiment import make_state

IMAGES, LABELS = draw_digits(1000, seed=9)


@pytest.fixture(scope="module", params=[("relu", "average"), ("tanh", "max")])
def checkpoint(request, tmp_path_factory):
    activation, pooling = request.param
    config = Config(activation=activation, pooling=pooling)
    facts = DatasetFacts("drawn", "", (28, 28), tuple("0123456789"), 0.1307, 0.3081)
    path = tmp_path_factory.mktemp("checkpoint") / "last.h5"
    state = make_state(config, facts)
    state.net.theta += 0.01 * np.random.default_rng(1).standard_normal(state.net.theta.shape, np.float32)
    write_checkpoint(path, state, config, facts)
    return read_checkpoint(path)


@pytest.fixture(scope="module")
def logits(checkpoint):
    facts = checkpoint.dataset
    resampler = Resampler(*facts.image_shape, facts.mean, facts.std)
    return checkpoint.build_net().forward(resampler.normalize(IMAGES)).T.copy()


def torch_module(torch, checkpoint):
    activation = {"relu": torch.nn.ReLU, "tanh": torch.nn.Tanh}[checkpoint.config.activation]
    pool = {"average": torch.nn.AvgPool2d, "max": torch.nn.MaxPool2d}[checkpoint.config.pooling]
    layers = [("C1", torch.nn.Conv2d(1, 6, 5, padding=2)), ("a1", activation()), ("S2", pool(2))]
    layers += [("C3", torch.nn.Conv2d(6, 16, 5)), ("a3", activation()), ("S4", pool(2))]
    layers += [("flatten", torch.nn.Flatten()), ("C5", torch.nn.Linear(400, 120)), ("a5", activation())]
    layers += [("F6", torch.nn.Linear(120, 84)), ("a6", activation()), ("output", torch.nn.Linear(84, 10))]
    module = torch.nn.Sequential()
    for name, layer in layers:
        module.add_module(name, layer)
    return module


def test_onnx(checkpoint, logits, tmp_path):
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    export(checkpoint, "onnx", tmp_path / "net.onnx")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = runtime.InferenceSession(tmp_path / "net.onnx", options, providers=["CPUExecutionProvider"])
    found, likely = session.run(["logits", "probabilities"], {"pixels": IMAGES[:, None].astype(np.float32)})
    assert np.abs(found - logits).max() < 1e-4
    np.testing.assert_allclose(likely.sum(axis=1), 1, atol=1e-5)
    assert json.loads(session.get_modelmeta().custom_metadata_map["class_names"]) == list("0123456789")


@pytest.mark.parametrize("kind", ["safetensors", "npz"])
def test_parameters_fit_a_torch_module(kind, checkpoint, logits, tmp_path):
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
    module = torch_module(torch, checkpoint)
    module.load_state_dict(tensors)  # strict: every name and shape
    facts = checkpoint.dataset
    x = (torch.from_numpy(IMAGES[:, None].astype(np.float32)) / 255 - facts.mean) / facts.std
    with torch.no_grad():
        assert np.abs(module(x).numpy() - logits).max() < 1e-4


def export_or_skip(checkpoint, kind, path):
    if kind == "safetensors":
        pytest.importorskip("safetensors")
    export(checkpoint, kind, path)


def test_a_layer_without_an_operator():
    class Dropout(Layer):
        name = "D7"

    with pytest.raises(ExportError, match="layer D7 is a Dropout"):
        operators([Dropout()])


def test_command(trained, tmp_path, capsys):
    for words in ([tmp_path / "a.npz"], ["npz", tmp_path / "b"]):
        assert main(["export", str(trained), "--to", *map(str, words)]) == 0
        assert "wrote" in capsys.readouterr().out
    assert (tmp_path / "a.npz").read_bytes()[:2] == (tmp_path / "b").read_bytes()[:2] == b"PK"
    assert main(["export", str(trained), "--to", "net.onx"]) == 2
    assert "did you mean 'onnx'" in capsys.readouterr().err
    assert main(["export", str(trained), "--to", str(tmp_path / "b" / "net.npz")]) == 13  # b is a file
    assert "cannot write" in capsys.readouterr().err

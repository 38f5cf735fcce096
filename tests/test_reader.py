"""All probabilities shown come from the network's loss."""

import json

import numpy as np
import pytest
from checkpoints import untrained

from distlenet.data.sources.drawing import draw_digits
from distlenet.errors import ExportError
from distlenet.export.onnx_file import probability_operators
from distlenet.nn import MODELS
from distlenet.nn.losses import SoftmaxCrossEntropy
from distlenet.reader import Reader

IMAGES, _ = draw_digits(4, seed=9)


@pytest.mark.parametrize(
    "settings",
    [
        *({"model": model} for model in MODELS if model != "lenet5-1998"),
        *({"model": "lenet5-1998", "init": "fan-in", "rubbish": rubbish} for rubbish in (1.0, 60.0, 300.0)),
    ],
)
def test_the_probabilities_are_those_of_the_loss(settings, tmp_path):
    checkpoint = untrained(tmp_path / "last.h5", **settings)
    reader, net = Reader(checkpoint), checkpoint.build_net()
    facts, together = checkpoint.dataset, reader.likely(reader.outputs(IMAGES)[-1][1])
    for image, among in zip(IMAGES, together.T, strict=True):
        x = ((image / 255 - facts.mean) / facts.std).astype(np.float32)[None, :, :, None]
        expected = net.loss.probabilities(net.forward(x).astype(np.float64))[:, 0]
        np.testing.assert_allclose(reader.probabilities(image), expected, rtol=1e-3, atol=1e-12)
        np.testing.assert_allclose(among, expected, rtol=1e-3, atol=1e-12)
        assert reader.best(image)[0] == (str(expected.argmax()), pytest.approx(expected.max(), rel=1e-3))
    if "rubbish" in settings:  # the untrained distances are far above 1 and far below 300
        assert expected.sum() < 1e-3 if settings["rubbish"] == 1 else 0 < expected.sum() <= 1


def test_predict_and_the_page_show_the_probability_of_rubbish(tmp_path, distlenet):
    Image = pytest.importorskip("PIL.Image")
    checkpoint = untrained(tmp_path / "last.h5", model="lenet5-1998", init="fan-in", rubbish=70.0)
    Image.fromarray(255 - IMAGES[0]).resize((112, 112)).save(tmp_path / "digit.png")
    words = ["predict", tmp_path / "last.h5", tmp_path / "digit.png"]
    [answer] = json.loads(distlenet(*words, "--json").expect().stdout)
    assert answer["none_of_these"] > 0.9 and 0 < answer["probability"] < 0.1
    assert "  none of these >99.99 %" in distlenet(*words).expect().stdout
    pytest.importorskip("flask")
    from distlenet.page.answer import answer as answer_of

    reader = Reader(checkpoint)
    found = answer_of(reader, [], IMAGES[0])
    assert found["none"] == pytest.approx(1 - sum(found["probabilities"]), abs=1e-4) and found["none"] > 0.9


def test_a_reader_shows_what_it_is(tmp_path):
    reader = Reader(untrained(tmp_path / "last.h5", model="feed-forward"))
    assert repr(reader) == f"Reader('{tmp_path}/last.h5', model='feed-forward', classes=10, image_shape=(28, 28))"


def test_a_loss_with_its_own_probabilities(tmp_path):
    """They are shown; export to ONNX, which cannot represent them, is refused."""

    class Cautious(SoftmaxCrossEntropy):
        def probabilities(self, logits):
            return super().probabilities(logits) / 2

    checkpoint = untrained(tmp_path / "last.h5")
    reader = Reader(checkpoint)
    reader.net.loss = Cautious()
    assert reader.probabilities(IMAGES[0]).sum() == pytest.approx(0.5)
    with pytest.raises(ExportError, match="Cautious computes its own probabilities"):
        probability_operators(Cautious())

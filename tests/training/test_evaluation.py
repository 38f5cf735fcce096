"""Evaluation: the fixed chunks, whoever evaluates them, and the end of it when a signal asks for one."""

import pretend
import pytest

from distlenet.config import Config
from distlenet.data.augmentation import Resampler
from distlenet.data.file.dataset_file import open_digit_file
from distlenet.nn import build_net
from distlenet.parallel import Serial
from distlenet.training.evaluation import DatasetSlice, evaluate, own_chunks
from distlenet.training.signals import Signals, Stopped


@pytest.fixture
def part(digits):
    file = open_digit_file(digits)
    return DatasetSlice(file, "test", 0, file.length("test"))  # 1,350 images


@pytest.fixture
def net():
    net = build_net(Config(), (1, 28, 28), 10)
    net.initialize("he", 1)
    return net


@pytest.mark.parametrize("ranks", [1, 2, 4, 8])
def test_chunks_of_250(part, ranks):
    def sizes(comm):
        return [(chunk, len(images)) for chunk, images, labels in own_chunks(part, comm)]

    found = [sizes(Serial())] if ranks == 1 else pretend.run(ranks, sizes)
    assert [size for own in found for size in own] == [*((chunk, 250) for chunk in range(5)), (5, 100)]


def test_a_signal_is_seen_at_the_next_chunk(part, net, monkeypatch):
    signals, forward, calls = Signals(), net.forward, []

    def interrupted(x):
        calls.append(x.shape[-1])
        if len(calls) == 2:
            signals.ask_to_stop()
        return forward(x)

    monkeypatch.setattr(net, "forward", interrupted)
    with pytest.raises(Stopped):
        evaluate(net, part, Resampler(28, 28, 0.13, 0.31), Serial(), 10, signals)
    assert calls == [250, 250]

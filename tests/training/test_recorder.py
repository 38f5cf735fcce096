"""What the flight recorder keeps of a large network."""

import types

import numpy as np

from distlenet.training import recorder


def test_copies_take_no_more_than_their_room(monkeypatch):
    net = types.SimpleNamespace(theta=np.zeros(100, np.float32), views=lambda vector: {})
    for copies in (0, 1, 3, 8, 50):
        monkeypatch.setattr(recorder, "ROOM", copies * net.theta.nbytes)
        kept = recorder.Recorder()
        for step in range(0, 20 * recorder.STRIDE, recorder.STRIDE):
            net.theta[:] = step
            kept.note(types.SimpleNamespace(net=net, progress=types.SimpleNamespace(steps=step)), 1.0, net.theta)
        last = range(20 * recorder.STRIDE - min(copies, 8) * recorder.STRIDE, 20 * recorder.STRIDE, recorder.STRIDE)
        assert [(steps, theta[0]) for steps, theta in kept.copies] == [(step, step) for step in last]

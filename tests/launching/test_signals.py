"""How the launcher handles signals."""

import os
import signal
import time

import pytest

from distlenet.launching import signals as launch_signals
from distlenet.launching.signals import Requests


class Job:
    """A job that only records the signals sent to it."""

    mark, can_be_stopped = "no such mark", True

    def __init__(self):
        self.heard = []

    def pass_on(self, number):
        self.heard.append(signal.Signals(number).name)

    def end(self):
        self.heard.append("end")


@pytest.mark.parametrize(
    ("names", "heard"),
    [
        ("HUP", ["SIGHUP"]),
        ("HUP HUP HUP", ["SIGHUP"]),  # from the terminal and from the shell
        ("XCPU XCPU", ["SIGXCPU"]),  # the system sends it every second
        ("HUP TERM", ["SIGHUP"]),  # the session is closed
        ("HUP TERM TERM", ["SIGHUP", "end"]),
        ("INT INT", ["SIGINT", "end"]),
        ("TERM INT", ["SIGTERM", "end"]),
        ("USR2 QUIT", ["SIGUSR2"]),
        ("USR1 USR1 TERM USR1", ["SIGUSR1", "SIGUSR1", "SIGTERM", "SIGUSR1"]),
        ("CONT TERM", ["SIGTERM"]),
    ],
)
def test_signals_in_sequence(monkeypatch, names, heard):
    monkeypatch.setattr(launch_signals, "ECHO", 0.0)
    job = Job()
    with Requests() as requests:
        requests.job = job
        for name in names.split():
            os.kill(os.getpid(), getattr(signal, f"SIG{name}"))
            time.sleep(0.001)
    assert job.heard == heard
    endings = [name for name in names.split() if name not in ("USR1", "CONT")]
    assert requests.asked == (getattr(signal, f"SIG{endings[0]}") if endings else None)


def test_the_same_key_press_twice_counts_once():
    job = Job()
    with Requests() as requests:
        requests.job = job
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGINT)
    assert job.heard == ["SIGINT"]


def test_handlers_are_restored_and_ignored_ones_left_alone():
    numbers = Requests.numbers
    before = {number: signal.getsignal(number) for number in numbers}
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Requests() as requests:
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            os.kill(os.getpid(), signal.SIGHUP)
            assert requests.asked is None
    finally:
        signal.signal(signal.SIGHUP, before[signal.SIGHUP])
    assert {number: signal.getsignal(number) for number in numbers} == before


def test_a_pause_ends_when_a_signal_asks_for_the_end():
    with Requests() as requests:
        os.kill(os.getpid(), signal.SIGTERM)
        started = time.monotonic()
        requests.pause(60)
        assert time.monotonic() - started < 30

"""Event files: what TensorBoard will show, also of runs that were stopped, killed, healed or met a full disk."""

import json
import resource
import struct
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
from checkpoints import no_room
from sessions import lines, stop_after, train_run

pytest.importorskip("tensorboardX", reason="the extra `tensorboard` is not installed")

from distlenet.runs import tensorboard

STEPS = 11  # of an epoch: 642 images in batches of 64
FLAGS = {"epochs": 2, "batch_size": 64}
train = partial(train_run, flags=FLAGS, log_every=2, tensorboard=True)


def records(path):
    """Yield the events of one file; every checksum is verified, and nothing may be left over at its end."""
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.record_writer import masked_crc32c

    content, place = path.read_bytes(), 0
    while place < len(content):
        header = content[place : place + 8]
        (length,) = struct.unpack("<Q", header)
        event = content[place + 12 : place + 12 + length]
        first, second = (struct.unpack("<I", content[at : at + 4])[0] for at in (place + 8, place + 12 + length))
        assert (first, second) == (masked_crc32c(header), masked_crc32c(event))
        yield Event.FromString(event)
        place += 16 + length


def shown(run):
    """Return what counts of the events in ``run``: tag -> (step, value) pairs in the order they were written."""
    from tensorboardX.proto.event_pb2 import SessionLog

    points = {}
    for path in sorted((run / "tensorboard").iterdir()):
        first, *others = records(path)
        assert first.file_version == "brain.Event:2"
        for event in others:
            if event.HasField("session_log"):
                assert event.session_log.status == SessionLog.START
                points = {tag: [p for p in found if p[0] < event.step] for tag, found in points.items()}
            for value in event.summary.value:
                what = value.histo if value.HasField("histo") else value.simple_value
                points.setdefault(value.tag, []).append((event.step, what))
    return points


def steps(points, tag):
    return [step for step, _ in points[tag]]


@pytest.fixture(scope="module")
def whole(digits, tmp_path_factory):
    session = train(digits, tmp_path_factory.mktemp("runs") / "whole").expect()
    return session.run


def test_points_of_a_run(whole):
    points = shown(whole)
    journal = lines(whole)
    by_step = [line for line in journal if line["kind"] == "step"]
    assert steps(points, "loss/batch") == [line["steps"] for line in by_step] == list(range(2, 2 * STEPS + 1, 2))
    for tag, key in (("loss/batch", "loss"), ("accuracy/batch", "accuracy"), ("learning_rate", "lr")):
        assert [value for _, value in points[tag]] == pytest.approx([line[key] for line in by_step], rel=1e-6)
    epochs = [line for line in journal if line["kind"] == "epoch"]
    for split in ("running", "train", "validation"):
        for figure in ("loss", "accuracy"):
            expected = [(line["step"], pytest.approx(line[split][figure])) for line in epochs]
            assert points[f"{figure}/{split}"] == expected
    assert "loss/test" not in points
    shares = [points[f"time_share/{name}"] for name in ("gradients_and_updates", "exchange", "evaluation")]
    assert [sum(value for _, value in at) for at in zip(*shares, strict=True)] == pytest.approx([1, 1])
    assert all(value > 0 for _, value in points["images_per_second/epoch"] + points["gradient_norm"])
    weights = [value**2 for _, value in points["gradient_norm/C1/W"] + points["gradient_norm/output/W"]]
    assert 0 < sum(weights) < sum(value**2 for _, value in points["gradient_norm"])


def test_histograms_hold_every_weight_and_the_gradient_of_the_latest_step(whole):
    points = shown(whole)
    for kind in ("weights", "gradients"):
        histograms = points[f"{kind}/C3/W"]
        assert [step for step, _ in histograms] == [STEPS, 2 * STEPS]
        for _, histogram in histograms:
            assert histogram.num == sum(histogram.bucket) == 16 * 6 * 5 * 5
            assert histogram.min < 0 < histogram.max
    norm = points["gradients/C3/W"][1][1].sum_squares ** 0.5
    assert norm == pytest.approx(points["gradient_norm/C3/W"][-1][1], rel=1e-4)  # the same step, unclipped


def test_the_files_are_what_tensorboard_reads(whole, resumed):
    """In a process of its own: the reader brings libraries and warnings along."""
    program = (
        "import json, sys\n"
        "from tensorboard.backend.event_processing.event_accumulator import EventAccumulator\n"
        "read = EventAccumulator(sys.argv[1], {'scalars': 0, 'histograms': 0})\n"
        "read.Reload()\n"
        "tags = read.Tags()\n"
        "found = {tag: [(e.step, e.value) for e in read.Scalars(tag)] for tag in tags['scalars']}\n"
        "print(json.dumps([found, {tag: len(read.Histograms(tag)) for tag in tags['histograms']}]))\n"
    )
    for run in (whole, resumed):
        command = [sys.executable, "-c", program, str(run / "tensorboard")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        if "No module named 'tensorboard'" in done.stderr:
            pytest.skip("tensorboard itself is not installed")
        scalars, histograms = json.loads(done.stdout.splitlines()[-1])
        points = shown(run)
        assert {tag: [tuple(point) for point in found] for tag, found in scalars.items()} == {
            tag: points[tag] for tag in points if not tag.startswith(("weights", "gradients"))
        }
        assert histograms == {tag: 2 for tag in points if tag not in scalars} and len(histograms) == 20


@pytest.fixture(scope="module")
def resumed(digits, tmp_path_factory):
    """A run whose latest steps are lost: stopped in the second epoch, resumed from the end of the first."""
    run = tmp_path_factory.mktemp("runs") / "resumed"
    assert train(digits, run, act=stop_after(STEPS + 5)).code == 130
    (run / "checkpoints" / "last.h5").unlink()
    assert steps(shown(run), "loss/batch")[-1] > STEPS + 2
    assert train(digits, run, ranks=3, resume="auto").code == 0
    assert len(list((run / "tensorboard").iterdir())) == 2  # one a start, not one a rank
    return run


def test_a_resumed_run_has_every_point_once(whole, resumed):
    first, second = shown(whole), shown(resumed)
    assert {tag: steps(first, tag) for tag in first} == {tag: steps(second, tag) for tag in second}
    assert first["loss/batch"] == second["loss/batch"]


def test_an_evaluation_that_is_done_again_is_shown_once(digits, tmp_path):
    def stop_in_evaluation(rank, state, signals):
        if state.progress.steps == STEPS:
            signals.ask_to_stop()

    train(digits, tmp_path / "run", act=stop_in_evaluation).expect(130)
    train(digits, tmp_path / "run", resume="auto").expect()
    points = shown(tmp_path / "run")
    assert steps(points, "loss/validation") == steps(points, "weights/C1/W") == [STEPS, 2 * STEPS]
    assert steps(points, "loss/batch") == list(range(2, 2 * STEPS + 1, 2))


def test_a_healed_run_shows_what_counts(whole, digits, tmp_path):
    def explode(rank, state, signals):
        if state.progress.steps == STEPS + 7 and not state.progress.divergences:
            state.net.theta[:] = np.nan

    session = train(digits, tmp_path / "run", act=explode).expect()
    points = shown(tmp_path / "run")
    assert steps(points, "loss/batch") == list(range(2, 2 * STEPS + 1, 2))
    assert steps(points, "weights/C1/W") == [STEPS, 2 * STEPS]
    before, after = dict(shown(whole)["learning_rate"]), dict(points["learning_rate"])
    assert "gone back to epoch 1, step 1" in " ".join(session.notices)  # all of it was done again
    assert [after[step] / before[step] for step in before] == pytest.approx([0.5] * STEPS)


def test_a_full_disk_does_not_end_the_run(digits, tmp_path, monkeypatch):
    write, count = tensorboard.append, [0]

    def refuse(path, content):
        count[0] += 1
        if 5 < count[0] < 10:
            no_room()
        write(path, content)

    monkeypatch.setattr(tensorboard, "append", refuse)
    session = train(digits, tmp_path / "run").expect()
    (told,) = session.notices
    assert "the disk is full" in told and "TensorBoard lacks points" in told
    assert 0 < len(shown(tmp_path / "run")["loss/batch"]) < STEPS


def test_a_record_is_written_whole_or_not_at_all(tmp_path):
    path, limits = tmp_path / "events", resource.getrlimit(resource.RLIMIT_FSIZE)
    tensorboard.append(path, b"x" * 100)
    resource.setrlimit(resource.RLIMIT_FSIZE, (150, limits[1]))
    try:
        with pytest.raises(OSError, match="No space left|too large"):
            tensorboard.append(path, b"y" * 100)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.stat().st_size == 116


def test_overwriting_a_run_removes_its_points(digits, tmp_path):
    for _ in range(2):
        session = train(digits, tmp_path / "run", flags={**FLAGS, "epochs": 1}, overwrite=True)
        assert session.code == 0 and len(list((tmp_path / "run" / "tensorboard").iterdir())) == 1


def test_without_the_library_the_run_does_not_begin(digits, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    train(digits, tmp_path / "run", ranks=2).expect(2, "[tensorboard]")
    assert not (tmp_path / "run").exists()
    assert train_run(digits, tmp_path / "run", flags={**FLAGS, "epochs": 1}).code == 0


def test_the_option(digits, tmp_path, distlenet):
    distlenet("train", "--data", digits, "--run", tmp_path / "run", "--epochs", 1, "--tensorboard").expect()
    assert "weights/C1/W" in shown(tmp_path / "run")

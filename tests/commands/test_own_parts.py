"""A user-defined optimizer, schedule, augmentation, callback and format, on the real command line."""

import json
import shlex
import shutil
from pathlib import Path

import pytest

from distlenet.data.file.dataset_file import open_digit_file

OWN = Path(__file__).parent.parent / "own"
NAMED = ["--optimizer", "lion.py:Lion", "--schedule", "waves.py:waves", "--augmentation", "erase.py:erase"]
NAMED_IN_ORDER = [*NAMED[-2:], *NAMED[:-2]]  # of the settings
SHORT = ["--epochs", 2, "--batch-size", 64, "--lr", 0.002, "--display", "quiet"]


@pytest.fixture
def folder(tmp_path):
    """A working directory with the examples."""
    for path in OWN.glob("*.py"):
        shutil.copy(path, tmp_path)
    return tmp_path


def test_the_same_bits_on_two_ranks_with_a_callback_on_the_root(any_mpi, digits, folder, distlenet, summary_of):
    words = ["train", "--data", digits, "--model", "swish.py:build", *NAMED, *SHORT, "--callback", "watch.py:watch"]
    one = distlenet(*words, "--run", "one", cwd=folder).expect()
    two = distlenet(*words, "--run", "two", cwd=folder, runtime=any_mpi, ranks=2).expect()
    assert summary_of(folder / "one")["theta_sha256"] == summary_of(folder / "two")["theta_sha256"]
    assert one.stdout.count("epoch 1: ") == two.stdout.count("epoch 1: ") == 1
    shown = json.loads(distlenet("inspect", "two", "--json", cwd=folder).expect().stdout)
    assert shown["own_code"].keys() == {"model", "optimizer", "schedule", "augmentation"}
    assert shown["config"]["optimizer"] == "lion.py:Lion"


def test_resumed_by_the_rules_of_trust(digits, folder, distlenet, only_sentence):
    train = ["train", "--data", digits, "--run", "run", *SHORT]
    distlenet(*train, *NAMED, cwd=folder).expect()
    more = [*train, "--epochs", 3, "--override", "epochs", "--resume"]
    refused = distlenet(*more, cwd=folder)
    only_sentence(refused, 3, "lion.py:Lion (", "as its optimizer and waves.py:waves (", "they are not run")
    again = shlex.split(refused.stderr.rpartition("if you trust them: distlenet ")[2])
    assert again == ["train", *NAMED_IN_ORDER, *map(str, more[1:])]
    message = distlenet(*more, "--trust-code", cwd=folder).expect().stderr
    for name in NAMED[1::2]:
        assert f"running {name} ({folder}/" in message


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            ["--callback", "watch.py:wach"],
            "callback watch.py:wach: .* defines no function 'wach' (did you mean 'watch'?)",
        ),
        (["--callback", "watch"], "callback watch: expected FILE.py:FUNCTION"),
        (["--callback", "lion.py:Lion"], "callback lion.py:Lion takes (config, decays), expected (event)"),
        (["--optimizer", "lion.py:waves"], "optimizer lion.py:waves: "),
        (["--schedule", "gone.py:waves"], "there is no schedule file "),
        (["--augmentation", "watch.py:watch"], "augmentation watch.py:watch takes (event), expected (images, random)"),
    ],
)
def test_faults_give_one_sentence(words, says, digits, folder, distlenet, only_sentence):
    done = distlenet("train", "--data", digits, "--run", "run", *words, cwd=folder)
    only_sentence(done, 3, *says.split(".*"))
    assert not (folder / "run").exists()


def test_a_wrong_callback_is_one_sentence_on_every_rank(openmpi, digits, folder, distlenet, only_sentence):
    words = ["train", "--data", digits, "--run", "run", "--callback", "watch.py:wach"]
    only_sentence(distlenet(*words, cwd=folder, runtime=openmpi, ranks=2), 3, "did you mean 'watch'?")


def test_a_callback_that_raises_ends_the_run_once_it_is_saved(digits, folder, distlenet, only_sentence):
    (folder / "mine.py").write_text(
        "def mine(event):\n    if getattr(event, 'step', 0) == 3:\n        raise OSError('full')\n"
    )
    words = ["train", "--data", digits, "--run", "run", *SHORT, "--callback", "mine.py:mine"]
    done = distlenet(*words, cwd=folder)
    only_sentence(done, 18, "the callback mine raised OSError: full (mine.py, line 3)", "the run is saved in")


def test_two_callbacks_hear_all_events_in_their_order(digits, folder, distlenet):
    text = (
        "def {0}(event):\n    with open('heard', 'a') as file:\n        print('{0}', type(event).__name__, file=file)\n"
    )
    (folder / "mine.py").write_text(text.format("first") + text.format("second"))
    words = ["train", "--data", digits, "--run", "run", *SHORT, "--epochs", 1]
    distlenet(*words, "--callback", "mine.py:first", "--callback", "mine.py:second", cwd=folder).expect()
    heard = (folder / "heard").read_text().splitlines()
    assert heard[:2] == ["first RunStarted", "second RunStarted"] and heard[-1] == "second RunFinished"
    assert heard.count("first StepDone") == heard.count("second StepDone") == 11


def test_a_dataset_of_a_format_of_ones_own(folder, distlenet, only_sentence):
    lines = [json.dumps({"pixels": [[100 + i] * 12] * 12, "label": i % 3}) for i in range(60)]
    (folder / "mine.jsonl").write_text("\n".join(lines))
    message = distlenet("prepare", "jsonl.py:jsonl", "--from", "mine.jsonl", cwd=folder).expect().stdout
    assert "wrote datasets/jsonl.h5" in message and "48 train, 12 test" in message
    with open_digit_file(folder / "datasets/jsonl.h5") as digits:
        assert digits.name == "mine" and digits.source.startswith("read by jsonl of jsonl.py, SHA-256 ")
    wrong = distlenet("prepare", "jsonl.py:jsonl", "--form", "mine.jsonl", cwd=folder)
    only_sentence(wrong, 2, "did you mean '--from'", "distlenet prepare jsonl.py:jsonl --help")

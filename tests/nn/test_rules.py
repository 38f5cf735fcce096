"""User-defined optimizers and schedules: their faults are found before the first step."""

from pathlib import Path

import numpy as np
import pytest

from distlenet.config import Config
from distlenet.errors import ConfigError, OwnCodeError, UntrustedCodeError
from distlenet.nn.rules import build_optimizer, build_schedule
from distlenet.trust import Trust

OWN = Path(__file__).parent.parent / "own"
DECAYS = np.ones(30, np.float32)
HEAD = """import numpy as np
from distlenet.nn import Optimizer


class Mine(Optimizer):
    state_names = ("v",)
"""
UPDATE = """
    def update(self, theta, gradient, lr):
        """


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def optimizer(name, **settings):
    return build_optimizer(Config(optimizer=name, **settings), DECAYS, Trust(others=(name,)))


def schedule(name, peak=0.1, steps=30):
    return build_schedule(Config(schedule=name, lr=peak), steps, Trust(others=(name,)))


def test_an_optimizer_does_what_its_formula_says():
    lion = optimizer(f"{OWN}/lion.py:Lion", weight_decay=0.5, clip=0.0)
    theta, mean = np.ones(30, np.float32), np.zeros(30)
    expected = theta.astype(np.float64)
    for step in range(3):
        gradient = np.sin(np.arange(30, dtype=np.float32) + 7 * step)
        lion.step(theta, gradient.copy(), 0.01)
        expected = expected - 0.01 * (np.sign(0.9 * mean + 0.1 * gradient) + 0.5 * expected)
        mean = mean + 0.01 * (gradient - mean)
    np.testing.assert_allclose(theta, expected, rtol=1e-5)
    assert lion.steps == 3 and lion.state.keys() == {"mean"}


def test_the_trial_does_not_change_an_optimizer():
    lion = optimizer(f"{OWN}/lion.py:Lion")
    assert lion.steps == 0 and not lion.state["mean"].any()


def test_a_schedule_does_what_its_formula_says():
    waves = schedule(f"{OWN}/waves.py:waves", 0.1, 30)
    assert [waves(step) for step in (0, 5, 10, 20)] == pytest.approx([0.1, 0.05, 0.05, 0.025])


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("theta = theta - lr * gradient", r"did not change theta, expected a change in place"),
        ("theta -= 1 / 0", "failed: ZeroDivisionError: division by zero"),
        ("theta /= 0 * theta", "made theta NaN or infinite within 4 steps"),
        (
            "theta -= lr * gradient * np.random.random()",
            "gives different results for the same numbers when it is created again",
        ),
        ("self.n = getattr(self, 'n', 0) + 1; theta -= lr / self.n", "after it is restored from a checkpoint"),
        (
            "self.state['v'] = 0.9 * self.state['v'] + np.float64(1) * gradient; theta -= lr",
            r"is float64 \(30,\), expected",
        ),
        ("self.state['v'] = 3.0; theta -= lr", r'state\["v"\] is float, expected float32 \(30,\)'),
        ("self.state['w'] += 1; theta -= lr", "failed: KeyError: 'w'"),
        ("theta[:40] = theta[:1] + gradient[:7]", "failed: ValueError: could not broadcast"),
    ],
)
def test_an_optimizer_at_fault(folder, body, says):
    (folder / "mine.py").write_text(f"{HEAD}{UPDATE}{body}\n")
    with pytest.raises(ConfigError, match=says) as caught:
        optimizer("mine.py:Mine")
    assert str(caught.value).startswith("optimizer mine.py:Mine") and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ('("mean")', r"has state_names = 'mean', expected a tuple of names like \(\"mean\",\)"),
        ('("a/b",)', r"has state_names = \('a/b',\), expected a tuple of names"),
        ('("average",)', "has 'average' among its state_names, expected another name: it is reserved"),
        ('("curvature",)', "has 'curvature' among its state_names"),
    ],
)
def test_names_that_no_state_may_have(folder, names, says):
    text = HEAD.replace('("v",)', names) + UPDATE + "theta -= lr * gradient\n"
    (folder / "mine.py").write_text(text)
    with pytest.raises(ConfigError, match=says):
        optimizer("mine.py:Mine")


@pytest.mark.parametrize(
    ("takes", "says"),
    [
        ('("eps",)', r"takes names 'eps', which is not a setting \(did you mean 'epsilon'\?\)$"),
        ('("code",)', "takes names 'code', which is not a setting"),  # a property of Config
        ('("epsilon")', r"has takes = 'epsilon', expected a tuple of settings like"),
    ],
)
def test_takes_names_settings(folder, takes, says):
    text = HEAD + f"    takes = {takes}\n" + UPDATE + "theta -= lr * self.settings['epsilon'] * gradient\n"
    (folder / "mine.py").write_text(text)
    with pytest.raises(ConfigError, match=f"^optimizer mine.py:Mine:? {says}"):
        optimizer("mine.py:Mine")
    (folder / "mine.py").write_text(text.replace(takes, '("epsilon",)'))
    assert optimizer("mine.py:Mine", epsilon=0.5).settings == {"epsilon": 0.5}


def test_the_curvature_is_for_whoever_extends_the_optimizer_that_takes_it(folder):
    text = "from distlenet.nn.optimizers import LevenbergMarquardt\n\n\nclass Mine(LevenbergMarquardt):\n    pass\n"
    (folder / "mine.py").write_text(text)
    assert optimizer("mine.py:Mine").state.keys() == {"curvature"}


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("mine.py:Mien", "defines no class 'Mien' .did you mean 'Mine'"),
        ("mine.py:function", r"is not a subclass of Optimizer, expected class NAME\(distlenet.nn.Optimizer\)"),
        ("mine.py:Mine", "failed: NotImplementedError$"),
        ("mine.py:Optimizer", "defines no class 'Optimizer'"),
        ("gone.py:Mine", "there is no optimizer file .*/gone.py"),
        ("mine.py", "name the class too, mine.py:CLASS"),
        ("adm", "'adm' is unknown .did you mean 'adam'.*or FILE.py:CLASS"),
    ],
)
def test_objects_that_are_not_optimizers(folder, name, says):
    (folder / "mine.py").write_text(f"{HEAD}\n\ndef function():\n    pass\n")
    with pytest.raises(ConfigError, match=says):
        optimizer(name)


def test_an_optimizer_that_fails_during_the_run_changes_nothing(folder):
    (folder / "mine.py").write_text(f"{HEAD}{UPDATE}self.state['v'] += 1; theta -= lr * gradient\n")
    own, theta = optimizer("mine.py:Mine"), np.zeros(30, np.float32)
    for _ in range(5):
        own.step(theta, np.ones(30, np.float32), 0.1)
    before = theta.tobytes(), own.state["v"].tobytes()
    own.update = lambda *_: own.state["v"].fill(9) or theta.fill(9) or 1 / 0
    with pytest.raises(OwnCodeError, match="optimizer mine.py:Mine failed: ZeroDivisionError") as caught:
        own.step(theta, np.ones(30, np.float32), 0.1)
    assert caught.value.agreed and own.steps == 5
    assert (theta.tobytes(), own.state["v"].tobytes()) == before


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("return 0.1", "returned float, expected a function from the step to the rate"),
        ("return lambda step: peak if step < 20 else -peak", "gives -0.1 for step 20, expected a finite number of at"),
        ("return lambda step: float('nan')", "gives nan for step 0"),
        ("return lambda step: 'high'", "gives 'high' for step 0"),
        ("return lambda step: 1 / (step - 3)", "gives -0.3333333333333333 for step 0"),
        ("return lambda step: peak / abs(step - 3)", "at step 3 failed: ZeroDivisionError"),
        ("return lambda: peak", "at step 0 failed: TypeError"),
        (
            "import itertools; n = itertools.count(); return lambda step: float(next(n))",
            "gives 29.0 and then 30.0 for step",
        ),
        ("return 1 / 0", "failed: ZeroDivisionError"),
    ],
)
def test_a_schedule_at_fault(folder, body, says):
    (folder / "mine.py").write_text(f"def rates(peak, steps):\n    {body}\n")
    with pytest.raises(ConfigError, match=says) as caught:
        schedule("mine.py:rates")
    assert str(caught.value).startswith("schedule mine.py:rates ") and "\n" not in str(caught.value)


def test_a_schedule_of_other_parameters_is_not_called(folder):
    (folder / "mine.py").write_text("def rates(step):\n    return 0.1\n")
    with pytest.raises(ConfigError, match=r"schedule mine.py:rates takes \(step\), expected \(peak, steps\)"):
        schedule("mine.py:rates")


def test_a_schedule_that_fails_at_an_untried_step(folder):
    (folder / "mine.py").write_text(
        "def rates(peak, steps):\n    return lambda step: peak * (step != 1)  / (step != 3)\n"
    )
    rates = schedule("mine.py:rates", steps=10**6)
    assert rates(1) == 0
    with pytest.raises(OwnCodeError, match="schedule mine.py:rates at step 3 failed: ZeroDivisionError") as caught:
        rates(3)
    assert caught.value.agreed


def test_without_steps():
    assert schedule(f"{OWN}/waves.py:waves", steps=1)(0) == 0.1


def test_code_that_nobody_named_does_not_run(folder):
    (folder / "mine.py").write_text("raise SystemExit\n")
    message = "as its {0}, which your command line does not.* distlenet COMMAND --{0} mine.py:Mine"
    with pytest.raises(UntrustedCodeError, match=message.format("optimizer")):
        build_optimizer(Config(optimizer="mine.py:Mine"), DECAYS)
    with pytest.raises(UntrustedCodeError, match=message.format("schedule")):
        build_schedule(Config(schedule="mine.py:Mine"), 30)

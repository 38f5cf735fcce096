import shutil
import sys

from distlenet.ui import hints as module
from distlenet.ui.hints import hints, program_name


def test_the_commands_can_be_typed(monkeypatch, tmp_path):
    environment = tmp_path / "my project/.venv/bin"
    environment.mkdir(parents=True)
    for name in ("python", "distlenet"):
        (environment / name).touch(0o755)
    monkeypatch.setattr(sys, "executable", str(environment / "python"))
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.chdir(tmp_path / "my project")
    assert program_name() == ".venv/bin/distlenet"
    monkeypatch.chdir(tmp_path)
    assert program_name() == "'my project/.venv/bin/distlenet'"
    monkeypatch.setattr(shutil, "which", lambda name: str(environment / name))
    assert program_name() == "distlenet"
    (environment / "distlenet").unlink()
    assert program_name() == f"'{environment}/python' -m distlenet"
    monkeypatch.setattr(module, "program_name", lambda: "distlenet")
    assert hints("my run", "a b.h5")[0][0] == "distlenet evaluate 'my run' --data 'a b.h5'"


def test_code_of_the_users_own_is_named_again():
    for command, _ in hints("r", "a.h5", model="my net.py:build"):
        assert command.endswith(" --model 'my net.py:build'")
    for model in (None, "lenet5"):
        assert not any("--model" in command for command, _ in hints("r", "a.h5", model=model))

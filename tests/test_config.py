"""Settings: recipe, then file, then flags; and one sentence for each fault."""

import dataclasses
import re
import shlex
import sys
import tomllib
from pathlib import Path

import pytest

from distlenet.commands.options import Parser
from distlenet.commands.train import configure
from distlenet.config import Config, check_ranks
from distlenet.errors import ALIASES, ConfigError, LaunchError, missing_extra, nearest
from distlenet.nn import OPTIMIZERS, SCHEDULES, models
from distlenet.nn.initialization import METHODS
from distlenet.recipes import RECIPES, build_config


def toml(tmp_path, text: str):
    path = tmp_path / "settings.toml"
    path.write_text(text)
    return path


def test_order_of_precedence(tmp_path):
    file = toml(tmp_path, "epochs = 7\nlr = 0.5\n")
    config = build_config("fast", file, {"lr": 0.25})
    assert (config.epochs, config.lr) == (7, 0.25)
    assert config.rotate == RECIPES["fast"]["rotate"]
    assert config.momentum == Config().momentum


def test_the_file_may_name_the_recipe(tmp_path):
    file = toml(tmp_path, 'recipe = "fast"\n')
    assert build_config(None, file) == build_config("fast")
    assert build_config("standard", file) == build_config("standard")


def test_every_recipe_is_sound():
    for name in RECIPES:
        build_config(name)
    assert build_config() == build_config("standard") == Config()


def test_keys_may_be_written_like_flags(tmp_path):
    assert build_config(None, toml(tmp_path, "batch-size = 64\nshards = 4")).batch_size == 64


def test_written_settings_are_read_back(tmp_path):
    config = Config(epochs=3, lr=1e-7, test_curve=True, schedule="cosine", seed=2**63 - 1)
    assert build_config(None, toml(tmp_path, config.to_toml())) == config
    assert tomllib.loads(config.to_toml()) == config.to_dict()


def test_text_with_quotes_survives(tmp_path):
    config = Config(model='a "strange" \\ name')  # refused later, by the registry of models
    assert build_config(None, toml(tmp_path, config.to_toml())) == config


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("epoch = 3", ["unknown key 'epoch'", "did you mean 'epochs'"]),
        ("learning_rate = 0.1", ["unknown key 'learning_rate'", "did you mean 'lr'"]),
        ("[train]\nepochs = 3", ["unknown key 'train'"]),
        ("recipe = 'fats'", ["recipe 'fats' is unknown", "did you mean 'fast'"]),
        ("recipe = 3", ["recipe"]),
        ("recipe = ['fast']", ["recipe"]),
        ("epochs = 3.5", ["epochs is 3.5", "whole number"]),
        ("epochs = true", ["epochs is True", "whole number"]),
        ("epochs = '3'", ["epochs is '3'", "whole number"]),
        ("epochs = -1", ["epochs is -1", "at least 0"]),
        ("lr = 'fast'", ["lr is 'fast'", "a number"]),
        ("lr = nan", ["lr is nan"]),
        ("lr = inf", ["lr is inf"]),
        ("lr = -0.1", ["lr is -0.1"]),
        ("momentum = 1.5", ["momentum is 1.5", "at most 1"]),
        ("test_curve = 1", ["test_curve is 1", "true or false"]),
        ("model = 5", ["model is 5", "text"]),
        ("shards = 0", ["shards is 0"]),
        ("batch_size = 0", ["batch_size is 0"]),
        ("seed = 9223372036854775808", ["seed is 9223372036854775808"]),
        ("batch_size = 100", ["batch_size 100 is not divisible by 8 shards", "use 96 or 104"]),
        ("batch_size = 5", ["batch_size 5 is not divisible by 8 shards", "use 8, or"]),
        ("epochs = ", ["not valid TOML"]),
        ("epochs = 1\nepochs = 2", ["not valid TOML"]),
    ],
)
def test_invalid_settings(tmp_path, text, words):
    with pytest.raises(ConfigError) as caught:
        build_config(None, toml(tmp_path, text))
    for word in words:
        assert word in str(caught.value)


def test_unknown_recipe():
    with pytest.raises(ConfigError, match="recipe 'standart' is unknown .did you mean 'standard'"):
        build_config("standart")


def test_a_configuration_does_not_change():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().lr = 1.0


def test_every_setting_is_described():
    for field in dataclasses.fields(Config):
        assert field.metadata["help"]
        assert field.type in (int, float, str, bool)


def test_the_help_lists_all_names():
    known = {"model": models.MODELS, "activation": models.ACTIVATIONS, "pooling": models.POOLINGS, "init": METHODS}
    known |= {"optimizer": OPTIMIZERS, "schedule": SCHEDULES}
    for field in dataclasses.fields(Config):
        if field.name in known:
            assert field.metadata["names"] == tuple(known[field.name])


def test_nearest():
    assert nearest("epoch", ["epochs", "lr"]) == " (did you mean 'epochs'?)"
    assert nearest("zzz", ["epochs", "lr"]) == ""
    assert nearest("--learning-rate", ["--lr", "--overwrite"]) == " (did you mean '--lr'?)"
    assert nearest("--output", ["--data", "--out"]) == " (did you mean '--out'?)"
    assert nearest("--overwrit", ["--overwrite", "--force"]) == ""  # never a destructive option


def test_aliases_lead_to_settings_and_options():
    train = Parser()
    configure(train)
    known = {option.lstrip("-") for option in train._option_string_actions}
    for word, names in ALIASES.items():
        assert word not in known
        assert known & set(names) or names == ("ranks",)


def test_a_missing_extra():
    message = missing_extra("drawing", "a library", "draw")
    assert message.startswith("drawing needs a library, which is not installed: install it with `")
    words = shlex.split(message.split("`")[1])
    assert words == [sys.executable, "-m", "pip", "install", "-e", f"{Path(__file__).parent.parent}[draw]"]


@pytest.mark.parametrize("ranks", [9, 16, 64, 100])
@pytest.mark.parametrize("recipe", ["standard", "best", "lenet5-1998"])
def test_the_refusal_of_ranks_names_settings_that_work(ranks, recipe):
    before = build_config(recipe)
    with pytest.raises(LaunchError) as error:
        check_ranks(before, ranks)
    shards, batch_size = map(int, re.search(r"--shards (\d+) --batch-size (\d+),", str(error.value)).groups())
    found = build_config(recipe, flags={"shards": shards, "batch_size": batch_size})
    check_ranks(found, ranks)
    assert batch_size >= before.batch_size
    assert batch_size // shards >= min(8, before.batch_size // before.shards)


def test_a_resumed_run_keeps_its_shards():
    with pytest.raises(LaunchError, match="start at most 8 ranks, because a resumed run keeps its shards"):
        check_ranks(Config(), 9, resumed=True)

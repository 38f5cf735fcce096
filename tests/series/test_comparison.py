import pytest

from distlenet.errors import UsageError
from distlenet.nn import MODELS, OPTIMIZERS, build_net
from distlenet.nn.models import ACTIVATIONS, POOLINGS
from distlenet.recipes import RECIPES, build_config
from distlenet.series.comparison import GROUPS, Item, parse_items


def test_words():
    words = [
        "fast",
        "conv8-conv8",
        "lr=0.05,optimizer=sgd",
        "slow:lr=1e-3,test-curve=true",
        "mine:recipe=fast,epochs=3",
        "mynet.py:build",
        "other:model=my.net:build,lr=0.1",
        "model=mynet.py:wide",
    ]
    assert parse_items(words) == [
        Item("fast", "fast"),
        Item("conv8-conv8", None, {"model": "conv8-conv8"}),
        Item("lr=0.05,optimizer=sgd", None, {"lr": 0.05, "optimizer": "sgd"}),
        Item("slow", None, {"lr": 1e-3, "test_curve": True}),
        Item("mine", "fast", {"epochs": 3}),
        Item("mynet.py:build", None, {"model": "mynet.py:build"}),
        Item("other", None, {"model": "my.net:build", "lr": 0.1}),
        Item("model=mynet.py:wide", None, {"model": "mynet.py:wide"}),
    ]


@pytest.mark.parametrize("group", GROUPS)
def test_every_group_can_be_trained(group):
    items = parse_items([group])
    assert len({item.label for item in items}) == len(items)
    for item in items:
        config = build_config(item.recipe, None, item.settings)
        build_net(config, (1, 28, 28), 10)


def test_groups_are_complete():
    for group, key, names in (
        ("activations", "activation", ACTIVATIONS),
        ("poolings", "pooling", POOLINGS),
        ("models", "model", MODELS),
        ("optimizers", "optimizer", OPTIMIZERS),
    ):
        missing = set(names) - {item.settings[key] for item in GROUPS[group]}
        assert not missing, f"{group} lacks {missing}"
    assert {item.recipe for item in GROUPS["outputs"]} <= {None, *RECIPES}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["activation"], "item 'activation' is unknown .did you mean 'activations'"),
        (["fast", "fast"], "two items are called 'fast'"),
        (["a:lr=x"], "lr in item 'a:lr=x' is 'x', expected a number"),
        (["a:epochs=1.5"], "expected a whole number"),
        (["a:test_curve=yes"], "expected true or false"),
        (["a:recipe=fast,lr"], "'lr' in item 'a:recipe=fast,lr': its value is missing: lr=VALUE"),
        (["a:activaton=relu"], "no setting .did you mean 'activation'"),
        (["a:lr=0.1,seed=3"], "the seeds are given by --seed and --seeds"),
        (["a:lr=0.1,"], "'' in item"),
    ],
)
def test_invalid_words_give_one_sentence(words, says):
    with pytest.raises(UsageError, match=says):
        parse_items(words)

"""forget.py: the words of a command line name what is to go; wrong ones change nothing."""

import pytest

from config import LEAST_DRAWS
from fakes import make_plan
from machine.checks import UsageError
from runner.forget import find_named, forget_asked
from runner.options import read
from store.plan_file import load_plan, save_plan

PLAN = make_plan(("mlp", "cnn"), seeds=(0, 1, 2, 7), draws=1_000_000)


def forgotten(folder, words: str):
    save_plan(folder, PLAN)
    arguments = [*words.split(), "--forget"]
    assert "every record stays" in forget_asked(folder, read(arguments), arguments)
    return load_plan(folder).asked


def test_words_are_found_even_where_they_name_the_default():
    words = ["mlp", "--seeds", "0", "1", "2", "--draws", "5", "--antithetic", "--forget"]
    assert find_named(words) == {"architectures", "seeds", "draws", "antithetic"}


def test_what_is_named_goes(tmp_path):
    for words, gone in {
        "--seeds 7": lambda run: run.seed == 7,
        "cnn": lambda run: run.architecture == "cnn",
        "cnn --seeds 0 1 2": lambda run: run.architecture == "cnn" and run.seed < 3,
        "--regimes noisy": lambda run: run.regime == "noisy",
    }.items():
        expected = {run: s for run, s in PLAN.asked.items() if not gone(run)}
        assert forgotten(tmp_path, words) == expected, words
    asked = forgotten(tmp_path, "--draws 1000000")
    assert asked.keys() == PLAN.asked.keys()
    assert {(s.draws, s.two_stage) for s in asked.values()} == {(LEAST_DRAWS, True)}


@pytest.mark.parametrize(
    "words", ["", "--epochs 99 mlp", "vit", "mlp cnn", "--draws 7", "--test-size 5 mlp"]
)
def test_words_that_leave_nothing_or_everything_are_refused(tmp_path, words):
    save_plan(tmp_path, PLAN)
    arguments = [*words.split(), "--forget"]
    with pytest.raises(UsageError, match="--forget: "):
        forget_asked(tmp_path, read(arguments), arguments)
    assert load_plan(tmp_path) == PLAN


def test_without_a_plan_there_is_nothing_to_forget(tmp_path):
    with pytest.raises(UsageError, match="has no plan"):
        forget_asked(tmp_path, read(["mlp", "--forget"]), ["mlp", "--forget"])

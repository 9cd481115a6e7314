"""config.py: what is part of a run's identity and what is not, and the seeds of its streams."""

import dataclasses
import json

import pytest

import config
from config import REGIMES, Recipe, Run, Sweep, make_runs

CLEAN, NOISY = Run("mlp", "clean", 0), Run("mlp", "noisy", 0)
STREAMS = ("initial weights", "batch order", "training noise", "dropout")


def changed(name: str) -> Recipe:
    """Return the default recipe with another value in one field."""
    value = getattr(CLEAN.recipe, name)
    other = f"other {value}" if isinstance(value, str) else value + 1
    return dataclasses.replace(Recipe(), **{name: other})


# ---- Identity --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [f.name for f in dataclasses.fields(Recipe)])
def test_every_field_of_the_recipe_enters_the_fingerprint(name):
    assert Run("mlp", "noisy", 0, changed(name)).fingerprint != NOISY.fingerprint
    clean = Run("mlp", "clean", 0, changed(name)).fingerprint
    of_noise = ("alpha_train", "train_noise")  # clean training has none
    assert (clean == CLEAN.fingerprint) == (name in of_noise)


def test_the_recipe_version_enters_the_fingerprint(monkeypatch):
    before = CLEAN.fingerprint, NOISY.fingerprint
    monkeypatch.setattr(config, "RECIPE_VERSION", config.RECIPE_VERSION + 1)
    assert not {CLEAN.fingerprint, NOISY.fingerprint} & {*before}


def test_no_two_runs_share_a_name():
    recipes = [Recipe(), Recipe(epochs=99)]
    runs = [r for recipe in recipes for r in make_runs(["mlp", "cnn"], REGIMES, range(3), recipe)]
    assert len({run.run_id for run in runs}) == len({run.fingerprint for run in runs}) == len(runs)


def test_names_start_with_what_the_run_is():
    run = Run("resnet18", "noisy", 12)
    assert run.run_id == f"resnet18-noisy-seed12-{run.fingerprint}"
    assert len(run.fingerprint) == 10 and int(run.fingerprint, 16) >= 0


def test_fingerprints_and_streams_stay_what_they_are():
    """Other values would orphan every file that exists, and change every number."""
    known = "8898bb92ff68f7943138aa52e0db099fce628d2c004d063fbc7dd10c4a221c9c"
    assert config.digest({"b": [1, 0.1, None], "a": "α"}) == known
    seeds = [2990002778, 4065784660, 3277123414, 660281238]
    assert [CLEAN.stream_seed(stream) for stream in STREAMS] == seeds


def test_the_digest_of_data_does_not_depend_on_the_order_of_keys():
    assert config.digest({"a": 1, "b": 2}) == config.digest({"b": 2, "a": 1})
    assert config.digest([1, 2]) != config.digest([2, 1])
    with pytest.raises(ValueError):
        config.digest(float("nan"))


@pytest.mark.parametrize("run", [CLEAN, NOISY, Run("vit", "noisy", 7, Recipe(epochs=1))])
def test_an_identity_in_json_gives_the_run_back(run):
    assert json.loads(json.dumps(run.identity)) == run.identity
    found = Run.of(json.loads(json.dumps(run.identity)))
    assert found.identity == run.identity and found.run_id == run.run_id


IDENTITY = NOISY.identity


@pytest.mark.parametrize(
    "identity",
    [
        {},
        None,
        [],
        "mlp",
        {**IDENTITY, "recipe_version": config.RECIPE_VERSION + 1},
        {**IDENTITY, "regime": "unknown"},
        {**IDENTITY, "regime": []},
        {**IDENTITY, "recipe": None},
        {**IDENTITY, "recipe": {**IDENTITY["recipe"], "momentum": 0.9}},
        {**IDENTITY, "recipe": {**IDENTITY["recipe"], "alpha_train": "0.5"}},
        {**IDENTITY, "regime": "clean"},  # with the noisy regime's strength
        {**IDENTITY, "threads": 1},
        {k: v for k, v in IDENTITY.items() if k != "seed"},
    ],
)
def test_what_is_no_identity_of_this_version_is_refused(identity):
    with pytest.raises(ValueError, match="identity of"):
        Run.of(identity)


@pytest.mark.parametrize("name", [*config.EPOCHS, "mine"])
def test_an_architecture_has_its_own_epochs_unless_one_number_is_asked_for(name):
    own = config.EPOCHS.get(name, config.USUAL_EPOCHS)
    assert Run(name, "clean", 0).identity["recipe"]["epochs"] == own
    assert Run(name, "clean", 0) == Run(name, "clean", 0, Recipe(epochs=own))
    assert Run(name, "clean", 0, Recipe(epochs=99)).recipe.epochs == 99
    assert Run(name, "clean", 0, Recipe(budget=7)).recipe.epochs == 7


# ---- Streams ---------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", STREAMS)
def test_clean_and_noisy_runs_are_paired(stream):
    assert CLEAN.stream_seed(stream) == NOISY.stream_seed(stream)
    longer = Run("mlp", "clean", 0, Recipe(epochs=99))
    assert CLEAN.stream_seed(stream) == longer.stream_seed(stream)


def test_streams_seeds_and_architectures_have_seeds_of_their_own():
    runs = make_runs(["mlp", "cnn", "resnet18", "vit"], ["clean"], range(25), Recipe())
    seeds = [run.stream_seed(stream) for run in runs for stream in STREAMS]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**32 for seed in seeds)  # what torch.manual_seed makes use of


# ---- Sweep -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("alphas", "draws", "points"),
    [
        ((0,), 5, [(0, 0, 1)]),
        ((0.5, 0, 0.1), 1, [(0, 0, 1), (0.1, 0, 1), (0.5, 0, 1)]),
        ((0, 1), 3, [(0, 0, 1), (1, 0, 1), (1, 1, 1), (1, 2, 1)]),
        ((2, 0, 1), 2, [(0, 0, 1), (1, 0, 1), (2, 0, 1), (1, 1, 1), (2, 1, 1)]),
    ],
)
def test_points_go_draw_by_draw_and_measure_no_noise_once(alphas, draws, points):
    assert Sweep(alphas=alphas, draws=draws).points == points


def test_antithetic_points_come_in_pairs_but_for_no_noise():
    points = [(0, 0, 1), (1, 0, 1), (1, 0, -1), (1, 1, 1), (1, 1, -1)]
    assert Sweep(alphas=(0, 1), draws=2, antithetic=True).points == points


def test_settings_are_what_measurements_must_share():
    assert Sweep(test_size=9, noise_seed=4, draws=7).settings == {"test_size": 9, "noise_seed": 4}
    keys = {
        "find_break",
        "two_stage",
        "alphas",
        "draws",
        "precision",
        "max_draws",
        "antithetic",
        "noise",
    }  # which, and how many
    assert set(Sweep().settings) | keys == {f.name for f in dataclasses.fields(Sweep)}


def test_runs_of_a_plan_keep_pairs_together():
    runs = make_runs(["mlp", "cnn"], ["clean", "noisy"], [0, 1], Recipe())
    assert [(r.architecture, r.seed, r.regime) for r in runs[:3]] == [
        ("mlp", 0, "clean"),
        ("mlp", 0, "noisy"),
        ("mlp", 1, "clean"),
    ]
    assert len(runs) == 8


@pytest.mark.parametrize("noise", [0.0, 0.1, 0.3, 0.5, 1.0, 1.7, 3.0])
def test_an_identity_gives_back_its_run_whatever_the_regimes_strength(monkeypatch, noise):
    method = "injection" if noise else "plain"
    monkeypatch.setitem(config.REGIMES, "own", config.Regime(method, noise=noise))
    for alpha in (0.0, 0.05, 0.1, 0.3, 0.7, 0.9, 1.3, 2.1):
        run = Run("mlp", "own", 0, Recipe(alpha_train=alpha))
        again = Run.of(run.identity)
        assert again.identity == run.identity and again.run_id == run.run_id


def test_training_noise_of_another_family_is_another_noisy_run_and_the_same_clean_one():
    usual, pcm = Recipe(alpha_train=60.0), Recipe(alpha_train=60.0, train_noise="pcm")
    runs = {r: (Run("mlp", r, 0, usual), Run("mlp", r, 0, pcm)) for r in ("clean", "noisy", "sam")}
    for regime, (before, after) in runs.items():
        assert (before.run_id == after.run_id) == (regime != "noisy")
        assert Run.of(after.identity).run_id == after.run_id
    noisy = runs["noisy"][1]
    assert noisy.method["name"] == "family_injection" and noisy.method["family"] == "pcm"
    assert noisy.method["strength"] == 60.0
    assert noisy.identity["recipe"]["train_noise"] == "pcm"


# ---- Regimes with another value --------------------------------------------------------------


def test_a_regime_with_another_value_is_said_by_its_name():
    found = REGIMES["sam:rho=0.2"]
    assert found == dataclasses.replace(REGIMES["sam"], parameters={"rho": 0.2})
    assert REGIMES["noisy:noise=0.5"].noise == 0.5
    assert REGIMES["quantized:bits=3"].parameters == {"bits": 3}
    run = Run("mlp", "sam:rho=0.2", 0)
    assert run.identity["method"] == {"name": "sam", "rho": 0.2}
    assert Run.of(run.identity).identity == run.identity
    assert run.run_id.startswith("mlp-sam_rho=0.2-seed0-")
    half = Run("mlp", "noisy:noise=0.5", 0)
    assert half.alpha_train == 0.35 and Run.of(half.identity) == half
    assert "sam:rho=0.2" not in list(REGIMES)  # it is in no registry


@pytest.mark.parametrize(
    "name",
    [
        *("sam:", "sam:rho", "sam:rho=", "sam:rho=x", "sam:rho=nan", "sam:rho=0.20", "sam:rho=.2"),
        *("sam:eta=1", "sham:rho=1", ":rho=1", "clean:noise=1", "quantized:bits=2.5"),
    ],
)
def test_what_is_no_regime_is_none(name):
    assert name not in REGIMES

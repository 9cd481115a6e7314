"""plan.py: what was asked for, kept, joined with what was asked before, and told from the rest."""

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

import config
from config import Run
from damage import damaged, edited, json_values, rewrite, snapshot
from fakes import make_plan
from store import records
from store.files import Damaged
from store.plan import Plan
from store.plan_file import as_data, load_plan, plan_path, save_plan

PLAN = make_plan(alphas=(0.0, 0.1), draws=2)


def with_recipe(plan: Plan, **changes) -> Plan:
    return dataclasses.replace(plan, recipe=dataclasses.replace(plan.recipe, **changes))


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A results folder with a plan."""
    folder = tmp_path_factory.mktemp("results")
    save_plan(folder, PLAN)
    return folder


# ---- On disk ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "plan", [PLAN, make_plan(), make_plan(("vit",), ("noisy",), (7,)), with_recipe(PLAN, epochs=1)]
)
def test_a_plan_is_read_back_as_it_was_saved(tmp_path, plan):
    save_plan(tmp_path / "new", plan)
    found = load_plan(tmp_path / "new")
    assert found == plan
    assert [r.run_id for r in found.runs] == [r.run_id for r in plan.runs]


def test_a_folder_without_a_plan_says_so(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_plan(tmp_path)


TEXT = json.dumps(as_data(PLAN))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        "{}",
        "[" * 100_000,
        "\ud800",
        TEXT[:-1],
        TEXT.replace('"seeds"', '"Seeds"'),
        TEXT.replace('["mlp", "cnn"]', '"mlp"'),
        TEXT.replace('["mlp", "cnn"]', '["mlp", ["cnn"]]'),
        TEXT.replace('"clean"', '"clear"'),
        TEXT.replace("[0, 1, 2]", '["0"]'),
        TEXT.replace("[0, 1, 2]", "[0.5]"),
        TEXT.replace("[0, 1, 2]", "0"),
        TEXT.replace("[0.0, 0.1]", "[NaN]"),
        TEXT.replace("[0.0, 0.1]", '["0"]'),
        TEXT.replace("[0.0, 0.1]", f"[1{'0' * 400}]"),
        TEXT.replace('"draws": 2', '"draws": null'),
        TEXT.replace('"draws": 2', '"draws": true'),
        TEXT.replace('"epochs": ', '"epochs": "3", "x": '),
        TEXT.replace('"epochs": ', '"epochs": [3], "x": '),
        TEXT.replace('"recipe": {', '"recipe": [], "x": {'),
        TEXT.replace('"recipe": {', '"recipe": {"a\\nb": 1, '),
    ],
)
def test_a_damaged_plan_is_refused_in_one_line(tmp_path, text):
    assert text != TEXT
    data = text.encode("utf-8", "surrogatepass")
    plan_path(tmp_path).write_bytes(data)
    with pytest.raises(Damaged, match="not a plan of this version") as caught:
        load_plan(tmp_path)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500
    assert plan_path(tmp_path).read_bytes() == data


def test_a_regime_that_is_not_registered_is_named(tmp_path):
    plan_path(tmp_path).write_text(TEXT.replace('"clean"', '"clear"'))
    with pytest.raises(Damaged, match="regime 'clear' is not registered here"):
        load_plan(tmp_path)


def test_a_folder_in_the_place_of_a_plan_is_refused(tmp_path):
    plan_path(tmp_path).mkdir()
    with pytest.raises(Damaged, match="Is a directory"):
        load_plan(tmp_path)


def refused_or_usable(folder, data: bytes) -> None:
    rewrite(plan_path(folder), data)
    before = snapshot(folder)
    try:
        plan = load_plan(folder)
    except Damaged as error:
        assert "\n" not in str(error)
    else:
        assert len({run.run_id for run in plan.runs}) <= len(plan.runs)
        assert PLAN.joined(plan).runs and plan.joined(PLAN).runs
    assert snapshot(folder) == before


@given(st.binary(max_size=200) | json_values.map(lambda v: json.dumps(v).encode()))
def test_any_bytes_are_refused_or_are_a_plan(saved, data):
    refused_or_usable(saved, data)


@given(damaged(TEXT.encode()) | edited(json.loads(TEXT)).map(lambda v: json.dumps(v).encode()))
def test_any_damage_is_refused_or_leaves_a_plan(saved, data):
    refused_or_usable(saved, data)


# ---- Joining ---------------------------------------------------------------------------------


def test_a_later_command_adds_what_it_asks_for_and_no_more():
    mlp = make_plan(("mlp",), ("clean",), (0, 2), alphas=(0.0, 0.1), draws=2)
    vit = make_plan(("vit",), ("noisy", "clean"), (1,), alphas=(0.0, 0.5), draws=5)
    joined = vit.joined(mlp)
    assert {*joined.runs} == {*mlp.runs, *vit.runs}
    assert len(joined.runs) == len(mlp.runs) + len(vit.runs)
    for plan in (mlp, vit):
        assert {joined.sweep_of(run) for run in plan.runs} == {plan.sweep}
    for plan in (mlp, vit, joined):  # takes none away
        assert plan.joined(joined) == joined == joined.joined(plan)
    assert mlp.joined(vit) == joined


def test_more_seeds_or_draws_of_one_architecture_ask_nothing_of_the_others():
    plan, seeds = make_plan(draws=2), make_plan(("mlp",), seeds=(0, 1, 2, 3, 4), draws=2)
    draws = make_plan(("mlp",), draws=9)
    joined = draws.joined(seeds.joined(plan))
    assert {*joined.runs} == {*plan.runs, *seeds.runs}
    for run in joined.runs:
        asked = run.architecture == "mlp" and run.seed < 3
        assert joined.sweep_of(run).draws == (9 if asked else 2)


def test_neighbouring_plans_become_one():
    parts = [make_plan((name,), seeds=seeds) for name in ("mlp", "cnn") for seeds in ((0, 1), (2,))]
    joined = parts[0]
    for part in parts[1:]:
        joined = part.joined(joined)
    assert joined == make_plan(("mlp", "cnn"), seeds=(0, 1, 2)) and not joined.earlier


axes = st.tuples(
    st.sets(st.sampled_from(["mlp", "cnn", "vit"]), min_size=1).map(sorted).map(tuple),
    st.sets(st.sampled_from(["clean", "noisy"]), min_size=1).map(sorted).map(tuple),
    st.sets(st.integers(0, 3), min_size=1).map(sorted).map(tuple),
)
sweeps = st.fixed_dictionaries(
    {
        "alphas": st.sampled_from([(0.0,), (0.0, 0.1), (0.0, 0.5)]),
        "draws": st.integers(1, 3),
        "antithetic": st.booleans(),
    }
)


@given(st.lists(st.builds(lambda a, s: make_plan(*a, **s), axes, sweeps), min_size=1, max_size=5))
def test_whatever_is_joined_each_run_is_asked_for_what_those_that_name_it_ask(asked):
    joined = asked[0]
    for plan in asked[1:]:
        joined = plan.joined(joined)
    assert {*joined.runs} == {run for plan in asked for run in plan.runs}
    for run in joined.runs:
        mine = [plan.sweep for plan in asked if run in plan.runs]
        sweep = joined.sweep_of(run)
        assert {*sweep.alphas} == {alpha for s in mine for alpha in s.alphas}
        assert sweep.draws == max(s.draws for s in mine)
        assert sweep.antithetic == any(s.antithetic for s in mine)
    for plan in asked:
        assert {*plan.joined(joined).runs} == {*joined.runs}


def test_a_joined_plan_is_read_back_as_it_was_saved(tmp_path):
    joined = make_plan(("mlp",), seeds=(7,), draws=9).joined(PLAN)
    assert joined.earlier
    save_plan(tmp_path, joined)
    assert load_plan(tmp_path) == joined


def test_of_two_precisions_the_finer_is_kept():
    plain, coarse, fine = (
        make_plan(precision=p, max_draws=n) for p, n in ((0.0, 500), (0.1, 20), (0.01, 10))
    )
    for a, b in ((coarse, fine), (fine, coarse), (coarse.joined(plain), fine)):
        assert a.joined(b) == make_plan(precision=0.01, max_draws=20)
    paired = make_plan(antithetic=True)
    assert plain.joined(paired).sweep.antithetic and paired.joined(plain).sweep.antithetic


@pytest.mark.parametrize(
    "other",
    [
        with_recipe(PLAN, epochs=99),
        with_recipe(PLAN, alpha_train=9.0),
        make_plan(alphas=(0.0, 0.1), draws=2, test_size=100),
        make_plan(alphas=(0.0, 0.1), draws=2, noise_seed=1),
    ],
)
def test_another_recipe_or_test_replaces_the_plan(other):
    mine = make_plan(("vit",), alphas=(0.0,))
    assert mine.joined(other) == mine
    assert other.joined(mine) == other


# ---- Selecting -------------------------------------------------------------------------------


ASKED = PLAN.runs[0].recipe


def record(run: Run, **identity) -> records.Record:
    made = records.new(run, "weights", [0.5], {})
    return {**made, "identity": {**made["identity"], **identity}}


def test_records_of_the_recipe_are_chosen_whoever_asked_for_them():
    asked = [record(run) for run in PLAN.runs]
    beyond = record(Run("vit", "noisy", 99, PLAN.recipe))  # from another machine's command
    assert PLAN.select([*asked, beyond]) == ([*asked, beyond], [])


def test_a_clean_run_belongs_to_every_training_noise():
    stronger = with_recipe(PLAN, alpha_train=9.0)
    clean, noisy = (record(run) for run in PLAN.runs[:2])
    chosen, left_out = stronger.select([clean, noisy])
    assert chosen == [clean]
    assert left_out == [
        f"{noisy['run_id']}: another recipe (alpha_train {ASKED.alpha_train}, asked 9.0)"
    ]


RECIPE = PLAN.runs[0].identity["recipe"]


@pytest.mark.parametrize(
    ("identity", "reason"),
    [
        ({"recipe": {**RECIPE, "epochs": 99}}, f"epochs 99, asked {ASKED.epochs}"),
        ({"recipe": {**RECIPE, "dataset": "cifar"}}, f"dataset 'cifar', asked {ASKED.dataset!r}"),
        ({"recipe": {**RECIPE, "momentum": 0.9}}, "momentum 0.9, asked None"),
        (
            {"recipe": {**RECIPE, "epochs": 99, "batch_size": 1}},
            f"batch_size 1, asked {ASKED.batch_size}; epochs 99, asked {ASKED.epochs}",
        ),
        ({"recipe_version": 99}, f"version 99, now {config.RECIPE_VERSION}"),
        ({"regime": "unheard"}, "regime 'unheard' is not known here"),
        ({"more": 1}, "other fields"),
    ],
)
def test_other_recipes_are_left_out_with_the_reason(identity, reason):
    mine, other = record(PLAN.runs[0]), record(PLAN.runs[2], **identity)
    chosen, left_out = PLAN.select([other, mine])
    assert chosen == [mine]
    assert left_out == [f"{other['run_id']}: another recipe ({reason})"]


def test_what_twice_the_epochs_would_gain_is_said_where_it_is_known():
    plan = make_plan(("mlp", "resnet18", "vit"))
    said = plan.undertrained
    assert "resnet18" in said and "vit" in said and "mlp" not in said
    for gain in (*config.DOUBLING["resnet18"], *config.DOUBLING["vit"]):
        assert f"{gain:g}" in said
    for change in ({"epochs": 3}, {"budget": 4}, {"train_size": 500}, {"dataset": "fashion"}):
        assert not with_recipe(plan, **change).undertrained
    assert not make_plan(("mlp", "cnn")).undertrained
    assert not make_plan(("vit",), regimes=("clean", "sam")).undertrained

"""Identity tolerates growth: what was written stays what it is, whatever is added later."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch

import config
import evaluate
from analysis.needs import is_complete
from config import Recipe, Regime, Run, Sweep, introduced, written
from conftest import ROOT
from probes.saved import load_model
from store import checkpoints, records
from store.plan_file import as_data, load_plan

OLD = Path(__file__).parent / "fixtures" / "old"
"""A run of the program before it had noise families, methods and shapes: vit noisy, 1 epoch."""


@dataclasses.dataclass(frozen=True)
class Grown(Recipe):
    """A recipe with a field that was added later."""

    momentum: float = dataclasses.field(default=0.9, metadata={"introduced": 0.5})
    label_smoothing: float = dataclasses.field(default=0.0, metadata={"introduced": 0.0})


def test_records_plan_and_checkpoint_of_before_still_load():
    (path,) = OLD.glob("vit-*.json")
    record = records.load(path)
    run = Run.of(record["identity"])
    assert run.run_id == path.stem == record["run_id"]
    plan = load_plan(OLD)
    assert [r.run_id for r in plan.runs] == [run.run_id] and is_complete(record, plan.sweep)
    assert json.loads(json.dumps(as_data(plan))) == json.loads((OLD / "plan.json").read_text())
    found, model = load_model(OLD / f"{run.run_id}.pt")
    assert found == run
    assert checkpoints.content_digest(model.state_dict()) == record["weights"]


def test_weights_of_before_are_measured_as_before(mnist):
    (path,) = OLD.glob("vit-*.json")
    record = records.load(path)
    run, model = load_model(OLD / f"{path.stem}.pt")
    images, labels = mnist.test_images[:100], mnist.test_labels[:100]
    rows = record["measurements"][0]["rows"]
    found = evaluate.sweep(
        model,
        lambda m: evaluate.measure(m, images, labels),
        [(row[0], row[1], row[2]) for row in rows],
        0,
        run.seed,
    )
    for row, mine in zip(rows, found, strict=True):
        assert mine[:3] == row[:3] and abs(mine[3] - row[3]) <= 1  # an image on the edge
        assert mine[5] == pytest.approx(row[5], rel=1e-4)


def test_the_reference_is_of_todays_recipe():
    plan = load_plan(ROOT / "results" / "reference")
    names = {p.stem for p in (ROOT / "results" / "reference" / "runs").glob("*.json")}
    assert {run.run_id for run in plan.runs} == names


def test_a_field_added_later_changes_no_fingerprint_while_it_holds_its_first_value():
    before = Run("mlp", "noisy", 0)
    same = Run("mlp", "noisy", 0, Grown(momentum=0.5))
    assert same.identity == before.identity and same.run_id == before.run_id
    assert introduced(Grown) == introduced(Recipe) | {"momentum": 0.5, "label_smoothing": 0.0}
    changed = Run("mlp", "noisy", 0, Grown())  # its default is another one today: written
    assert changed.identity["recipe"]["momentum"] == 0.9
    assert "label_smoothing" not in changed.identity["recipe"]
    assert changed.fingerprint != before.fingerprint


def test_an_old_identity_means_the_first_value_not_todays_default(monkeypatch):
    old = Run("mlp", "noisy", 0).identity
    monkeypatch.setattr(config, "Recipe", Grown)
    run = Run.of(old)
    assert run.recipe.momentum == 0.5 and run.identity == old


def test_families_stand_in_settings_only_where_they_are_measured():
    assert written(Sweep()) == written(dataclasses.replace(Sweep(), noise=()))
    assert "noise" not in written(Sweep()) and "noise" not in Sweep().settings
    sweep = Sweep(noise=("lost:0.1,0.5",))
    assert written(sweep)["noise"] == ("lost:0.1,0.5",)
    assert sweep.families == {"lost": (0.1, 0.5)}
    assert sweep.settings_of("lost") == {**sweep.settings, "noise": "lost"}


def test_every_parameter_of_a_regime_is_in_the_identity(monkeypatch):
    prints = set()
    for regime in (
        Regime("injection"),
        Regime("injection", noise=0.5),
        Regime("sam", parameters={"rho": 0.05}),
        Regime("sam", parameters={"rho": 5.0}),
        Regime("sam", noise=0.5, parameters={"rho": 5.0}),
        Regime("asam", parameters={"rho": 5.0}),
    ):
        monkeypatch.setitem(config.REGIMES, "new", regime)
        prints.add(Run("mlp", "new", 0).fingerprint)
    assert len(prints) == 6
    with pytest.raises(ValueError, match="without noise"):
        Regime("plain", noise=1.0)


def test_the_default_regimes_are_clean_and_noisy_whatever_is_registered(monkeypatch):
    monkeypatch.setitem(config.REGIMES, "new", Regime("injection", noise=0.5))
    from runner.options import Options

    assert Options(sweep=Sweep()).regimes == config.DEFAULT_REGIMES == ("clean", "noisy")


def test_a_resume_file_of_before_knows_no_method_and_goes_on(mnist):
    import data
    from train import Stopped, train

    part = dataclasses.replace(
        mnist, train_images=mnist.train_images[:96], train_labels=mnist.train_labels[:96]
    )
    assert data.DATASETS["mnist"].augment is None
    run, kept = Run("mlp", "noisy", 0, Recipe(epochs=2, batch_size=32)), []
    whole, _ = train(run, part, torch.device("cpu"))
    with pytest.raises(Stopped):
        train(run, part, torch.device("cpu"), save=kept.append, stop=iter([0, 1]).__next__)
    state = kept[-1]
    del state["training"]["method"]
    resumed, _ = train(run, part, torch.device("cpu"), state)
    for a, b in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)

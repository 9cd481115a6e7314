"""Scalars for TensorBoard, an optional package."""

import importlib.util

import pytest

import fakes
from machine.checks import UsageError
from runner import listeners, options
from store.folders import Folders


def test_without_the_package_it_is_a_clear_error(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "tensorboard" else find(name)
    )
    with pytest.raises(UsageError, match="--tensorboard: needs .* pip install tensorboard"):
        options.check(options.read(["--tensorboard"]))
    options.check(options.read([]))


def test_losses_and_accuracies_are_written_by_run(tmp_path):
    pytest.importorskip("tensorboard", reason="needs the package tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    plan = fakes.make_plan(("mlp",), ("clean",), (0,), alphas=(0.0, 0.5), draws=3)
    fakes.make_results(tmp_path, plan)
    [run] = plan.runs
    folders = Folders(tmp_path, tmp_path, tmp_path)
    for epoch in (1, 2):
        listeners.track(folders, plan.sweep, run, "epoch", {"epoch": epoch, "loss": 1 / epoch})
    listeners.track(folders, plan.sweep, run, "done", {})
    events = EventAccumulator(str(tmp_path / "tensorboard" / run.run_id)).Reload()
    assert [(e.step, e.value) for e in events.Scalars("training loss")] == [(1, 1.0), (2, 0.5)]
    rows = fakes.measure(run, plan.sweep.points, plan.sweep.settings)
    noisy = [row[3] / row[4] for row in rows if row[0] == 0.5]
    [event] = events.Scalars("accuracy/alpha 0.5")
    assert event.value == pytest.approx(sum(noisy) / 3) and event.step == run.recipe.epochs

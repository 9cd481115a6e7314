"""Who listens to the runs: the log, the bar, the status files, TensorBoard."""

import importlib.util
import os
import re
import signal
import time
import warnings
from types import SimpleNamespace

import pytest
import torch

import fakes
import run_experiments
from config import Recipe, Run
from machine.checks import UsageError
from runner import claims, listeners, options
from runner.listeners import Progress
from runner.overview import describe_status
from store.folders import Folders
from train import Stopped

# ---- The log and the bar -------------------------------------------------------------------------


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until its `seconds` are changed."""
    clock = SimpleNamespace(seconds=0.0, strftime=time.strftime)
    clock.monotonic = lambda: clock.seconds
    monkeypatch.setattr(listeners, "time", clock)
    return clock


def test_a_log_has_a_line_for_each_epoch_with_time_and_run_id(capsys, clock):
    run = Run("mlp", "clean", 0, Recipe(epochs=4))
    with Progress({run: 1.0}, terminal=False) as progress:
        progress(run, "started", {})
        clock.seconds = 60
        progress(
            run,
            "epoch",
            {
                "epoch": 1,
                "of": run.recipe.epochs,
                "loss": 0.12345,
                "accuracy": 0.9,
                "seconds": 50.26,
            },
        )
        progress(run, "point", {"done": 1, "of": 56})
        progress(run, "done", {})
    out, err = capsys.readouterr()
    epoch, done = out.splitlines()
    begin = rf"\d\d:\d\d:\d\d {run.run_id}: "
    # An epoch of four is 15% of a run.
    assert re.fullmatch(
        begin + "epoch 1/4, loss 0.1235, accuracy 0.9000, 50.3 s, about 5 min left", epoch
    )
    assert re.fullmatch(begin + "done after 60 s; 1 of 1 run", done)
    assert "\r" not in out and not err


def test_the_time_left_is_that_of_all_runs_at_the_pace_of_this_command(capsys, clock):
    recipe = Recipe(epochs=4)
    failed, resumed, measured, last = runs = [Run("mlp", "clean", s, recipe) for s in range(4)]

    def epoch(run, number: int) -> str:
        progress(
            run,
            "epoch",
            {
                "epoch": number,
                "of": run.recipe.epochs,
                "loss": 0.1,
                "accuracy": 0.9,
                "seconds": 15 * 60,
            },
        )
        return capsys.readouterr().out.rstrip()

    with Progress(dict.fromkeys(runs, 100.0), terminal=False) as progress:
        for run in runs:
            progress(run, "started", {})
        progress(failed, "failed", {"reason": "bad luck"})
        clock.seconds = 16 * 60  # the first was for starting the workers
        assert epoch(resumed, 4).endswith("about 240 min left")  # 15 done, 240 left
        clock.seconds = 21 * 60
        progress(measured, "point", {"done": 1, "of": 8})  # 5 more; 60 were there
        assert epoch(last, 1).endswith("about 92 min left")  # 35 done in 20 min; 160 left


def test_a_bar_ends_at_100_percent_though_costs_are_not_exact(capsys):
    runs = [Run("mlp", "clean", seed) for seed in range(3)]
    with (
        warnings.catch_warnings(action="error"),
        Progress(dict.fromkeys(runs, 0.1), terminal=True) as progress,
    ):
        for run in runs:
            progress(run, "started", {})
            for epoch in range(1, run.recipe.epochs + 1):
                progress(
                    run,
                    "epoch",
                    {"epoch": epoch, "of": 4, "loss": 0.1, "accuracy": 0.9, "seconds": 1.0},
                )
            for done in range(1, 8):
                progress(run, "point", {"done": done, "of": 7})
            progress(run, "done", {})
    out, err = capsys.readouterr()
    assert "100%" in err.split("\r")[-1]
    assert "left" not in out  # the bar says so


# ---- The status of what fails --------------------------------------------------------------------


def dying(run, tell, sweep, folders, device, provenance, regimes):
    """Be killed or fail, in a worker, at work on a run."""
    with claims.working(folders.results, run, Stopped):
        if run.regime == "noisy":
            os.kill(os.getpid(), signal.SIGKILL)
        raise MemoryError("no more")


def test_the_status_of_a_run_says_why_it_failed_even_if_its_worker_was_killed(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(run_experiments, "work", dying)
    plan, folders = fakes.make_plan(("mlp",), seeds=(0,)), Folders(*3 * [tmp_path])
    failed = run_experiments.run_all(
        plan.runs, plan, folders, torch.device("cpu"), 1, 1, tables=None
    )
    assert list(failed.values()) == [
        "MemoryError: no more",
        "its worker was killed by SIGKILL (out of memory?)",
    ]
    shown = [f"  failed       {run.run_id}: {reason}" for run, reason in failed.items()]
    assert describe_status(plan, folders).splitlines()[:3] == [
        "2 runs: 0 finished, 2 failed",
        *shown,
    ]


# ---- TensorBoard ---------------------------------------------------------------------------------


def test_without_tensorboard_it_is_a_clear_error(monkeypatch):
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
        listeners.track(
            folders,
            plan.sweep,
            run,
            "epoch",
            {"epoch": epoch, "of": 4, "loss": 1 / epoch, "accuracy": epoch / 4},
        )
    listeners.track(folders, plan.sweep, run, "done", {})
    events = EventAccumulator(str(tmp_path / "tensorboard" / run.run_id)).Reload()
    assert [(e.step, e.value) for e in events.Scalars("training loss")] == [(1, 1.0), (2, 0.5)]
    assert [e.value for e in events.Scalars("training accuracy")] == [0.25, 0.5]
    rows = fakes.measure(run, plan.sweep.points, plan.sweep.settings)
    noisy = [row[3] / row[4] for row in rows if row[0] == 0.5]
    [event] = events.Scalars("accuracy/alpha 0.5")
    assert event.value == pytest.approx(sum(noisy) / 3) and event.step == run.recipe.epochs

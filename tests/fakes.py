"""A results folder with made-up but realistic numbers, for tests that train nothing."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from config import REGIMES, Recipe, Run, Sweep
from store import records
from store.plan import Plan
from store.plan_file import save_plan

BREAK = {"mlp": 1.6, "cnn": 1.2, "resnet18": 0.9, "vit": 0.7}
"""α at which the fake clean models fall halfway to chance."""
ALPHAS = (0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.4, 2)
PROVENANCE = {"torch": "2.14.1", "device": "cpu", "hardware": "2-core CPU", "threads": 1}


def make_plan(
    architectures=("mlp", "cnn"), regimes=("clean", "noisy"), seeds=(0, 1, 2), **sweep
) -> Plan:
    """Return a plan of the default recipe and fixed strengths and draws, but for what is given."""
    knobs = {"alphas": ALPHAS, "draws": 5, **sweep}
    return Plan(architectures, regimes, seeds, Recipe(), Sweep(**knobs))


def measure(run, points, settings, gain=1.5, total=10_000) -> list[list]:
    """Return rows that fall smoothly from 0.98 to 0.1, with a spread over seeds and draws."""
    half = BREAK.get(run.architecture, 1.0) * (gain if run.regime == "noisy" else 1.0)
    seed = np.random.default_rng([run.seed, settings["noise_seed"]]).normal()
    own_key = list(REGIMES).index(run.regime) + 1
    rows = []
    for alpha, draw, sign in points:
        stream = np.random.default_rng([run.seed, draw, sign + 1, int(1000 * alpha)])
        fall = 1 / (1 + (alpha / half) ** -4) if alpha else 0.0
        own = np.random.default_rng([run.seed, draw, sign + 1, int(1000 * alpha), own_key])
        accuracy = 0.1 + (0.88 + 0.001 * seed) * (1 - fall)
        accuracy += 0.2 * fall * (1 - fall) * (stream.normal() + own.normal())
        accuracy += 0.0002 * own.normal()
        correct = round(total * float(np.clip(accuracy, 0, 1)))
        rows.append([float(alpha), draw, sign, correct, total, float(total * (0.05 + 3 * fall))])
    return rows


def make_results(folder: Path, plan: Plan, keep=lambda run, point: True, gain=1.5) -> Path:
    """Write a plan and a record for each of its runs that has a measurement kept by `keep`."""
    save_plan(folder, plan)
    for run in plan.runs:
        points = [p for p in replace(plan.sweep, antithetic=False).points if keep(run, p)]
        if points:
            record = records.new(run, f"weights of {run.run_id}", [0.3, 0.1], PROVENANCE)
            rows = measure(run, points, plan.sweep.settings, gain)
            record = records.add(record, plan.sweep.settings, rows)
            if plan.sweep.antithetic:
                record = add_curvature(record, run, plan.sweep)
            records.save(folder / "runs" / f"{run.run_id}.json", record)
    return folder


def add_curvature(record: records.Record, run: Run, sweep: Sweep) -> records.Record:
    """Return the record with pairs on training images, and forms of a trace of 2.5 beside them."""
    pairs = sweep.in_pairs(run.architecture)
    rows = measure(run, pairs.points, sweep.training_settings, total=1024)
    record = records.add(record, sweep.training_settings, rows)
    forms = {"a.weight": [1.0, 3.0] * (pairs.draws // 2), "b.weight": [0.5] * pairs.draws}
    settings = sweep.form_settings(run.architecture)
    block = {"settings": settings, "images": 1024, "forms": forms}
    return records.add_curvature(record, block)


def read_json(path: Path) -> dict:
    """Return a JSON file's content."""
    return json.loads(path.read_text(encoding="utf-8"))

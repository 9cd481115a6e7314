"""The pilot chooses by the criteria that it states, and its table follows from its records."""

import numpy as np
import pandas as pd
import pytest

import config
from conftest import ROOT
from store import records
from studies import pilot

FOLDER = ROOT / "results" / "reference" / "pilot"


def candidate(architecture: str, regime: str, epochs: int, seed: int, correct: int) -> dict:
    """Return as much of a record as the table reads."""
    recipe = {"epochs": epochs}
    identity = {"architecture": architecture, "regime": regime, "seed": seed, "recipe": recipe}
    rows = [[0.5, 0, 1, 0, 10_000, 9.0], [0.0, 0, 1, correct, 10_000, 1.0]]
    return {"identity": identity, "measurements": [{"rows": rows}]}


def candidates(gains: dict[str, list[int]]) -> list[dict]:
    """Return two seeds of an MLP at 1, 2, 4, … epochs, with gains of correct answers by regime."""
    return [
        candidate("mlp", regime, 2**n, seed, 9000 + 100 * seed + sum(steps[:n]))
        for regime, steps in gains.items()
        for n in range(len(steps) + 1)
        for seed in (0, 1)
    ]


def test_the_table_has_what_twice_the_epochs_gain():
    table = pilot.epochs_table(candidates({"clean": [50, 8], "noisy": [200, 9]}))
    row = table.set_index(["regime", "epochs"]).loc["noisy", 1]
    assert (row.n, row.pairs, row.accuracy, row.gain) == (2, 2, 90.5, 2.0)
    assert row.half_width == pytest.approx(0.0, abs=1e-9)
    assert np.isnan(table.set_index(["regime", "epochs"]).loc["clean", 4].gain)


def test_what_noisy_training_gains_more_is_paired_by_seed():
    found = candidates({"clean": [50], "noisy": [200]})
    gain, half = pilot.gain_apart(found, "mlp", 1)
    assert gain == pytest.approx(1.5) and half == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("gains", "chosen"),
    [
        ({"clean": [50, 8, 1], "noisy": [200, 9, 9]}, 2),
        ({"clean": [5, 5, 5], "noisy": [200, 90, 9]}, 4),  # the regime that learns longer decides
        ({"clean": [5, 5], "noisy": [5, 5]}, 1),
        ({"clean": [50, 50], "noisy": [5, 5]}, None),
    ],
)
def test_doubling_what_is_chosen_gains_less_than_a_tenth_of_a_point_in_both(gains, chosen):
    assert pilot.choice(pilot.epochs_table(candidates(gains))) == {"mlp": chosen}


def test_the_committed_table_follows_from_its_records():
    found, problems = records.load_all(FOLDER / "epochs" / "runs")
    assert found and not problems
    assert {record["identity"]["recipe"]["validation_size"] for record in found} == {10_000}
    made, kept = pilot.epochs_table(found), pd.read_csv(FOLDER / "epochs.csv")
    pd.testing.assert_frame_equal(made, kept, check_dtype=False)


def test_epochs_are_what_the_pilot_chose_or_what_doubling_gains_is_known():
    table = pd.read_csv(FOLDER / "epochs.csv")
    for name, chosen in pilot.choice(table).items():
        own = table[(table.architecture == name) & (table.epochs == config.EPOCHS[name])]
        if chosen:
            assert config.EPOCHS[name] == chosen
        else:
            assert own.gain.max() >= pilot.ENOUGH and (own.pairs >= 3).all()


def test_what_the_plan_says_of_doubling_is_what_the_pilot_found():
    table = pd.read_csv(FOLDER / "epochs.csv")
    for name, epochs in config.EPOCHS.items():
        own = table[(table.architecture == name) & (table.epochs == epochs)].set_index("regime")
        gains = own.gain[list(config.DEFAULT_REGIMES)].round(2)
        assert config.DOUBLING.get(name, ()) == (tuple(gains) if gains.max() >= 0.1 else ())

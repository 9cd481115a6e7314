"""The study of parameters: as many trials for all, the criterion, what is chosen, what is not."""

import csv

import pytest

from config import REGIMES
from conftest import ROOT
from studies.bench import INJECTION
from studies.tuning import TUNED, candidates, own_value, say_choice, tuning_table

COMMITTED = ROOT / "results" / "bench" / "tuning" / "tuning.csv"


def record(name: str, seed: int, at_zero: int, noisy: int) -> dict:
    """Return what the study reads of a record: accuracy falls from at_zero to noisy percent."""
    rows = [[0.0, 0, 1, at_zero, 100, 0.0], [0.1, 0, 1, noisy, 100, 0.0], [1.0, 0, 1, 0, 100, 0.0]]
    identity = {"architecture": "mlp", "regime": name, "seed": seed, "recipe": {}}
    return {"identity": identity, "measurements": [{"settings": {}, "rows": rows}]}


def all_records(regime: str, noisy: list[int], seeds=(100, 101)) -> list[dict]:
    names = candidates(regime).values()
    return [record(n, s, 90, a + s - 100) for n, a in zip(names, noisy, strict=True) for s in seeds]


def test_every_method_with_a_parameter_has_as_many_trials():
    assert {*TUNED} == {*REGIMES} - {"clean"}
    assert {len(values) for _, values in TUNED.values()} == {5}


@pytest.mark.parametrize("regime", TUNED)
def test_candidates_are_regimes_around_the_registered_one(regime):
    parameter, values = TUNED[regime]
    assert list(values) == sorted(set(values))
    for value, name in candidates(regime).items():
        assert name in REGIMES and REGIMES[name].method == REGIMES[regime].method
        found = REGIMES[name].noise if parameter == "noise" else REGIMES[name].parameters[parameter]
        assert found == value
        others = {k: v for k, v in REGIMES[name].parameters.items() if k != parameter}
        assert others == {k: v for k, v in REGIMES[regime].parameters.items() if k != parameter}


def test_the_largest_area_is_chosen_and_an_end_is_marked():
    found = [*all_records("sam", [50, 70, 60, 55, 20]), *all_records("awp", [10, 20, 30, 40, 50])]
    table = tuning_table(found).set_index(["regime", "value"])
    assert table[table.chosen].index.tolist() == [("sam", 0.025), ("awp", 0.04)]
    row = table.loc[("sam", 0.025)]
    assert row.area == pytest.approx((0.70 + 0.71) / 4) and row.n == 2  # half of the mean at .1
    assert row.accuracy == 90 and not row.at_the_end
    assert table.loc[("awp", 0.04)].at_the_end
    assert table.half_width.notna().all() and (table.parameter != "").all()
    assert say_choice(table.reset_index()) == [
        "mlp sam: rho = 0.025",
        "mlp awp: gamma = 0.04 (at an end of its values)",
    ]


def test_nothing_is_chosen_before_all_candidates_have_the_same_seeds():
    whole = all_records("sam", [50, 70, 60, 55, 20])
    for part in (whole[:-1], whole[:-2]):
        assert not tuning_table(part).chosen.any()
    assert tuning_table(whole).chosen.sum() == 1
    assert tuning_table([record("clean", 100, 90, 50)]).empty


def test_a_wrong_name_is_refused_in_one_line(command):
    done = command("-m", "studies.tuning", "sham")
    assert done.returncode == 2 and "'sham'" in done.stderr
    assert len(done.stderr.splitlines()) == 1 and "Traceback" not in done.stderr


def test_the_regimes_have_the_values_that_were_chosen():
    with COMMITTED.open() as file:
        rows = [row for row in csv.DictReader(file) if row["chosen"] == "True"]
    chosen = {r["regime"]: r for r in rows if r["architecture"] == "mlp"}
    assert REGIMES[candidates("noisy")[float(chosen["noisy"]["value"])]] == REGIMES[INJECTION]
    for regime, row in chosen.items():
        assert own_value(regime, row["parameter"]) == float(row["value"])

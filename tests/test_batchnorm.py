"""BatchNorm statistics taken anew: what they are, that they are put back, what a report says."""

import pandas as pd
import pytest
import torch
from torch import nn
from torch.optim.swa_utils import update_bn

import fakes
import report
from config import REESTIMATED, Run, Sweep
from probes.batchnorm import has_batchnorm, reestimated
from reporting import batchnorm
from reporting.results import read
from store import records


def small() -> nn.Module:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.BatchNorm2d(4),
        nn.Dropout(0.9),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(4 * 36, 8),
        nn.BatchNorm1d(8, track_running_stats=False),
        nn.Linear(8, 3),
    )
    with torch.no_grad():
        net(3 * torch.rand(32, 1, 8, 8) + 1)  # statistics of other data
    return net.eval()


def batches(count: int = 4) -> list[torch.Tensor]:
    torch.manual_seed(1)
    return [torch.rand(16, 1, 8, 8) for _ in range(count)]


def test_statistics_are_those_that_torch_takes():
    model, expected = small(), small()
    expected[2] = nn.Identity()  # ours leaves dropout off
    update_bn(batches(), expected)
    with reestimated(model, batches()):
        assert not any(m.training for m in model.modules())
        for name in ("running_mean", "running_var"):
            assert torch.equal(getattr(model[1], name), getattr(expected[1], name))


@pytest.mark.parametrize("error", [False, True])
def test_all_is_as_before_afterwards(error):
    model = small()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    momentum = model[1].momentum
    try:
        with reestimated(model, batches()):
            assert not torch.equal(model[1].running_mean, before["1.running_mean"])
            if error:
                raise KeyError
    except KeyError:
        assert error
    after = model.state_dict()
    assert all(torch.equal(after[k], v) for k, v in before.items())
    assert model[1].momentum == momentum and not model[1].training


def test_a_pass_that_fails_leaves_nothing_behind():
    model = small()
    before = model[1].running_mean.clone()
    with pytest.raises(RuntimeError), reestimated(model, [torch.rand(2, 5, 8, 8)]):
        pytest.fail("not reached")
    assert torch.equal(model[1].running_mean, before) and not model[1].training


def test_which_models_have_statistics():
    assert has_batchnorm(small())
    assert not has_batchnorm(nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2)))
    assert not has_batchnorm(nn.BatchNorm1d(2, track_running_stats=False))


# ---- In a report -----------------------------------------------------------------------------


@pytest.fixture
def results(tmp_path):
    """Two regimes, three seeds of a model that gains half of its fall with new statistics."""
    plan = fakes.make_plan(("resnet18", "mlp"), alphas=(0, 0.1, 1.0))
    fakes.make_results(tmp_path, plan)
    for run in plan.runs:
        if run.architecture == "resnet18":
            add_anew(tmp_path, run, plan.sweep)
    return tmp_path


def add_anew(folder, run: Run, sweep: Sweep) -> None:
    path = folder / "runs" / f"{run.run_id}.json"
    record = records.load(path) | {"traits": {"chance": 0.1, "batchnorm": True}}
    found = records.rows(record, sweep.settings)
    start = found[0][3]
    rows = [[*row[:3], row[3] + (start - row[3]) // 2, *row[4:]] for row in found]
    path.write_text(
        records.dumps(records.add(record, sweep.settings_of("gaussian", REESTIMATED), rows))
    )


def test_the_share_of_the_fall(results):
    found = read(results)
    table = batchnorm.compare(found.rows, found.reestimated["gaussian"])
    assert set(table.architecture) == {"resnet18"}
    assert len(table) == 2 * 3 * 3  # regimes, seeds, strengths
    deep = table[table.fall > 0.01]
    assert len(deep) and deep.share.round(2).eq(0.5).all()
    moved = found.reestimated["gaussian"].assign(correct=lambda t: t.correct + 300)
    better = batchnorm.compare(found.rows, moved)  # also without noise: that is no share of a fall
    assert better[table.fall > 0.01].share.round(2).eq(0.5).all()
    assert table[table.alpha == 0].share.isna().all()


def test_both_policies_are_compared_over_the_same_draws(results):
    found = read(results)
    anew = found.reestimated["gaussian"]
    one = batchnorm.compare(found.rows, anew[(anew.alpha != 1) | (anew.draw == 0)])
    first = found.rows[(found.rows.alpha == 1) & (found.rows.draw == 0)]
    first = first[first.architecture == "resnet18"]
    assert [*one[one.alpha == 1].frozen] == pytest.approx([*(first.correct / first.total)])
    none = batchnorm.compare(found.rows, anew[anew.alpha < 1])
    all_draws = batchnorm.compare(found.rows, anew)
    assert [*none[none.alpha == 1].frozen] == [*all_draws[all_draws.alpha == 1].frozen]
    assert none[none.alpha == 1].reestimated.isna().all()


@pytest.mark.slow
def test_tables_say_which_policy_and_the_headline_is_frozen(results, tmp_path_factory):
    made = report.rebuild(results)
    assert set(made.sweep.batchnorm) == {"frozen", REESTIMATED} and "noise" not in made.sweep
    assert set(made.sweep[made.sweep.architecture == "mlp"].batchnorm) == {"frozen"}
    plain = fakes.make_results(
        tmp_path_factory.mktemp("plain"), fakes.make_plan(("resnet18", "mlp"), alphas=(0, 0.1, 1.0))
    )
    without = report.rebuild(plain)
    assert "batchnorm" not in without.sweep and not (plain / "batchnorm.csv").exists()
    pd.testing.assert_frame_equal(made.summary, without.summary)
    for name in ("effects.csv", "curves.csv"):
        assert (results / name).read_bytes() == (plain / name).read_bytes()
    assert (results / "batchnorm.png").exists()
    assert "Share of the fall" in (results / "report.md").read_text()


def test_what_is_missing_is_named(results):
    path = next((results / "runs").glob("resnet18-clean-seed0*"))
    record = records.load(path)
    blocks = [b for b in record["measurements"] if "batchnorm" not in b["settings"]]
    path.write_text(records.dumps({**record, "measurements": blocks}))
    assert any("BatchNorm re-estimated missing" in text for text in report.rebuild(results).missing)

"""Your own models: files and libraries through the front door, what is reused and what is not."""

import functools
import json
import pickle
import re
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
import torchvision
from matplotlib.figure import Figure
from PIL import Image
from torch import nn

import evaluate
import noises
import report
from analysis import over_draws
from conftest import ROOT
from machine.checks import UsageError
from probes import own, own_options, own_plan
from reporting import accuracy, batchnorm, metrics, results, terminal
from reporting.over_draws import say_break
from sources.own import source_digest
from sources.state import read_state
from store import records

TWO = """
import torch
from torch import nn
WEIGHTS = {}
def network(seed):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 24), nn.ReLU(), nn.Linear(24, 3))
def examples():
    x = torch.randn(60, 6, generator=torch.Generator().manual_seed(9))
    return x, network(0)(x).argmax(1)
def models():
    return {MODELS}
def batches():
    x, y = examples()
    return zip(x.split(20), y.split(20))
"""
PAIR = "{('plain', 0): network(0), ('rough', 0): network(1)}"


@pytest.fixture
def quick(monkeypatch):
    """Tables only: figures take seconds."""
    monkeypatch.setattr(report, "rebuild", functools.partial(report.rebuild, everything=False))


@pytest.fixture
def go(tmp_path, capsys):
    """Write a file and evaluate it; return the exit status and what was printed."""

    def run(text: str | None, draws=2, alphas=(0, 0.5, 2), name="mine.py", by_layer=False, **more):
        path = tmp_path / "project" / name
        path.parent.mkdir(exist_ok=True)
        if text is not None:
            path.write_text(text)
        others = ("test_size", "alpha", "units", "architectures", "checkpoint")
        sizes = {k: more.pop(k) for k in others if k in more}
        asked = own_options.Options(**{"model": str(path), "alphas": alphas, "threads": 1, **more})
        with pytest.raises(SystemExit) as end:
            evaluate.main(
                draws=draws,
                by_layer=by_layer,
                results_dir=tmp_path / "results",
                data_dir=ROOT / "data",
                yours=asked,
                **sizes,
            )
        said = capsys.readouterr()
        return end.value.code, said.err if end.value.code == 2 else said.out

    return run


def read(folder):
    return {p.stem: records.load(p) for p in sorted((folder / "runs").glob("*.json"))}


def two(models=PAIR) -> str:
    return TWO.replace("{MODELS}", models)


# ---- What comes out --------------------------------------------------------------------------


@pytest.mark.slow
def test_the_example_in_readme_is_short_and_runs(go, tmp_path):
    text = (ROOT / "README.md").read_text()
    example = re.search(r"```python\n(# mine\.py.*?)```", text, re.DOTALL)[1]
    assert len(example.splitlines()) <= 20
    status, said = go(example, alphas=(), draws=3)
    assert status == 0 and "over draws" in said and "halfway to chance at α" in said
    folder = tmp_path / "results" / "mine"
    for name in ("report.html", "summary.csv", "robustness.png", "over_draws.csv"):
        assert (folder / name).stat().st_size
    page = (folder / "report.html").read_text()
    assert "over 3 draws" in page and "stand?" in page and "noisy regime" not in page
    before = {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()}
    (tmp_path / "project" / "mine.py").unlink()
    report.rebuild(folder)  # what the file said is in the plan and the records
    assert {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()} == before


def test_the_example_of_two_trainings_runs(go, tmp_path):
    text = (ROOT / "docs" / "model.md").read_text()
    example = re.search(r"```python\n(# trainings\.py.*?)```", text, re.DOTALL)[1]
    status, said = go(example, name="trainings.py", alphas=(), draws=5)
    assert status == 0 and "trainings decayed: cost" in said and "over seeds" in said
    assert set(pd.read_csv(tmp_path / "results" / "trainings" / "summary.csv").seed) == {0, 1, 2}


def test_noise_is_common_to_regimes_and_independent_between_seeds(go, tmp_path, quick):
    same = "{('a', 0): network(1), ('b $x$', 0): network(1), ('a', 3): network(1)}"
    status, said = go(two(same))
    assert status == 0 and "has the very weights of a seed 0" in said
    sweep = pd.read_csv(tmp_path / "results" / "mine" / "sweep.csv")
    curves = sweep.set_index(["regime", "seed", "alpha_test", "draw"]).loss
    assert curves["a", 0].equals(curves["b $x$", 0])
    assert not curves["a", 0][2.0].isin(curves["a", 3][2.0]).any()
    assert list(sweep.columns) == [
        *("architecture", "regime", "seed", "alpha_test", "draw", "accuracy", "loss")
    ]


def test_the_numbers_are_those_of_a_loop_by_hand(go, tmp_path, quick):
    from noise import noisy_parameters, unit_noise

    go(two())
    torch.manual_seed(1)
    net = nn.Sequential(nn.Linear(6, 24), nn.ReLU(), nn.Linear(24, 3))
    x = torch.randn(60, 6, generator=torch.Generator().manual_seed(9))
    torch.manual_seed(0)
    y = nn.Sequential(nn.Linear(6, 24), nn.ReLU(), nn.Linear(24, 3))(x).argmax(1)
    unit = unit_noise(noisy_parameters(net), 0, 0, 1)
    with torch.no_grad():
        for name, p in noisy_parameters(net).items():
            p += 0.5 * p.std(correction=0) * unit[name]
    (record,) = [r for r in read(tmp_path / "results" / "mine").values() if "rough" in r["run_id"]]
    row = next(r for r in record["measurements"][0]["rows"] if r[:2] == [0.5, 1])
    assert row[3:5] == [int((net(x).argmax(1) == y).sum()), 60]
    assert row[5] == pytest.approx(nn.functional.cross_entropy(net(x), y).item() * 60, rel=1e-5)


def test_the_break_is_found_and_the_baseline_is_the_first_regime(go, tmp_path):
    status, said = go(two(), alphas=(), draws=2)
    assert status == 0
    found = results.read(tmp_path / "results" / "mine")
    assert found.chance == pytest.approx(1 / 3)
    assert found.effects.regime.unique().tolist() == ["rough"]  # against plain
    assert found.rows.alpha.max() > 0.2
    assert "plain, seed 0: 1.0000 without noise; halfway to chance at α" in said
    assert terminal.show(found) in said
    page = (tmp_path / "results" / "mine" / "report.md").read_text()
    assert "Trained rough rather than plain" in page or "rough − plain" in page


def test_what_measure_is_made_of_is_what_its_digest_is_of(tmp_path):
    path, text = tmp_path / "mine.py", SCORE.replace("model()(X)", "torch.zeros(40, 1)")

    def digest(text: str) -> str:
        path.write_text(text)
        return source_digest(path, "measure")

    first = digest(text)
    assert digest("# a comment\n" + text.replace("manual_seed(0)", "manual_seed(5)")) == first
    assert digest(text.replace("randn(40", "randn(41")) != first  # X, which it refers to
    assert digest(text.replace("1 - ((", "1 - 2 * ((")) != first


def test_a_baseline_of_ones_own(go, tmp_path, quick):
    go(two() + "BASELINE = 'rough'\n")
    assert results.read(tmp_path / "results" / "mine").effects.regime.unique() == ["plain"]


def test_seeds_and_regimes_end_with_the_comparison(go, quick):
    four = "{(r, s): network(0) for r in ('plain', 'rough') for s in (0, 1)}"
    status, said = go(two(four), alphas=())
    assert status == 0 and "Against plain:\nmine rough: cost " in said and "tolerance × " in said
    assert "in points (0.01 of accuracy)" in said and "95% over 2 paired seeds" in said
    assert "rough against plain" not in said
    assert "one seed, no verdict" not in said and "of earlier ones" not in said
    one = "{(r, 0): network(0) for r in ('plain', 'rough')}"
    status, said = go(two(one), alphas=(), name="other.py")
    line = next(line for line in said.splitlines() if line.startswith("other rough: cost"))
    assert "one seed, no verdict" in line and "tolerance × 1.00" in line
    status, said = go(two(one), alphas=(0, 0.5, 2, 9), draws=4, name="third.py")
    assert "rough against plain, seed 0: stands × 1.00" in said and "4 paired draws" in said


def test_two_models_are_compared_over_the_draws_that_they_share(go, tmp_path, quick):
    near = "[net := network(0), net[0].weight.data.mul_(torch.tensor([1.5, 1, 1, 1, 1, 1]))][0]"
    models = f"{{('plain', 0): network(0), ('rough', 0): {near}}}"
    go(two(models), alphas=(0, 0.05, 0.2, 0.5, 1, 2, 5, 9, 20, 40), draws=4)
    found = results.read(tmp_path / "results" / "mine")
    [row] = over_draws.tolerances(found.rows, 1 / 3).itertuples()
    both = over_draws.breaks(found.rows, 1 / 3).set_index("regime")["mean"]
    assert row.draws == 4 and row.low < row.mean < row.high
    assert row.mean == pytest.approx(both["rough"] / both["plain"])
    assert over_draws.tolerances(found.rows, 0.9999).empty  # rough is not above that


def test_another_baseline_than_clean_has_its_column_of_metrics(go, tmp_path, quick):
    four = "{(r, s): network(s) for r in ('plain', 'rough') for s in (0, 1)}"
    go(two(four) + "BASELINE = 'rough'\n")
    table = metrics.section(results.read(tmp_path / "results" / "mine")).by_architecture["mine"]
    assert table.header == ["Metric", "rough", "plain", "plain against rough"]


def test_a_model_at_chance_is_not_said_to_stand_noise(go, quick):
    status, said = go(two("{('plain', 0): network(0)}") + "CHANCE = 1.0\n", alphas=())
    assert status == 0 and "is not above chance (1): there is no break to find." in said
    assert "beyond α" not in said


@pytest.mark.slow
def test_the_report_of_one_model_is_of_one_model(go, tmp_path):
    status, said = go(two("{('plain', 0): network(0)}"), alphas=(), noise=("bit_errors:0.01",))
    assert status == 0 and "accuracy by strength of bit_errors; ± 95% over draws" in said
    folder = tmp_path / "results" / "mine"
    for name in ("report.md", "report.html"):
        page = (folder / name).read_text()
        assert "60 test labels; chance is 0.3333" in page and "bit_errors on mine: each" in page
        assert "no paired runs" not in page and "What it would take" not in page
    assert (folder / "robustness.png").exists() and not (folder / "effects.png").exists()


def test_a_mean_over_draws_is_the_count_over_all_of_them():
    """A tie is rounded as in the table over seeds, which has it from the counts."""
    counts = [3795, 3790, 3784, 3800, 3798]
    rows = pd.DataFrame({"draw": range(5), "correct": counts})
    rows = rows.assign(architecture="a", regime="b", seed=0, alpha=0.1, sign=1, total=4000)
    assert over_draws.accuracy(rows)["mean"].item() == sum(counts) / 20000


def test_one_draw_stands_and_two_stand():
    row = {"regime": "a", "seed": 0, "start": 0.9, "chance": 0.1, "last": 2.0, "mean": 1.8}
    row |= {"draws": 5, "low": np.nan, "high": np.nan}
    said = [say_break(SimpleNamespace(**row, beyond=n)) for n in (1, 2)]
    assert "1 of them stands more than 2" in said[0] and "2 of them stand more" in said[1]


def test_points_of_regimes_stand_beside_each_other_at_their_strengths(go, tmp_path, quick):
    names = ("plain", "a", "b", "c", "d", "e")
    go(two("{" + ", ".join(f"('{r}', {s}): network(0)" for r in names for s in (0, 1)) + "}"))
    panel = accuracy.section(results.read(tmp_path / "results" / "mine")).charts["effects"]
    axes = Figure().subplots()
    panel.draw(axes, *panel.frames)
    found = np.concatenate([line.get_xdata() for line in axes.lines if len(line.get_xdata()) > 2])
    beyond = found[found > 0.4]
    assert len(beyond) >= 10
    assert all(min(abs(np.log(x / a)) for a in (0.5, 2.0)) < np.log(1.11) for x in beyond)
    assert accuracy.side_by_side(1) == [1.0] and max(accuracy.side_by_side(19)) < 1.11


def test_alpha_0_alone_says_that_there_is_no_noise(go, quick):
    status, said = go(two(), alphas=(0,))
    assert status == 0 and "no α > 0 is measured" in said and "nan" not in said


# ---- What is reused --------------------------------------------------------------------------


def test_a_further_seed_reuses_what_is_there_and_changed_weights_do_not(go, tmp_path, quick):
    folder = tmp_path / "results" / "mine"
    go(two())
    first = read(folder)
    more = PAIR.replace("}", ", ('plain', 1): network(2)}")
    go("# a comment\n" + two(more))
    both = read(folder)
    assert len(both) == 3 and all(both[name] == record for name, record in first.items())
    go(two(more.replace("network(1)", "network(5)")))
    assert len(read(folder)) == 4
    sweep = pd.read_csv(folder / "sweep.csv")
    assert (
        len(sweep) == 3 * 5 and not sweep.duplicated(["regime", "seed", "alpha_test", "draw"]).any()
    )
    assert "other weights" in "".join(results.read(folder).left_out)


def test_a_model_of_an_earlier_command_is_compared_and_not_asked_for(go, tmp_path, quick):
    """The second goes on to its break; the first, which is not at hand, cannot, and is named."""
    status, _ = go(two("{('plain', 0): network(1)}"), alphas=())
    assert status == 0
    status, out = go(two("{('rough', 0): network(0)}"), alphas=())
    assert status == 0 and "missing: mine-plain-seed0" in out and "once more" in out
    status, out = go(two("{('plain', 0): network(1), ('rough', 0): network(0)}"), alphas=())
    assert status == 0 and "missing" not in out


def test_the_baseline_of_earlier_commands_stays_unless_there_is_clean(go, tmp_path, quick):
    def baseline(regime: str, more: str = "") -> str:
        status, said = go(two(f"{{('{regime}', 0): network(0)}}") + more)
        assert status == 0, said
        return results.read(tmp_path / "results" / "mine").rows.regime.cat.categories[0]

    found = [baseline(name) for name in ("first", "second", "clean", "last")]
    assert found == ["first", "first", "clean", "clean"]
    assert baseline("last", "BASELINE = 'last'\n") == "last"


def test_models_of_earlier_commands_are_named_and_can_be_left_out(go, tmp_path, quick):
    assert "of earlier ones" not in go(two("{('old', 0): network(0)}"))[1]
    status, said = go(two("{('new', 0): network(0)}"))
    [line] = [line for line in said.splitlines() if "of earlier ones" in line]
    assert status == 0 and "old (seed 0)" in line and "new" not in line
    [path] = (tmp_path / "results" / "mine" / "runs").glob("mine-old-*.json")
    path.unlink()
    status, said = go(two("{('new', 0): network(0)}"))
    assert status == 0 and "mine-old" not in said and "old (seed" not in said


def test_changed_data_and_patterns_are_another_measurement(go, tmp_path, quick):
    folder = tmp_path / "results" / "mine"
    go(two())
    status, said = go(two().replace("manual_seed(9)", "manual_seed(8)"))
    assert status == 0 and "what is tested on (other data, --test-size" in said
    assert "measured anew" in said and "NOISY or CLEAN" not in said
    status, said = go(two().replace("manual_seed(9)", "manual_seed(8)"), by_layer=True, alphas=())
    assert status == 0 and "measured anew" not in said
    status, said = go(two().replace("manual_seed(9)", "manual_seed(8)") + "CLEAN = ['2.weight']\n")
    assert "before: NOISY or CLEAN; all" in said
    for path in (folder / "runs").glob("*.json"):
        if records.load(path)["identity"]["recipe"]["clean"]:
            path.unlink()
    go(two() + "CLEAN = ['0.weight']\n")
    assert len(read(folder)) == 6
    assert len(pd.read_csv(folder / "summary.csv")) == 2
    go(two().replace("split(20)", "split(7)") + "CLEAN = ['0.weight']\n")  # the same data
    assert len(read(folder)) == 6


def test_what_is_interrupted_goes_on_to_the_same_records(go, tmp_path, quick, monkeypatch):
    go(two(), name="whole.py")
    count, calls = own.measure_under, []

    def stop(*words):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return count(*words)

    monkeypatch.setattr(own, "measure_under", stop)
    status, said = go(two(), name="cut.py")
    assert status == 130 and "To go on: python" in said
    (record,) = read(tmp_path / "results" / "cut").values()
    assert len(record["measurements"][0]["rows"]) == 3
    status, _ = go(two(), name="cut.py")
    assert status == 0
    whole, cut = (read(tmp_path / "results" / name) for name in ("whole", "cut"))
    assert [r["measurements"] for r in whole.values()] == [r["measurements"] for r in cut.values()]


def test_what_changed_outside_the_file_is_noticed(go, tmp_path, quick):
    text = two("{('plain', 0): network(0)}").replace(
        "def batches():", "CHANCE = 1/3\nimport helper\ndef measure(model):"
    )
    text = text.replace(
        "    return zip(x.split(20), y.split(20))",
        "    return helper.shift(int((model(x).argmax(1) == y).sum())), 60, None",
    )
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "helper.py").write_text("def shift(n): return n\n")
    assert go(text)[0] == 0
    sys.modules.pop("helper")
    (tmp_path / "project" / "helper.py").write_text("def shift(n): return n // 2  # or so\n")
    status, said = go(text, draws=3)
    sys.modules.pop("helper")
    assert status == 2 and "its code or data have changed" in said


# ---- The file's own imports ------------------------------------------------------------------


def test_a_file_finds_its_own_projects_modules_and_not_ours(go, tmp_path, quick):
    folder = tmp_path / "project"
    (folder / "models").mkdir(parents=True)
    (folder / "models" / "net.py").write_text(  # a folder without __init__.py
        "from torch import nn\nclass Net(nn.Linear): pass\n"
    )
    for name in ("data", "config", "noise", "report", "utils", "train", "store"):
        (folder / f"{name}.py").write_text(f"NAME = 'their {name}'\n")
    (folder / "evaluate.py").write_text("import config\nNAME = 'their ' + config.NAME\n")
    text = """
import pickle, torch
import data, config, utils
from models.net import Net
def model():
    import noise, store
    assert (noise.NAME, store.NAME) == ('their noise', 'their store')
    torch.manual_seed(0)
    return pickle.loads(pickle.dumps(Net(4, 2)))
def batches():
    import evaluate
    assert evaluate.NAME == 'their their config'
    yield torch.randn(50, 4, generator=torch.Generator().manual_seed(0)), torch.arange(50) % 2
def calibration():
    import report, train
    assert (report.NAME, train.NAME) == ('their report', 'their train')
    yield torch.zeros(2, 4)
assert (data.NAME, config.NAME, utils.NAME) == ('their data', 'their config', 'their utils')
"""
    ours = {name: sys.modules[name] for name in ("evaluate", "noise", "report", "store")}
    path = list(sys.path)
    try:
        status, said = go(text)
    finally:
        sys.modules.pop("utils", None)
    assert status == 0, said
    assert sys.path == path
    assert all(sys.modules[name] is module for name, module in ours.items())
    import config

    assert config.__file__ == str(ROOT / "config.py")
    status, said = go("import machine\n" + text)  # which they do not have
    assert status == 2 and "No module named 'machine'" in said


# ---- Measures, scores, BatchNorm, layers -----------------------------------------------------

SCORE = """
import torch
from torch import nn
def model():
    torch.manual_seed(0)
    net = nn.Linear(5, 1)
    return net
X = torch.randn(40, 5, generator=torch.Generator().manual_seed(1))
Y = model()(X).detach()
def measure(model):
    return 1 - ((model(X) - Y) ** 2).mean() / Y.var()
SCORE = "R²"
CHANCE = 0
"""


def test_a_score_instead_of_counts(go, tmp_path):
    status, said = go(SCORE, alphas=())
    assert status == 0 and "R² by noise strength" in said
    folder = tmp_path / "results" / "mine"
    sweep = pd.read_csv(folder / "sweep.csv")
    assert sweep[sweep.alpha_test == 0].accuracy.item() == pytest.approx(1)
    assert sweep.loss.isna().all() and sweep.accuracy.min() < 0.5
    page = (folder / "report.md").read_text()
    assert "the score R², higher is better" in page and "1000000000" not in page


def test_a_score_that_is_not_finite_is_chance(go, tmp_path, quick):
    go(SCORE.replace("return 1 -", "return float('nan') if model.weight.std() > 9 else 1 -"))
    text = SCORE.replace("    return 1 -", "    return float('nan') * ")
    status, _ = go(text.replace("CHANCE = 0", "CHANCE = 0.25"), name="other.py")
    assert status == 0
    assert set(pd.read_csv(tmp_path / "results" / "other" / "sweep.csv").accuracy) == {0.25}


def test_a_score_below_zero_has_a_chance_below_zero(go, tmp_path):
    loss = SCORE.replace("return 1 - ", "return -").replace("CHANCE = 0", "CHANCE = -3")
    status, said = go(loss, alphas=())
    assert status == 0 and "chance -3" in said and "halfway to chance at α" in said
    assert "not above CHANCE" not in said
    assert results.read(tmp_path / "results" / "mine").chance == -3
    status, said = go(loss.replace("CHANCE = -3", ""), name="other.py")
    assert status == 0 and "without noise it is not above CHANCE (0): say CHANCE" in said


def test_a_pattern_may_be_a_string(go, tmp_path, quick):
    go(two() + "CLEAN = '0.*'\n", name="a.py")
    go(two() + "CLEAN = ['0.*']\n", name="b.py")
    a, b = (read(tmp_path / "results" / name).values() for name in "ab")
    assert [r["measurements"] for r in a] == [r["measurements"] for r in b]


def test_batchnorm_is_measured_under_both_policies_where_there_is_calibration(go, tmp_path, quick):
    text = two("{('plain', 0): network(0)}").replace("nn.ReLU()", "nn.BatchNorm1d(24)")
    status, said = go(text)
    assert status == 0 and "frozen only; calibration() in the file" in said
    text += "def calibration():\n    return torch.randn(64, 6).mul(3).split(32)\n"
    text = "import torch\ntorch.manual_seed(5)\n" + text
    status, said = go(text)
    assert status == 0 and "frozen only" not in said
    sweep = pd.read_csv(tmp_path / "results" / "mine" / "sweep.csv")
    assert set(sweep.batchnorm) == {"frozen", "reestimated"}
    said = batchnorm.section(results.read(tmp_path / "results" / "mine")).intro
    assert "on the batches of calibration()" in said and "1,024" not in said


def test_one_tensor_at_a_time(go, tmp_path):
    status, said = go(two(), by_layer=True, alpha=0.7, alphas=())
    assert status == 0 and "2.weight" in said
    folder = tmp_path / "results" / "mine"
    assert len(list(folder.glob("by_layer-*.csv"))) == 2 and not (folder / "plan.json").exists()


@pytest.mark.parametrize("how", ["dict(x=x)", "(x,)"])
def test_calibration_takes_what_batches_take(how, go, tmp_path, quick):
    """A dict by keyword, a tuple by position; the statistics are then those of plain tensors."""
    text = (
        two("{('plain', 0): Net()}")
        + """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(6, 24), nn.BatchNorm1d(24), nn.Linear(24, 3))
    def forward(self, x):
        return self.net(x)
def batches():
    x, y = examples()
    yield HOW, y
def calibration():
    x = examples()[0]
    yield HOW
"""
    )
    assert go(text.replace("HOW", how))[0] == 0
    assert go(text.replace("HOW", "x"), name="other.py")[0] == 0
    one, other = (
        [r["measurements"] for r in read(tmp_path / "results" / n).values()]
        for n in ("mine", "other")
    )
    assert one == other


def test_weights_that_are_not_finite_are_named(go, quick):
    text = (
        two("{('plain', 0): network(0), ('wild', 0): network(1)}")
        + """
good = network
def network(seed):
    net = good(seed)
    if seed:
        net[2].weight.data[0, 0] = float("nan")
    return net
"""
    )
    status, said = go(text)
    assert status == 0 and "wild seed 0 has weights that are not finite, such as 2.weight" in said
    assert "plain seed 0 has" not in said


def test_a_further_noise_family(go, tmp_path, quick, monkeypatch):
    lost = noises.Family("all", (0.1,), lambda w, z, p: w * (z.abs() >= p))
    monkeypatch.setitem(noises.FAMILIES, "lost", lost)
    assert go(two(), noise=("lost:0.1,0.9",))[0] == 0
    assert set(pd.read_csv(tmp_path / "results" / "mine" / "sweep.csv").noise) == {
        "gaussian",
        "lost",
    }


# ---- Wrong input -----------------------------------------------------------------------------

WRONG = {
    "no model": ("def batches(): pass", "takes model() -> nn.Module or models()"),
    "no measure": ("def model(): pass", "no nn.Module"),
    "neither": ("from torch import nn\ndef model(): return nn.Linear(2, 2)", "has neither"),
    "error": ("import torch\n1 / 0", "ZeroDivisionError: division by zero (mine.py, line 2)"),
    "syntax": ("def model(:", "SyntaxError"),
    "exit": ("raise SystemExit(3)", "SystemExit"),
    "keys": (two("{'plain': network(0)}"), "takes keys (regime, seed)"),
    "one module": (
        two("(lambda n: {('a', 0): n, ('b', 0): n})(network(0))"),
        "are one and the same module",
    ),
    "floats": (two().replace("argmax(1)", "softmax(1)"), "y is torch.float32"),
    "labels": (two().replace("argmax(1)", "argmax(1) + 4"), "the model has 3 classes"),
    "rows": (two().replace(".argmax(1)", ".argmax(1)[:30]"), "where (B, classes) and (B,)"),
    "no batch": (two().replace("zip(x.split(20), y.split(20))", "[]"), "no batch came"),
    "width": (two().replace("torch.randn(60, 6", "torch.randn(60, 7"), "RuntimeError"),
    "baseline": (two() + "BASELINE = 'clean'\n", "BASELINE is 'clean', which is no regime"),
    "chance": (two() + "CHANCE = 'a'\n", "CHANCE takes a finite number"),
    "chance of accuracy": (two() + "CHANCE = -1\n", "CHANCE of accuracy is from 0 to 1, got -1"),
    "pattern": (two() + "NOISY = ['heads.*']\n", "'heads.*' matches no parameter"),
    "all clean": (two() + "CLEAN = ['*']\n", "nothing in this model carries noise"),
    "no function": (two() + "batches = [batches()]\n", "batches is list, no function"),
    "a state dict": (
        two()
        .replace("def models()", "def model()")
        .replace("{MODELS}", "")
        .replace(PAIR, "network(0).state_dict()"),
        "model() is OrderedDict, no nn.Module",
    ),
    "calibration of pairs": (
        two().replace("nn.ReLU()", "nn.BatchNorm1d(24)") + "calibration = batches\n",
        "calibration(): a batch is a pair (x, y), as those of batches(), where x alone is taken\n",
    ),
    "calibration": (
        two().replace("nn.ReLU()", "nn.BatchNorm1d(24)")
        + "def calibration():\n    yield torch.ones(4, 5)\n",
        "calibration(): RuntimeError",
    ),
    "two": (SCORE.replace("SCORE =", "OTHER ="), "(correct, total, loss_sum), or with SCORE"),
    "fraction": (
        SCORE.replace("SCORE =", "OTHER =").replace("return 1 -", "return 0.9, 1, 0 *"),
        "whole numbers",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_with_a_file_is_said_in_a_line(case, go, tmp_path):
    text, words = WRONG[case]
    status, said = go(text)
    assert status == 2 and words in said and said.count("\n") == 1, said
    assert not (tmp_path / "results").exists()


def test_a_parameter_of_unknown_use_is_answered_by_the_lines_to_paste(go, tmp_path, quick):
    text = """
import torch
from torch import nn
class Own(nn.Module):
    def __init__(self):
        super().__init__()
        self.mix, self.gain = nn.Parameter(torch.randn(4, 4)), nn.Parameter(torch.ones(4))
    def forward(self, x):
        return self.gain * (x @ self.mix)
def model():
    torch.manual_seed(0)
    return nn.Sequential(Own(), Own(), nn.Linear(4, 2))
def batches():
    yield torch.ones(10, 4), torch.zeros(10, dtype=torch.long)
"""
    status, said = go(text)
    lines = said.splitlines()
    assert status == 2 and lines[-2:] == ["NOISY = ['*.mix']", "CLEAN = ['*.gain']"]
    assert go(text + "\n".join(lines[-2:]))[0] == 0


@pytest.mark.parametrize(
    ("name", "shape", "noisy"),
    [
        ("mix", (4, 4), True),
        ("score", (4, 1), True),
        ("gain", (4,), False),
        ("h0", (1, 1, 48), False),
        ("temperature", (4, 1, 1), False),
        ("kernel", (2, 3, 3), True),
        ("encoder.pos_embed", (1, 16, 8), False),
        ("pos", (24, 48), False),
        ("cls_token", (1, 1, 8), False),
        ("embedding.mix", (4, 4), True),
    ],
)
def test_the_guess_of_what_carries_noise(name, shape, noisy):
    assert own_plan.looks_noisy(name, nn.Parameter(torch.zeros(shape))) == noisy


def test_one_parameter_is_not_several(go, quick):
    text = (
        two("{('plain', 0): Net()}")
        + """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.h, self.net = nn.Parameter(torch.zeros(1, 1, 6)), network(0)
    def forward(self, x):
        return self.net(x + self.h[0])
"""
    )
    status, said = go(text)
    assert status == 2 and "for 1 parameter of unknown use, such as h?" in said
    assert said.splitlines()[-1] == "CLEAN = ['h']"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("mine.pt", "takes a Python file, mine.py, with a function model() that loads"),
        ("notes", "notes is none"),
        ("", "project' is a folder"),
    ],
)
def test_what_is_no_file_of_python_is_said_to_be_none(name, words, go, tmp_path):
    (tmp_path / "project").mkdir()
    status, said = go("" if name else None, name=name)
    assert status == 2 and words in said and said.count("\n") == 1, said


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (
            {"alphas": (0, 1), "by_layer": True},
            "--alphas: is for the sweep; --by-layer measures at",
        ),
        ({"alphas": (), "noise": ("pcm",), "by_layer": True}, "--noise: is for the sweep"),
        ({"alphas": (0, 1), "units": ("pcm:1",)}, "--alphas: is for the sweep; --units measures"),
        ({"architectures": ("mlp",)}, "ARCH: is for models of this program"),
        ({"checkpoint": "x.pt"}, "--checkpoint: is for models of this program"),
    ],
)
def test_what_would_be_passed_over_is_refused(more, words, go, tmp_path):
    status, said = go(two(), **more)
    assert status == 2 and words in said and said.count("\n") == 1, said
    assert not (tmp_path / "results").exists()


# ---- A library's model -----------------------------------------------------------------------


@pytest.fixture
def pictures(tmp_path):
    """Two classes of three images each, told apart by their colour."""
    for n, kind in enumerate(("cat", "dog")):
        folder = tmp_path / "val" / kind
        folder.mkdir(parents=True)
        for k in range(3):
            pixels = np.random.default_rng([n, k]).integers(0, 99, (40, 50, 3), np.uint8)
            Image.fromarray(pixels + np.uint8(120 * n)).save(folder / f"{k}.png")
    return f"folder:{tmp_path / 'val'}"


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(0)
    net = torchvision.models.squeezenet1_1(num_classes=2)
    path = tmp_path / "mine.pt"
    torch.save(
        {"epoch": 3, "state_dict": {f"module.{k}": v for k, v in net.state_dict().items()}}, path
    )
    return path


LIBRARY = {"model": "torchvision:squeezenet1_1", "size": 32, "alphas": (0, 1.0)}


def test_a_librarys_model_with_weights_and_a_folder_of_images(
    go, tmp_path, pictures, weights, quick
):
    status, said = go(None, data=pictures, weights=weights, **LIBRARY)
    assert status == 0, said
    assert "6 test examples; accuracy, chance 0.5" in said
    assert "the middle 32×32, mean 0.485 0.456 0.406" in said
    folder = tmp_path / "results" / "squeezenet1_1"
    summary = pd.read_csv(folder / "summary.csv")
    assert summary.regime.tolist() == ["mine"]
    net = torchvision.models.squeezenet1_1(num_classes=2).eval()
    torch.manual_seed(0)
    net = torchvision.models.squeezenet1_1(num_classes=2).eval()
    preset = torchvision.transforms._presets.ImageClassification(crop_size=32, resize_size=32)
    images = torchvision.datasets.ImageFolder(tmp_path / "val", preset)
    with torch.no_grad():
        right = [int(net(x[None]).argmax() == y) for x, y in images]
    assert summary.acc_0.item() == pytest.approx(sum(right) / 6)
    other = weights.with_name("second.pt")
    other.write_bytes(weights.read_bytes())
    assert go(None, data=pictures, weights=other, **LIBRARY)[0] == 0
    assert len(pd.read_csv(folder / "summary.csv")) == 2  # trainings are compared
    assert results.read(folder).rows.regime.cat.categories[0] == "mine"  # with the first


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"model": "torchvision:squeezenet"}, "is none of"),
        ({"model": "tochvision:resnet18"}, "'tochvision' is no library known here"),
        ({"model": "timm:resnet18"}, "timm:NAME needs a package: pip install timm"),
        ({"model": "torchvision:resnet18"}, "mine.pt is not of resnet18"),
        ({"data": "folder:nowhere"}, "--data: takes folder:PATH"),
        ({"data": "minst"}, "did you mean 'mnist'"),
        ({"data": "mnist"}, "mine.pt tells 2 classes apart, mnist has 10"),
        ({"data": ""}, "--data: takes folder:PATH or a dataset's name"),
        ({"size": 4}, "does not take images of 4×4"),
        ({"mean": (0.5, 0.5)}, "--mean: takes one number or three"),
        ({"mean": (127.0,)}, "--mean: is of pixels from 0 to 1, got 127"),
        ({"data": str(ROOT / "docs")}, f"for this folder, folder:{ROOT / 'docs'}"),
        ({"std": (0.0,)}, "--std: takes a finite number > 0"),
    ],
)
def test_what_does_not_fit_a_librarys_model(more, words, go, tmp_path, pictures, weights):
    if more.get("model") == "timm:resnet18" and "timm" in sys.modules:
        pytest.skip("timm is installed")
    status, said = go(None, **{**LIBRARY, "data": pictures, "weights": weights, **more})
    assert status == 2 and words in said and said.count("\n") == 1, said
    assert not (tmp_path / "results").exists()


def test_a_state_dict_keeps_what_says_the_version_of_its_modules(tmp_path):
    net = torchvision.models.mnasnet0_5(num_classes=2)
    for n, outer in enumerate((net, nn.DataParallel(net), nn.Sequential(net))):
        path = tmp_path / f"{n}.pt"
        torch.save(outer.state_dict(), path)
        state = read_state(path)
        if n < 2:
            torchvision.models.mnasnet0_5(num_classes=2).load_state_dict(state)
            assert state._metadata == net.state_dict()._metadata
        else:
            assert state._metadata == outer.state_dict()._metadata


class Bomb:
    def __reduce__(self):
        return exec, ("open('/tmp/no-such-place/x', 'w')",)


def test_weights_run_no_code(tmp_path):
    path = tmp_path / "bomb.pt"
    path.write_bytes(pickle.dumps({"a": Bomb()}))
    with pytest.raises(UsageError, match="takes a state dict"):
        read_state(path)
    torch.save({"a": Bomb()}, path)
    with pytest.raises(UsageError, match="it would run code"):
        read_state(path)


def test_options_of_own_models_need_one(go):
    status, said = go(None, model="", alphas=(), size=3, threads=0)
    assert status == 2 and "--size: is for --model" in said


def test_identities_are_plain_data_and_plans_are_read_back(go, tmp_path, quick):
    from store.plan_file import load_plan

    go(two())
    folder = tmp_path / "results" / "mine"
    plan = load_plan(folder)
    assert sorted(run.run_id for run in plan.runs) == sorted(read(folder))
    record = next(iter(read(folder).values()))
    assert json.loads(json.dumps(record["identity"])) == record["identity"]
    assert record["identity"]["weights"] == record["weights"]

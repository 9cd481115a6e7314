"""by_layer.py: noise in one tensor at a time, what it adds up to, and the files and the command."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import evaluate
import models
from config import Run
from noise import noisy_parameters, unit_noise
from probes.by_layer import COLUMNS, measure_layers
from reporting import by_layer
from reporting.by_layer import RESIDUAL, SUM, WHOLE, tabulate
from store import checkpoints
from store.checkpoints import content_digest

NAMES = ["a.weight", "b.weight", "c.weight"]
ALPHA, DRAWS, TOTAL = 0.7, 6, 50


class Layers(nn.Module):
    """Three noisy tensors of very different scale, and a clean one."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(5, 3), nn.Linear(2, 2), nn.Conv2d(1, 2, 2)
        for layer, std in ((self.a, 0.1), (self.b, 1.0), (self.c, 3.0)):
            nn.init.normal_(layer.weight, std=std)
        self.double()


@pytest.fixture
def model() -> Layers:
    torch.manual_seed(0)
    return Layers()


def separable(model) -> float:
    """A loss that is a sum over tensors, and is not quadratic."""
    with torch.no_grad():
        return sum((k * p**4 + p.sin()).sum().item() for k, p in enumerate(model.parameters(), 1))


def entangled(model) -> float:
    """The same and a product of two tensors: what is between them is what does not add up."""
    return separable(model) + (model.a.weight.sum() * model.b.weight.sum()).item() ** 2


def measured(model, loss) -> pd.DataFrame:
    rows = measure_layers(model, lambda m: (40, TOTAL, loss(m)), ALPHA, DRAWS, run_seed=3)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def table_of(model, loss) -> pd.DataFrame:
    elements = {n: p.numel() for n, p in noisy_parameters(model).items()}
    return tabulate(measured(model, loss), elements).set_index("parameter")


# ---- What is measured ------------------------------------------------------------------------


def test_each_measurement_has_the_noise_of_the_sweep_in_one_tensor_alone(model):
    clean = {n: p.detach().clone() for n, p in model.named_parameters()}
    seen = []

    def look(_) -> tuple[int, int, float]:
        seen.append({n: p.detach() - clean[n] for n, p in model.named_parameters()})
        return 7, TOTAL, 1.5

    rows = list(measure_layers(model, look, ALPHA, 2, run_seed=3, noise_seed=5))
    assert [row[0] for row in rows] == ["", *(2 * ["", *NAMES])]
    assert rows[0] == ("", 0.0, 0, 7, TOTAL, 1.5)
    assert {row[1] for row in rows[1:]} == {ALPHA}
    assert not any(change.any() for change in seen[0].values())
    for row, found in zip(rows[1:], seen[1:], strict=True):
        unit = unit_noise(noisy_parameters(model), 5, 3, row[2])
        for name, change in found.items():
            if name not in (NAMES if row[0] == "" else [row[0]]):
                assert not change.any()
                continue
            expected = ALPHA * clean[name].std(correction=0) * unit[name].double()
            torch.testing.assert_close(change, expected.to(change))


def test_the_model_is_put_back_bit_for_bit(model):
    before = content_digest(model.state_dict())
    measured(model, separable)
    assert content_digest(model.state_dict()) == before


# ---- What it adds up to ----------------------------------------------------------------------


def test_where_the_loss_is_a_sum_over_tensors_the_increases_add_up_in_every_draw(model):
    rows = measured(model, separable)
    start = rows.loss[0]
    for _, draw in rows[rows.alpha > 0].groupby("draw"):
        rise = draw.set_index("parameter").loss - start
        assert rise[NAMES].sum() == pytest.approx(rise[""], rel=1e-9)
    table = table_of(model, separable)
    assert table.loss[RESIDUAL] == pytest.approx(0, abs=1e-9 * abs(table.loss[WHOLE]))
    assert table.loss_half[RESIDUAL] < 1e-9 * table.loss_half[WHOLE]
    assert table.loss[SUM] == pytest.approx(table.loss[NAMES].sum()) == table.loss[WHOLE]


def test_where_it_is_not_the_residual_says_so_draw_by_draw(model):
    rows, table = measured(model, entangled), table_of(model, entangled)
    wide = rows[rows.alpha > 0].pivot(index="draw", columns="parameter", values="loss")
    wide = (wide - rows.loss[0]) / TOTAL
    residual = wide[NAMES].sum(axis=1) - wide[""]
    assert residual.abs().min() > 1e-6
    assert table.loss[RESIDUAL] == pytest.approx(residual.mean())
    # 2.5706 is the 97.5% point of t with 5 degrees of freedom
    assert table.loss_half[RESIDUAL] == pytest.approx(2.5706 * residual.std() / 6**0.5, rel=1e-4)
    assert table.loss[SUM] - table.loss[WHOLE] == pytest.approx(table.loss[RESIDUAL])


def test_the_table_names_every_tensor_with_its_size_and_drop(model):
    answers = iter([40, *([30, 38, 36, 39] * DRAWS)])
    rows = measure_layers(model, lambda _: (next(answers), TOTAL, 1.0), ALPHA, DRAWS, run_seed=3)
    elements = {n: p.numel() for n, p in noisy_parameters(model).items()}
    table = tabulate(pd.DataFrame(rows, columns=list(COLUMNS)), elements)
    assert list(table.parameter) == [*NAMES, WHOLE, SUM, RESIDUAL]
    assert list(table.elements[:4]) == [15, 4, 8, 27] and table.elements[4:].isna().all()
    assert list(table["drop"][:4]) == pytest.approx([0.04, 0.08, 0.02, 0.2])
    floor = 2.5706 / TOTAL / DRAWS**0.5  # equal counts are no proof that nothing varies
    assert list(table.drop_half[:4]) == pytest.approx([floor] * 4, rel=1e-4)
    assert table["drop"][4:].isna().all() and (table.draws == DRAWS).all()


def test_a_loss_that_is_not_finite_is_not_averaged_away(model):
    losses = iter([1.0, *([2.0] * 4), 2.0, None, *([2.0] * 18)])
    rows = measure_layers(model, lambda _: (40, TOTAL, next(losses)), ALPHA, DRAWS, run_seed=3)
    frame = pd.DataFrame(rows, columns=list(COLUMNS)).astype({"loss": float})
    table = tabulate(frame, dict.fromkeys(NAMES, 1)).set_index("parameter")
    assert table.loss.isna().to_dict() == {
        **{"a.weight": True, "b.weight": False, "c.weight": False},
        **{WHOLE: False, SUM: True, RESIDUAL: True},
    }


# ---- The files -------------------------------------------------------------------------------


def test_files_hold_what_is_printed(model, tmp_path):
    rows = measured(model, entangled)
    sizes = {n: p.numel() for n, p in noisy_parameters(model).items()}
    text = by_layer.report_layers("mlp-clean-seed3-x", sizes, rows.values.tolist(), tmp_path)
    made = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    base = "by_layer-mlp-clean-seed3-x"
    assert set(made) == {f"{base}.{kind}" for kind in ("csv", "png", "pdf")}
    assert made[f"{base}.png"].startswith(b"\x89PNG") and made[f"{base}.pdf"].startswith(b"%PDF")
    found = pd.read_csv(tmp_path / f"{base}.csv").set_index("parameter")
    expected = table_of(model, entangled)
    pd.testing.assert_series_equal(found.loss, expected.loss)
    assert list(found) == [
        "elements",
        "alpha_test",
        "draws",
        "loss",
        "loss_half",
        "drop",
        "drop_half",
    ]
    for name in (*NAMES, WHOLE, SUM, RESIDUAL):
        (line,) = [line for line in text.splitlines() if line.startswith(name)]
        assert f"{expected.loss[name]:+.4f} ± {expected.loss_half[name]:.4f}" in line
    assert "α = 0.7; mean over 6 draws" in text and "nan" not in text
    again = tmp_path / "again"
    by_layer.report_layers("mlp-clean-seed3-x", sizes, rows.values.tolist(), again)
    assert {path.name: path.read_bytes() for path in again.iterdir()} == made


def test_bars_are_the_table_with_the_totals_apart(model):
    table = table_of(model, entangled)
    figure = by_layer.draw_layers(table.reset_index(), "title")
    for axes, names, column, scale in zip(
        figure.axes,
        (NAMES, NAMES, [WHOLE, SUM], [WHOLE]),
        ("loss", "drop", "loss", "drop"),
        (1, 100, 1, 100),
        strict=True,
    ):
        widths = [bar.get_width() for bar in axes.patches]
        assert widths == pytest.approx(list(scale * table[column][names]))
        (bars,) = axes.containers[1:] or axes.containers
        ends = [segment[:, 0] for segment in bars.errorbar[2][0].get_segments()]
        halves = [(right - left) / 2 for left, right in ends]
        assert halves == pytest.approx(list(scale * table[f"{column}_half"][names]))
    left = figure.axes[::2]
    shown = [label.get_text() for axes in left for label in axes.get_yticklabels()]
    assert shown == [*NAMES, WHOLE, SUM]
    assert all(axes.yaxis_inverted() for axes in left)  # the first layer on top
    assert f"α = {ALPHA:g}, n = {DRAWS} draws" in figure.get_suptitle()


# ---- The command -----------------------------------------------------------------------------


@pytest.fixture
def checkpoint(tmp_path) -> Path:
    """An untrained MLP as a finished run."""
    run = Run("mlp", "clean", 0)
    torch.manual_seed(0)
    path = checkpoints.final_path(tmp_path / "ckpt", run)
    checkpoints.save(path, run, checkpoints.finished(models.build("mlp"), [0.1], {}))
    return path


def test_the_command_writes_a_table_and_a_chart(command, checkpoint, tmp_path, mnist):
    results = tmp_path / "results"
    words = ["--by-layer", "--draws", "2", "--alpha", "1", "--test-size", "100"]
    done = command("evaluate.py", *words, "--results-dir", results)
    assert done.returncode == 0, done.stderr
    assert len(list(results.iterdir())) == 3
    table = pd.read_csv(results / f"by_layer-{checkpoint.stem}.csv")
    weights = [f"net.{k}.weight" for k in (0, 2, 4)]
    assert list(table.parameter) == [*weights, WHOLE, SUM, RESIDUAL]
    assert (table.alpha_test == 1).all() and (table.draws == 2).all()
    assert all(name in done.stdout for name in table.parameter)
    assert np.isfinite(table.loss).all() and not math.isclose(table.loss[0], table.loss[1])


@pytest.mark.parametrize(
    ("named", "wrong"),
    [
        ("--alpha", {"alpha": 0.0}),
        ("--draws", {"draws": 0}),
        ("--test-size", {"test_size": -1}),
        ("--checkpoint", {"checkpoint": Path("nowhere.pt")}),
        ("--checkpoint", {"checkpoint": Path(__file__)}),
        ("--results-dir", {"results_dir": Path(__file__)}),
    ],
)
def test_wrong_input_is_said_in_one_line_that_names_the_option(capsys, named, wrong):
    with pytest.raises(SystemExit) as end:
        evaluate.main(by_layer=True, **wrong)
    out, err = capsys.readouterr()
    assert end.value.code == 2 and out == ""
    assert f": {named}: takes " in err and err.count("\n") == 1


def test_without_by_layer_one_checkpoint_is_measured_and_nothing_written(
    command, checkpoint, tmp_path, mnist
):
    other = checkpoint.with_name("kept_elsewhere.pt")
    checkpoint.rename(other)
    words = ["--checkpoint", other, "--draws", "1", "--test-size", "50"]
    done = command("evaluate.py", *words, "--results-dir", tmp_path / "results")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{checkpoint.stem}: acc@0 ") and done.stdout.count("\n") == 1
    assert not (tmp_path / "results").exists()

"""The table and the chart of noise in one parameter tensor at a time."""

from collections.abc import Iterable
from pathlib import Path

import matplotlib.style
import pandas as pd
from matplotlib.figure import Figure

from analysis.by_layer import by_layer
from probes.by_layer import COLUMNS
from reporting import plots
from reporting.columns import named
from reporting.text import NONE, Table, align, with_half
from store.files import write_whole

WHOLE, SUM, RESIDUAL = "all together", "sum of the tensors", "sum − all together"


def report_layers(name: str, sizes: dict[str, int], rows: Iterable[tuple], folder: Path) -> str:
    """Write the table of one model as `by_layer-<name>.csv` and its chart as PNG and PDF.

    Args:
        name: the run's.
        sizes: the number of elements of each noisy parameter, by name.
        rows: all that `measure_layers` yields.
        folder: where the files go.

    Returns:
        The table as text.

    Raises:
        OSError: if a file cannot be written.
    """
    frame = pd.DataFrame(rows, columns=list(COLUMNS)).astype({"loss": float})
    table = tabulate(frame, sizes)
    base = folder / f"by_layer-{name}"
    csv = named(table).to_csv(index=False, lineterminator="\n").encode()
    write_whole(base.with_name(f"{base.name}.csv"), csv)
    figure = draw_layers(table, f"{name}: noise in one tensor at a time")
    for kind in ("png", "pdf"):
        write_whole(base.with_name(f"{base.name}.{kind}"), plots.encode(figure, kind))
    text = align(as_text(table, name))
    return f"{text}\nwritten: {base}.csv, .png, .pdf\n"


def tabulate(rows: pd.DataFrame, elements: dict[str, int]) -> pd.DataFrame:
    """Return the table of one model at one α.

    Args:
        rows: as `measure_layers` yields them.
        elements: the size of each tensor, in the order to show them.

    Returns:
        A row per tensor, then `WHOLE`, `SUM` and `RESIDUAL` (these two of the loss alone):
        parameter, elements, alpha, draws, loss (mean increase over draws, nats), loss_half, drop
        (of accuracy, a fraction), drop_half. Intervals are 95% t-intervals over draws; that of the
        residual is over its values in each draw.
    """
    layers, sums = by_layer(rows)
    layers = layers.set_index("parameter").loc[[*elements, ""]].rename(index={"": WHOLE})
    (total,) = sums.to_dict("records")
    more = {
        SUM: {"loss": total["layers"], "loss_half": total["layers_half"]},
        RESIDUAL: {"loss": total["residual"], "loss_half": total["residual_half"]},
    }
    more = pd.DataFrame(more).T.assign(alpha=total["alpha"], draws=total["draws"])
    table = pd.concat([layers, more]).rename_axis("parameter").reset_index()
    table["elements"] = table.parameter.map({**elements, WHOLE: sum(elements.values())})
    columns = ["parameter", "elements", "alpha", "draws", "loss", "loss_half", "drop", "drop_half"]
    return table[columns].astype({"elements": "Int64", "draws": int})


def draw_layers(table: pd.DataFrame, title: str) -> Figure:
    """Draw `tabulate`'s table: a bar per tensor, and below, at a scale of their own, bars of all
    together and of the sum. Left the rise of the loss, right the drop in accuracy."""
    totals = table.parameter.isin([WHOLE, SUM])
    parts = (table[~totals & (table.parameter != RESIDUAL)], table[totals])
    units = (("loss", 1, "rise of the loss (nats)"), ("drop", 100, "drop in accuracy (points)"))
    looks = ({"color": plots.HUES[5]}, {"color": "#eeeeee", "hatch": "///"})
    width = 5.5 + 0.07 * table.parameter.str.len().max()
    with matplotlib.style.context(plots.STYLE):
        figure = Figure(figsize=(width, 1.9 + 0.2 * len(parts[0])))
        figure.set_layout_engine("constrained")
        alpha, draws = table.alpha.max(), table.draws.min()
        words = f"α = {alpha:g}, n = {draws} draws, 95% intervals over draws"
        figure.suptitle(f"{title}\n{words}", size=10)
        heights = [len(part) + 0.5 for part in parts]
        grid = figure.subplots(2, 2, sharey="row", height_ratios=heights)
        for part, look, row in zip(parts, looks, grid, strict=True):
            for axes, (value, scale, label) in zip(row, units, strict=True):
                known = part[part[value].notna()]
                axes.barh(
                    known.parameter,
                    scale * known[value],
                    xerr=scale * known[f"{value}_half"].fillna(0),
                    error_kw={"capsize": 2, "linewidth": 1},
                    edgecolor="black",
                    linewidth=0.6,
                    **look,
                )
                axes.axvline(0, color="black", lw=0.8)
                axes.grid(axis="y", visible=False)
                axes.set_xlabel(label if part is parts[1] else "")
            row[0].set_ylim(len(part) - 0.4, -0.6)
    return figure


def as_text(table: pd.DataFrame, name: str) -> Table:
    """Return the table as cells for people: accuracies in points."""
    body = []
    for row in table.to_dict("records"):
        size = NONE if pd.isna(row["elements"]) else f"{row['elements']:,}"
        loss = {"mean": row["loss"], "half": row["loss_half"]}
        drop = {"mean": row["drop"], "half": row["drop_half"]}
        body.append(
            [
                row["parameter"],
                size,
                with_half(loss, "mean", form="+z.4f"),
                with_half(drop, "mean", 100, "+z.2f"),
            ]
        )
    caption = (
        f"{name}: noise in one tensor at a time, α = {table.alpha.max():g}; mean over "
        f"{table.draws.min()} draws ± half-width of the 95% t-interval over draws"
    )
    return Table(caption, ["Parameter", "Elements", "Loss (nats)", "Drop (points)"], body)

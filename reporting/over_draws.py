"""Very models, each by itself: intervals over draws, as tables, sentences and a chart. No torch."""

import pandas as pd
from matplotlib.axes import Axes

from analysis import over_draws
from reporting.plots import looks, place, set_accuracy_axis, set_alpha_axis
from reporting.results import Results
from reporting.section import Chart, Section
from reporting.text import Table, number, with_half
from store.own import OwnRun

INTRO = (
    "Intervals in this section are 95% t-intervals over noise draws: they hold for these very "
    "models under other noise of the same strength, and say nothing of another training. "
    "Differences are taken draw by draw, under the same unit noise, each interval by itself."
)


def section(results: Results) -> Section:
    """Return what is known of each of somebody's own models; empty for the experiment's."""
    if results.plan.kind is not OwnRun or results.rows.empty:
        return Section("over_draws")
    means, effects = over_draws.accuracy(results.rows), over_draws.effects(results.rows)
    breaks = over_draws.breaks(results.rows, results.chance)
    names = results.measured
    title = "Accuracy of each model, with 95% intervals over draws"
    return Section(
        "over_draws",
        title="Over draws",
        intro=INTRO,
        brief=INTRO,
        sentences={n: say_breaks(breaks[breaks.architecture == n]) for n in names},
        tables=[models_table(means, effects, name) for name in names],
        charts={"over_draws": Chart(title, draw_models, (results.rows, means), names)},
        csv={"over_draws.csv": means},
    )


def say_breaks(breaks: pd.DataFrame) -> list[str]:
    """Return where each model breaks, in a sentence."""
    return [say_break(row) for row in breaks.itertuples()]


def say_break(row) -> str:
    """Return where a model breaks: a row of `over_draws.breaks`."""
    who = f"{row.regime}, seed {row.seed}: {row.start:.4f} without noise; halfway to chance"
    draws = f"{row.draws} draw" + ("s" if row.draws > 1 else "")
    if pd.isna(row.last):
        return (
            f"{row.regime}, seed {row.seed}: {row.start:.4f} without noise; no α > 0 is measured."
        )
    if pd.isna(row.mean):
        return f"{who} is beyond α = {row.last:g} ({draws})."
    if not pd.isna(row.low):
        return f"{who} at α = {row.mean:.3g} [{row.low:.3g}, {row.high:.3g}] over {draws}."
    more = f"; {row.beyond} of them stand more than {row.last:g}" if row.beyond else ""
    return f"{who} at α = {row.mean:.3g} (mean of {draws}{more})."


def models_table(means: pd.DataFrame, effects: pd.DataFrame, architecture: str) -> Table:
    """Return accuracy of each model by strength, and its difference from the baseline's."""
    keys = ["regime", "seed", "alpha"]
    mine = means[means.architecture == architecture]
    beside = effects[effects.architecture == architecture].set_index(keys)
    body = []
    for row in mine.to_dict("records"):
        key = tuple(row[k] for k in keys)
        effect = beside.loc[key].to_dict() if key in beside.index else {}
        drop = with_half(effect, "mean", 100, "+.2f")
        cells = [row["regime"], str(row["seed"]), f"{row['alpha']:g}", with_half(row, "mean")]
        body.append([*cells, drop, number(row["draws"], 0)])
    baseline = over_draws.baseline_of(means)
    caption = f"{architecture}: each model, mean ± half-width of the 95% t-interval over draws"
    header = ["Regime", "Seed", "α", "Accuracy", f"Against {baseline} (points)", "n draws"]
    return Table(caption, header, body)


def draw_models(axes: Axes, rows: pd.DataFrame, means: pd.DataFrame) -> None:
    """Draw each model's accuracy against α with its interval over draws."""
    origin = set_alpha_axis(axes, rows.alpha)
    for regime, look in looks(rows.regime).items():
        for seed, mine in means[means.regime == regime].groupby("seed"):
            label = f"{regime}, seed {seed} (95% over {mine.draws.max()} draws)"
            x = place(mine.alpha, origin)
            axes.plot(x, mine["mean"], lw=1.5, label=label, **look)
            axes.fill_between(x, mine.low, mine.high, color=look["color"], alpha=0.15, lw=0)
    set_accuracy_axis(axes, rows)
    axes.legend(loc="lower left")

"""Very models, each by itself: intervals over draws, as tables, sentences and a chart. No torch."""

import pandas as pd
from matplotlib.axes import Axes

import noises
from analysis import over_draws
from machine.checks import number_of
from reporting.plots import looks, place, set_accuracy_axis, set_alpha_axis
from reporting.results import Results
from reporting.section import Chart, Section
from reporting.text import Table, number, with_half
from store.own import OwnRun

INTRO = (
    "Intervals in this section are 95% t-intervals over noise draws: they hold for these very "
    "models under other noise of the same strength, and say nothing of another training. "
    "Differences are taken draw by draw, under the same unit noise, each interval by itself. A "
    "model's break is the geometric mean of those of its draws."
)


def section(results: Results) -> Section:
    """Return what is known of each of somebody's own models; empty for the experiment's."""
    if results.plan.kind is not OwnRun or results.rows.empty:
        return Section("over_draws")
    means, effects = over_draws.accuracy(results.rows), over_draws.effects(results.rows)
    names = results.measured
    title = "Accuracy of each model, with 95% intervals over draws"
    return Section(
        "over_draws",
        title="Over draws",
        intro=INTRO,
        brief=INTRO,
        sentences={name: say_models(results) for name in names},
        tables=[*(models_table(means, effects, name) for name in names), *other_noise(results)],
        charts={"over_draws": Chart(title, draw_models, (results.rows, means), names)},
        csv={"over_draws.csv": means},
    )


def say_models(results: Results) -> list[str]:
    """Return where each model breaks, in a sentence; and where a regime has one model beside the
    baseline's, how much more noise this one stands."""
    rows, baseline = results.rows, over_draws.baseline_of(results.rows)
    said = [say_break(row) for row in over_draws.breaks(rows, results.chance).itertuples()]
    runs = rows[["regime", "seed"]].drop_duplicates()
    paired = runs[runs.seed.isin(runs[runs.regime == baseline].seed)].regime.value_counts()
    more = over_draws.tolerances(rows, results.chance)
    return said + [say_more(row, baseline) for row in more.itertuples() if paired[row.regime] == 1]


def say_more(row, baseline: str) -> str:
    """Return how much more noise a model stands than another: a row of `over_draws.tolerances`."""
    interval = "" if pd.isna(row.low) else f" [{row.low:.2f}, {row.high:.2f}]"
    return (
        f"{row.regime} against {baseline}, seed {row.seed}: stands × {row.mean:.2f}{interval} as "
        f"much noise until halfway to chance, over {number_of(row.draws, 'paired draw')} of these "
        "very models."
    )


def say_break(row) -> str:
    """Return where a model breaks: a row of `over_draws.breaks`."""
    who = f"{row.regime}, seed {row.seed}: {row.start:.4f} without noise"
    if row.start <= row.chance:
        return f"{who} is not above chance ({row.chance:.4g}): there is no break to find."
    if pd.isna(row.last):
        return f"{who}; no α > 0 is measured."
    who, draws = f"{who}; halfway to chance", number_of(row.draws, "draw")
    if pd.isna(row.mean):
        return f"{who} is beyond α = {row.last:g} ({draws})."
    if not pd.isna(row.low):
        return f"{who} at α = {row.mean:.3g} [{row.low:.3g}, {row.high:.3g}] over {draws}."
    stand = "stands" if row.beyond == 1 else "stand"
    more = f"; {row.beyond} of them {stand} more than {row.last:g}" if row.beyond else ""
    return f"{who} at α = {row.mean:.3g} (mean of {draws}{more})."


def other_noise(results: Results) -> list[Table]:
    """Return the same tables of other noise than the Gaussian."""
    return [
        models_table(over_draws.accuracy(rows), over_draws.effects(rows), name, family)
        for family, rows in results.families.items()
        for name in results.measured
        if (rows.architecture == name).any()
    ]


def models_table(
    means: pd.DataFrame, effects: pd.DataFrame, architecture: str, family: str = "gaussian"
) -> Table:
    """Return accuracy of each model by strength, and its difference from the baseline's."""
    usual, show = family == "gaussian", noises.find(family).say
    keys = ["regime", "seed", "alpha"]
    mine = means[means.architecture == architecture]
    beside = effects[effects.architecture == architecture].set_index(keys)
    body = []
    for row in mine.to_dict("records"):
        key = tuple(row[k] for k in keys)
        effect = beside.loc[key].to_dict() if key in beside.index else {}
        drop = with_half(effect, "mean", 100, "+.2f")
        cells = [row["regime"], str(row["seed"]), show(row["alpha"]), with_half(row, "mean")]
        body.append([*cells, drop, number(row["draws"], 0)])
    baseline = over_draws.baseline_of(means)
    where = architecture if usual else f"{family} on {architecture}"
    caption = f"{where}: each model, mean ± half-width of the 95% t-interval over draws"
    header = ["Regime", "Seed", "α" if usual else "Strength", "Accuracy"]
    return Table(caption, [*header, f"Against {baseline} (points)", "n draws"], body)


def draw_models(axes: Axes, rows: pd.DataFrame, means: pd.DataFrame) -> None:
    """Draw each model's accuracy against α with its interval over draws."""
    origin = set_alpha_axis(axes, rows.alpha)
    for regime, look in looks(rows.regime).items():
        models = means[means.regime == regime]
        seeds = " ".join(map(str, models.seed.unique()))
        label = f"{regime}, seed {seeds} (95% over {models.draws.max()} draws)"
        for _, mine in models.groupby("seed"):
            x = place(mine.alpha, origin)
            axes.plot(x, mine["mean"], lw=1.5, label=label, **look)
            axes.fill_between(x, mine.low, mine.high, color=look["color"], alpha=0.15, lw=0)
            label = "_"  # the models of a regime look alike
    set_accuracy_axis(axes, rows)
    axes.legend(loc="lower left")

"""How much of the fall stale BatchNorm statistics are: table, chart, batchnorm.csv. No torch.

A fall is accuracy without noise minus accuracy at a strength. The share of it that stale statistics
are is 1 − (fall with statistics taken anew under the noise) / (fall with frozen ones).
"""

import pandas as pd
from matplotlib.axes import Axes

import noises
from analysis.intervals import RUN, draw_means, over_seeds
from reporting.accuracy import draw_line
from reporting.plots import looks, set_accuracy_axis, set_alpha_axis
from reporting.results import Results
from reporting.section import Chart, Section
from reporting.text import Table, find, number, span, with_half
from store.own import OwnRun

LEAST_FALL = 0.01
"""A share of less than a point is a share of nothing."""
INTRO = (
    "Noise on the weights moves what BatchNorm layers see. Frozen: the running statistics of "
    "training, as everywhere else in this report. Re-estimated: taken anew under the very noise, "
    "on {images}, before measuring. A fall is accuracy without noise minus accuracy "
    "under it, under the same policy; the share that stale statistics are is 1 − fall re-estimated "
    "/ fall frozen, where the latter is a point or more in every seed. Both are over the same "
    "draws, those that were measured anew."
)


def section(results: Results) -> Section:
    """Return both policies beside each other; empty where no model has BatchNorm."""
    tables: list[Table] = []
    charts: dict[str, Chart] = {}
    frames: list[pd.DataFrame] = []
    for family, anew in results.reestimated.items():
        frozen = results.rows if family == "gaussian" else results.families[family]
        both = compare(frozen, anew)
        names = [n for n in results.architectures if (both.architecture == n).any()]
        tables += [policy_table(both, name, family) for name in names]
        title = f"BatchNorm statistics, frozen and re-estimated, under {family}"
        chart = f"batchnorm-{family}" if family != "gaussian" else "batchnorm"
        charts[chart] = Chart(title, draw_policies, (anew, draw_means(frozen), both), names)
        frames.append(both.assign(noise=family))
    own = results.plan.kind is OwnRun
    said = INTRO.format(images="the batches of calibration()" if own else "1,024 training images")
    return Section(
        "batchnorm",
        title="BatchNorm apart" if tables else "",
        intro=said if tables else "",
        brief=said if tables else "",
        tables=tables,
        charts=charts,
        csv={"batchnorm.csv": as_csv(pd.concat(frames))} if frames else {},
    )


def compare(frozen: pd.DataFrame, anew: pd.DataFrame) -> pd.DataFrame:
    """Return a row per run with BatchNorm and strength that was measured under either policy.

    Columns: `RUN`, alpha, frozen and reestimated (mean accuracies over the same draws, fractions;
    NaN where not measured: each policy has its own break), fall (of frozen from its accuracy at 0)
    and share of it that stale statistics are (NaN where it is below `LEAST_FALL`).
    """
    key = [*RUN, "alpha"]
    frozen = frozen.merge(anew[RUN].drop_duplicates(), on=RUN)
    # of the draws that were measured anew; where none was, of all
    index, both = (rows.set_index([*key, "draw"]).index for rows in (frozen, anew))
    frozen = frozen[index.isin(both) | ~index.droplevel("draw").isin(both.droplevel("draw"))]
    means = [draw_means(rows).set_index(key).accuracy for rows in (frozen, anew)]
    table = pd.concat(means, axis=1, keys=["frozen", "reestimated"]).sort_index().reset_index()
    start = table[table.alpha == 0][[*RUN, "frozen", "reestimated"]]
    table = table.merge(start, on=RUN, how="left", suffixes=("", "_start"))
    table["fall"] = table.frozen_start - table.frozen
    anew_fall = table.reestimated_start - table.reestimated
    table["share"] = (1 - anew_fall / table.fall).where(table.fall >= LEAST_FALL)
    return table[[*RUN, "alpha", "frozen", "reestimated", "fall", "share"]]


def policy_table(both: pd.DataFrame, architecture: str, family: str) -> Table:
    """Return accuracy under both policies, and the share, by regime and strength."""
    mine = both[both.architecture == architecture]
    means = {n: over_seeds(mine, n) for n in ("frozen", "reestimated", "share")}
    show = noises.find(family).say
    body = []
    for key in means["frozen"].index:
        old, anew, share = (find(means[n], key) for n in means)
        seeds = span(*sorted((old["seeds"], anew["seeds"])))
        policies = [with_half(found, "mean") for found in (old, anew)]
        # of some seeds alone it would be a mean of others
        part = number(share["mean"], 2) if share["seeds"] == old["seeds"] else "–"
        body.append([key[1], show(key[2]), *policies, part, seeds])
    header = ["Regime", "α" if family == "gaussian" else "Strength"]
    header += ["Frozen", "Re-estimated", "Share of the fall", "n seeds"]
    caption = (
        f"{architecture} under {family}: mean accuracy over seeds ± half-width of the 95% "
        "t-interval, each by itself"
    )
    return Table(caption, header, body)


def draw_policies(axes: Axes, anew: pd.DataFrame, frozen: pd.DataFrame, both: pd.DataFrame) -> None:
    """Draw the mean accuracy of each regime under both policies: frozen faint, re-estimated bold.

    All frames are of one architecture: the measurements with statistics taken anew, the draw means
    of the frozen ones, and `compare` of the two.
    """
    origin = set_alpha_axis(axes, both.alpha)
    for regime, look in looks(anew.regime).items():
        mine = both[both.regime == regime]
        if mine.empty:
            continue
        seeds = mine.seed.nunique()
        looks_of = {
            "frozen": ({**look, "mfc": "white"}, 1, f"{regime}, frozen", 0.6),
            "reestimated": (look, 2, f"{regime}, re-estimated", 1.0),
        }
        for policy, style in looks_of.items():
            means = mine.groupby("alpha")[policy].agg(["mean", "count"])
            draw_line(axes, means["mean"][means["count"] == seeds], origin, *style)
    set_accuracy_axis(axes, anew)
    axes.legend(loc="lower left")


def as_csv(table: pd.DataFrame) -> pd.DataFrame:
    """Return the columns of batchnorm.csv: accuracies and the share as fractions."""
    return table[["noise", *RUN, "alpha", "frozen", "reestimated", "fall", "share"]]

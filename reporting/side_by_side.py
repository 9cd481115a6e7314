"""Which method of training buys robustness, and at what price: many regimes side by side. No torch.

Here where more than two regimes were measured; with two, `endpoints` says it all.
"""

import functools
from collections.abc import Iterable

import numpy as np
import pandas as pd

from analysis.endpoints import COST, TOLERANCE, against_both
from analysis.intervals import baseline_of
from analysis.ranking import REPEATS, ranking
from analysis.shape import find_flags, flags_of_endpoints
from config import Recipe, say_parameters
from reporting.endpoints import say_cost, say_tolerance
from reporting.frontier import CAPTION, draw_front
from reporting.results import Results
from reporting.section import Chart, Section
from reporting.text import NONE, Table, number
from store.records import Record

ENDS = (COST, TOLERANCE)
INTRO = (
    "Cost is accuracy trained {baseline} minus trained by the method, both without noise; "
    "tolerance is how many times as much noise the model stands until halfway to chance. "
    "{together}The front is what no other method dominates: none costs no more and stands no "
    "less, with one of the two better. The ranking is over all resamples of the seeds, whole, "
    "n − 1 of n each time ({repeats:,} of them where there are more): first is the share of them "
    "in which a method has the largest tolerance, and 95% of its ranks lie between those given. It "
    "says how far the order is that of these seeds, each by itself, and few agree by chance: of "
    "two equal methods one stays ahead in 97.5% of resamples in a quarter of experiments of three "
    "seeds, a ninth of six, 8% of ten. Conclude from the words and from behind, not from ranks. "
    "{training}"
)
"""What the section says before its tables."""
TOGETHER = (
    "The 95% intervals against {against} hold together over all methods of an architecture (t, "
    "Bonferroni over both numbers of each). "
)
EQUAL_BUDGET = (
    "Equal budget: every method was given the images passed forward and backward of {budget} "
    "{epochs} of plain training, and its schedule the length that they buy; what the table of "
    "passes has beyond is of whole batches, or of a last pass for BatchNorm's statistics."
)
EQUAL_EPOCHS = (
    "Equal epochs: every method passed through the training images as often, and paid for it what "
    "the table of passes says (--budget N would give all the same)."
)
COUNTED = (
    "Passes of training as counted, forward and backward together, in epochs of plain training "
    "(mean over seeds); teacher: those of training it, not among them; ‖ε‖/‖w‖: the "
    "realised size of the method's perturbations of the weights, mean over epochs and seeds, 0 "
    "where it never was active, – where it has none"
)


def section(results: Results) -> Section:
    """Return the comparison of the methods; empty with two regimes or fewer."""
    rows = results.rows
    if rows.regime.nunique() < 3 or results.effects.empty:
        return Section("methods")
    by_noise = {"gaussian": rows, **results.families}
    ends = {"gaussian": flagged(against_both(rows, results.effects), rows, results.flags)}
    for noise, table in results.families.items():
        ends[noise] = flagged(against_both(table), table, find_flags(table))
    ranks = {noise: ranking(table) for noise, table in by_noise.items()}
    names = [name for name in results.measured if (ends["gaussian"].architecture == name).any()]
    tables = []
    for name in names:
        tables.append(endpoints_table(ends["gaussian"], name))
        tables.append(ranking_table(ranks, name))
    tables.append(training_table(results))
    csv = {"methods.csv": with_noise(ends), "ranking.csv": with_noise(ranks)}
    trained = training_rows(results)
    csv |= {} if trained.empty else {"trainings.csv": trained}
    return Section(
        "methods",
        title="Methods side by side",
        intro=say_intro(results, ends["gaussian"]),
        brief=say_intro(results, ends["gaussian"]),
        sentences={name: say_front(ranks, by_noise, name) for name in names},
        tables=[table for table in tables if table.body],
        charts={
            file_of(noise): chart(noise, ends[noise], ranks[noise], names)
            for noise in ends
            if is_known(ends[noise])
        },
        csv=csv,
    )


def flagged(ends: pd.DataFrame, rows: pd.DataFrame, flags: pd.DataFrame) -> pd.DataFrame:
    """Return endpoints with a last column flags: what is flagged of the data that they rest on."""
    if ends.empty:
        return ends.assign(flags="")
    parts = ends.groupby("baseline", sort=False, observed=True)
    said = [flags_of_endpoints(part, rows, flags, name) for name, part in parts]
    return ends.assign(flags=pd.concat(said))


def training_rows(results: Results) -> pd.DataFrame:
    """Return what the training of each method came to, as a file has it."""
    found = trainings(results.records)
    found = found if found.empty else found.reset_index()
    return found.rename(columns={"cost": "passes", "n": "seeds", "size": "moved"})


def fell(ranks: pd.DataFrame) -> bool:
    """Return whether any α₅₀ is known: without one, an order of bounds says nothing."""
    return bool((ranks.censored < ranks.seeds).any())


def is_known(ends: pd.DataFrame) -> bool:
    """Return whether anything is known of any tolerance, if only a bound."""
    ratios = ends[ends.endpoint == TOLERANCE]
    known = (ratios.value_low > 0) | np.isfinite(ratios.value_high.astype(float))  # none: objects
    return bool(known.any())


def file_of(noise: str) -> str:
    """Return the name of a picture's files."""
    return "methods" if noise == "gaussian" else f"methods-{noise}"


def chart(noise: str, ends: pd.DataFrame, ranks: pd.DataFrame, names: list[str]) -> Chart:
    """Return the picture of cost against tolerance under one noise."""
    under = "" if noise == "gaussian" else f" under {noise}"
    baseline = ends.baseline.iloc[0] if len(ends) else baseline_of(ends)
    return Chart(
        f"Cost and tolerance of each method{under}",
        functools.partial(draw_front, baseline),
        (ends[ends.baseline == baseline], ranks),
        names,
        describe=describe_seeds,
        caption=f"cost and tolerance{under}: {CAPTION}",
    )


def describe_seeds(ends: pd.DataFrame) -> str:
    """Return ", n = 6 seeds"."""
    return f", n = {int(ends.seeds.max())} seeds" if len(ends) and ends.seeds.max() else ""


def with_noise(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Return the tables of every noise under each other, with a first column noise."""
    parts = [table.assign(noise=noise) for noise, table in tables.items() if len(table)]
    if not parts:
        return pd.DataFrame(columns=["noise"])
    whole = pd.concat(parts, ignore_index=True)
    return whole[["noise", *(column for column in whole if column != "noise")]]


def say_intro(results: Results, ends: pd.DataFrame) -> str:
    """Return what the numbers are and how the methods were made equal."""
    together = "".join(TOGETHER.format(against=name) for name in ends.baseline.unique())
    baseline, recipe = baseline_of(results.rows), results.plan.recipe
    training = ""
    if isinstance(recipe, Recipe):
        words = {"budget": recipe.budget, "epochs": "epoch" if recipe.budget == 1 else "epochs"}
        training = EQUAL_BUDGET.format(**words) if recipe.budget else EQUAL_EPOCHS
    said = INTRO.format(baseline=baseline, together=together, repeats=REPEATS, training=training)
    return said.strip()


def endpoints_table(ends: pd.DataFrame, architecture: str) -> Table:
    """Return cost and tolerance of each method against every baseline, with intervals and words."""
    mine = ends[ends.architecture == architecture]
    against = list(mine.baseline.unique())
    header = ["Method"]
    for name in against:
        header += [f"Cost against {name}", f"Tolerance against {name}"]
    body = []
    for regime, part in mine.groupby("regime", observed=True):
        cells = [regime]
        for name in against:
            found = {row["endpoint"]: row for row in part[part.baseline == name].to_dict("records")}
            cells += [say_bare(found[end]) if end in found else NONE for end in ENDS]
        body.append(cells)
    caption = (
        f"{architecture}: cost in points and tolerance (×) of each method, paired by seed; the "
        "intervals against one baseline hold together"
    )
    return Table(caption, header, body)


def say_bare(found: dict) -> str:
    """Return an endpoint without its name."""
    say = say_cost if found["endpoint"] == COST else say_tolerance
    return say(found).removeprefix(f"{found['endpoint']} ").replace(" points", "")


def ranking_table(ranks: dict[str, pd.DataFrame], architecture: str) -> Table:
    """Return how often each method is first, under every noise, and on the front."""
    mine = {n: t[t.architecture == architecture].set_index("regime") for n, t in ranks.items()}
    mine = {noise: table for noise, table in mine.items() if fell(table)}
    if not mine:
        return Table("", [], [])
    order = next(iter(mine.values())).sort_values(["first", "tolerance"], ascending=False).index
    body = [
        [name, *(say_place(t.loc[name]) if name in t.index else NONE for t in mine.values())]
        for name in order
    ]
    seeds = " and ".join(str(n) for n in sorted({int(t.seeds.max()) for t in mine.values()}))
    caption = (
        f"{architecture}: how often first by tolerance; how often on the front of cost and "
        f"tolerance; ranks that 95% of resamples of {seeds} seeds lie between; behind: stands "
        "less than the first, paired by seed (t, Holm); with 95% the best is not called so"
    )
    return Table(caption, ["Method", *(f"Under {noise}" for noise in mine)], body)


def say_place(row: pd.Series) -> str:
    """Return "first 62%, front 98%, rank 1–3", and ", behind" where that is told."""
    low, high = int(row["rank_low"]), int(row["rank_high"])
    ranks = f"{low}" if low == high else f"{low}–{high}"
    bound = ", α₅₀ a bound" if row["censored"] else ""
    told = ", behind" if row["behind"] else ""
    return f"first {row['first']:.0%}, front {row['front']:.0%}, rank {ranks}{told}{bound}"


def say_front(
    ranks: dict[str, pd.DataFrame], by_noise: dict[str, pd.DataFrame], architecture: str
) -> list[str]:
    """Return what is on the front, what is first and what is not ranked, for each noise."""
    said = []
    for noise, table in ranks.items():
        mine = table[table.architecture == architecture]
        if mine.empty:
            continue
        rows = by_noise[noise]
        measured = rows[rows.architecture == architecture].regime.unique()
        if not fell(mine):
            said.append(f"Under {noisy_word(noise)} none was seen halfway to chance: no ranking.")
            continue
        front = mine[mine.on_front].sort_values("cost").regime
        leaders = mine[mine["first"] >= 0.05].sort_values("first", ascending=False)
        shares = ", ".join(f"{r.regime} in {r.first:.0%}" for r in leaders.itertuples())
        shares = shares or "none in 5%"
        where = f"Under {noisy_word(noise)}, on the front from least cost to most tolerance"
        said.append(f"{where}: {', '.join(front)}. First by tolerance: {shares} of resamples.")
        if left_out := [name for name in measured if name not in set(mine.regime)]:
            said.append(f"Not ranked, since it lacks seeds of the others: {', '.join(left_out)}.")
    return said


def noisy_word(noise: str) -> str:
    """Return the name of a noise in a sentence."""
    return "Gaussian noise" if noise == "gaussian" else noise


def trainings(records: Iterable[Record]) -> pd.DataFrame:
    """Return what training cost and how far it moved the weights, by architecture and regime: cost,
    teacher and size (means over seeds), n, parameters; empty where no record tells."""
    facts = [
        {
            "architecture": record["identity"]["architecture"],
            "regime": record["identity"]["regime"],
            "cost": record["realised"]["cost"],
            "teacher": record["realised"].get("teacher"),
            "size": mean_size(record["realised"].get("sizes", [])),
            "parameters": parameters_of(record["identity"]),
        }
        for record in records
        if "realised" in record
    ]
    if not facts:
        return pd.DataFrame()
    table = pd.DataFrame(facts).astype({"teacher": float, "size": float})
    return table.groupby(["architecture", "regime"], sort=False).agg(
        cost=("cost", "mean"),
        teacher=("teacher", "mean"),
        size=("size", "mean"),
        n=("cost", "size"),
        parameters=("parameters", "first"),
    )


def training_table(results: Results) -> Table:
    """Return what the training of each method cost and how far it moved the weights."""
    means = trainings(results.records)
    if means.empty:
        return Table("", [], [])
    body = [
        [
            *(*name, row.parameters or NONE, number(row.cost, 2), number(row.teacher, 2)),
            *(say_size(row["size"]), f"{row.n:.0f}"),
        ]
        for name, row in means.iterrows()
    ]
    header = ["Architecture", "Method", "Parameters", "Passes", "Teacher", "‖ε‖/‖w‖", "Seeds"]
    return Table(COUNTED, header, body)


def parameters_of(identity: dict) -> str:
    """Return the parameters of a run's training method, the strength of its noise first."""
    method, alpha = identity.get("method", {}), identity["recipe"]["alpha_train"]
    strength = {"α": alpha} if alpha and "strength" not in method else {}
    return say_parameters(strength | method)


def mean_size(sizes: list[float | None]) -> float:
    """Return the mean over the epochs that have one; NaN where none has."""
    known = [size for size in sizes if size is not None]
    return float(np.mean(known)) if known else float("nan")


def say_size(size: float) -> str:
    """Return a size with three digits; a dash for none, and in words one that is nothing."""
    if size == 0:
        return "0 (never active)"
    return NONE if np.isnan(size) else f"{size:.3g}"

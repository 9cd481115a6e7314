"""A results folder → its plan, its records and their rows as frames. No torch."""

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from analysis import curvature, endpoints, intervals, shape
from analysis.intervals import RUN
from analysis.needs import check_families, needs
from analysis.stages import find_open
from config import REESTIMATED, REGIMES, Run, Sweep
from noises import FAMILIES
from reporting.answered import summarise
from store import records
from store.own import OwnRun
from store.plan import Plan
from store.plan_file import load_plan
from store.records import Record

NUMBERS = {"seed": int, "alpha": float, "draw": int, "sign": int, "correct": int, "total": int}


@dataclass(frozen=True)
class Results:
    """What a results folder holds of its plan."""

    plan: Plan
    records: list[Record]
    """Records of the plan's recipe, in table order: architecture, regime, seed."""
    rows: pd.DataFrame
    """A row per measurement on the test images: `intervals.RUN`, `records.COLUMNS`, size (the
    realised RMS(w' − w)/std(W)) and chance, the accuracy of guessing; looks (`analysis.looks`)
    where there was more than one. Architecture and regime are categories in table order, so that
    every table and figure follows it."""
    training: pd.DataFrame
    """The same for the training images on which pairs ±ε are measured; mostly empty."""
    forms: pd.DataFrame
    """A row per run and draw along which its Hessian is known: `intervals.RUN`, draw, form, as from
    `curvature.totals`."""
    families: dict[str, pd.DataFrame]
    """The same rows as `rows`, of each further noise family that was measured: its strengths stand
    in the column alpha."""
    reestimated: dict[str, pd.DataFrame]
    """The same rows, of each family, with BatchNorm statistics taken anew; the others are with
    frozen ones."""
    left_out: list[str]
    """A message for each record file that is of another recipe, damaged or foreign."""
    answered: dict | None = None
    """What is known of single images: see `store.pictures`."""

    @property
    def architectures(self) -> list[str]:
        """Every architecture that is planned or measured, in table order."""
        return list(self.rows.architecture.cat.categories)

    @property
    def measured(self) -> list[str]:
        """Those that have a measurement."""
        return [name for name in self.architectures if (self.rows.architecture == name).any()]

    @property
    def images(self) -> str:
        """The images that were measured on, in a word."""
        return "validation" if self.plan.recipe.validation_size else "test"

    def chance_of(self, architecture: str) -> float:
        """The accuracy of guessing at the task of an architecture's runs."""
        mine = (r for r in self.records if r["identity"]["architecture"] == architecture)
        return max((records.traits(record)["chance"] for record in mine), default=0.0)

    @property
    def chance(self) -> float:
        """The accuracy of guessing, which one plan has in common."""
        found = [records.traits(record)["chance"] for record in self.records]
        return found[0] if found else records.TRAITS["chance"]

    @functools.cached_property
    def effects(self) -> pd.DataFrame:
        """`intervals.paired_effects` of the rows: what more than one section speaks of."""
        return intervals.paired_effects(self.rows)

    @functools.cached_property
    def flags(self) -> pd.DataFrame:
        """`shape.find_flags` of the rows."""
        return shape.find_flags(self.rows)

    @functools.cached_property
    def endpoints(self) -> pd.DataFrame:
        """`endpoints.endpoints` of the rows, with a column flags, as words."""
        ends = endpoints.endpoints(self.rows, effects=self.effects)
        return ends.assign(flags=shape.flags_of_endpoints(ends, self.rows, self.flags))


def read(results_dir: Path) -> Results:
    """Read the plan of a results folder and the records that belong to it.

    Raises:
        FileNotFoundError: if the folder has no plan.
        Damaged: if its plan is not of this version.
    """
    plan = load_plan(results_dir)
    check_families(plan)
    folder = results_dir / "runs"
    found, problems = records.load_all(folder)
    chosen, others = plan.select(found)
    names = sorted({record["identity"]["architecture"] for record in chosen})
    planned = (name for part in plan.parts for name in part.architectures)
    regimes = (*plan.all_regimes, *sorted({record["identity"]["regime"] for record in chosen}))
    order = {
        "architecture": list(dict.fromkeys((*planned, *names))),
        "regime": list(dict.fromkeys((*first_regimes(plan), *regimes))),
    }
    kinds = {key: pd.CategoricalDtype(values, ordered=True) for key, values in order.items()}

    def position(record: Record) -> tuple:
        who = record["identity"]
        return *(order[key].index(who[key]) for key in order), who["seed"]

    chosen = sorted(chosen, key=position)

    def frame(rows_of: Callable[[Record], Iterable], columns: Iterable[str]) -> pd.DataFrame:
        rows = [
            (*(record["identity"][name] for name in RUN), *row)
            for record in chosen
            for row in rows_of(record)
        ]
        table = pd.DataFrame(rows, columns=[*RUN, *columns])
        numbers = {name: NUMBERS.get(name, float) for name in ("seed", *columns)}
        return table.astype({**kinds, **numbers})

    def forms_of(record: Record) -> Iterable:
        settings = plan.sweep.form_settings(record["identity"]["architecture"])
        block = records.curvature_block(record, settings)
        return enumerate(curvature.totals(block["forms"])) if block else []

    sweep = plan.sweep

    def tested(family: str, batchnorm: str = "") -> pd.DataFrame:
        def rows_of(record: Record) -> Iterable[tuple]:
            chance = records.traits(record)["chance"]
            for row in records.rows(record, sweep.settings_of(family, batchnorm)):
                # the Gaussian one is by definition as large as its α, and says no size
                size = row[0] if family == "gaussian" else row[-1]
                yield (*row[: len(records.COLUMNS)], size, chance)

        table = frame(rows_of, (*records.COLUMNS, "size", "chance"))
        return with_looks(table, plan)

    def by_family(names: Iterable[str], batchnorm: str = "") -> dict[str, pd.DataFrame]:
        frames = {name: tested(name, batchnorm) for name in names}
        return {name: table for name, table in frames.items() if len(table)}

    # also what an earlier command asked for, and compositions that are in no registry
    asked = (name for part in plan.parts for name in part.sweep.families)
    names_of_noise = list(dict.fromkeys((*FAMILIES, *asked)))
    baseline = first_regimes(plan)[0]
    return Results(
        plan=plan,
        records=chosen,
        rows=tested("gaussian"),
        training=frame(lambda r: records.rows(r, sweep.training_settings), records.COLUMNS),
        forms=frame(forms_of, ("draw", "form")),
        families=by_family(name for name in names_of_noise if name != "gaussian"),
        reestimated=by_family(names_of_noise, REESTIMATED),
        left_out=[message.removeprefix(f"{folder}/") for message in (*others, *problems)],
        answered=summarise(results_dir, plan, chosen, baseline),
    )


def with_looks(rows: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    """Return rows with how often what they are of was looked at, where that is more than once."""
    counts = {name: len(groups) for name, groups in plan.looks}
    if max(counts.values(), default=1) < 2:
        return rows
    named = rows.architecture.astype(object)
    return rows.assign(looks=[max(1, counts.get(name, 1)) for name in named])


def first_regimes(plan: Plan) -> list[str]:
    """Return the regimes that come first in table order; the first one is the baseline."""
    return [plan.recipe.baseline] if plan.kind is OwnRun else list(REGIMES)


def find_missing(plan: Plan, found: list[Record]) -> list[str]:
    """Return a message for each run of the plan that lacks its record or a part of it."""
    have = {record["run_id"]: record for record in found}
    messages = []
    for run in plan.runs:
        record = have.get(run.run_id)
        if record is None:
            messages.append(f"{run.run_id}: no record")
        elif lacking := say_lacking(record, plan.sweep_of(run), others_of(run, plan, have)):
            messages.append(f"{run.run_id}: {'; '.join(lacking)}")
    for name in find_open(plan):
        messages.append(f"{name}: no second stage of draws yet")
    return messages


def others_of(run: Run, plan: Plan, have: dict[str, Record]) -> list[Record | None]:
    """Return the records of a run's seed in the other regimes of the plan."""
    return [have.get(other.run_id) for other in run.others(plan.all_regimes)]


def say_lacking(record: Record, sweep: Sweep, others: Iterable[Record | None] = ()) -> list[str]:
    """Return in words what a record still lacks of the measurements that are asked for."""
    parts = []
    for block in needs(record, sweep, others):
        if block.images == "traces":
            parts.append("the Hessian along the draws is missing")
            continue
        where = " on training images" if block.images == "training" else ""
        noise = f" of {block.settings['noise']}" if "noise" in block.settings else ""
        noise += " with BatchNorm re-estimated" if "batchnorm" in block.settings else ""
        alphas = ", ".join(f"{a:g}" for a in sorted({a for a, *_ in block.points}))
        what = "measurement" if len(block.points) == 1 else "measurements"
        parts.append(f"{len(block.points)} {what}{noise}{where} missing (at α = {alphas})")
    return parts

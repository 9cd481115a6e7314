"""What was asked for: the plan, kept beside the records so that a bare report knows its target."""

import json
import math
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import get_args

from config import REGIMES, Recipe, Run, Sweep, make_runs
from files import Damaged, write_whole
from records import Record


@dataclass(frozen=True)
class Plan:
    """Every architecture × regime × seed of one recipe, and what to measure on each."""

    architectures: tuple[str, ...]
    regimes: tuple[str, ...]
    seeds: tuple[int, ...]
    recipe: Recipe
    sweep: Sweep

    @property
    def runs(self) -> list[Run]:
        """The runs, architecture by architecture; clean and noisy of a seed side by side."""
        return make_runs(self.architectures, self.regimes, self.seeds, self.recipe)

    def joined(self, other: "Plan") -> "Plan":
        """Return this plan with the runs and points of an earlier one, if recipe and test agree.

        A run of `mlp` adds to the plan that `cnn` is already in; another recipe replaces it. Of
        two precisions the finer is kept, of two limits the larger.
        """
        if (other.recipe, other.sweep.settings) != (self.recipe, self.sweep.settings):
            return self

        def union(a: tuple, b: tuple) -> tuple:
            return tuple(dict.fromkeys((*a, *b)))

        sweeps = (self.sweep, other.sweep)
        precise = [s for s in sweeps if s.precision] or sweeps
        sweep = replace(
            self.sweep,
            alphas=tuple(sorted({a for s in sweeps for a in s.alphas})),
            draws=max(s.draws for s in sweeps),
            precision=min(s.precision for s in precise),
            max_draws=max(s.max_draws for s in precise),
            antithetic=any(s.antithetic for s in sweeps),
        )
        return replace(
            self,
            architectures=union(other.architectures, self.architectures),
            regimes=union(other.regimes, self.regimes),
            seeds=tuple(sorted({*self.seeds, *other.seeds})),
            sweep=sweep,
        )

    def select(self, records: list[Record]) -> tuple[list[Record], list[str]]:
        """Divide records into those of this plan's recipe and messages about the others.

        Records of the recipe count whether or not this plan asks for their architecture or seed:
        tables hold every run of the recipe.
        """
        chosen, left_out = [], []
        for record in records:
            who = record["identity"]
            if who["regime"] in REGIMES:
                run = Run(who["architecture"], who["regime"], who["seed"], self.recipe)
                if run.identity == who:
                    chosen.append(record)
                    continue
            left_out.append(f"{record['run_id']}: another recipe ({self.difference(who)})")
        return chosen, left_out

    def difference(self, identity: dict) -> str:
        """Return in words how a run's identity departs from this plan's recipe."""
        regime = identity["regime"]
        if regime not in REGIMES:
            return f"regime {regime!r} is not known here"
        mine = Run(identity["architecture"], regime, identity["seed"], self.recipe).identity
        changes = [
            f"{name} {identity['recipe'].get(name)!r}, asked {mine['recipe'].get(name)!r}"
            for name in sorted({*mine["recipe"], *identity["recipe"]})
            if identity["recipe"].get(name) != mine["recipe"].get(name)
        ]
        if identity["recipe_version"] != mine["recipe_version"]:
            changes.append(f"version {identity['recipe_version']}, now {mine['recipe_version']}")
        return "; ".join(changes) or "other fields"


def path(results_dir: Path) -> Path:
    """Return where the plan of a results folder is kept."""
    return results_dir / "plan.json"


def save(results_dir: Path, plan: Plan) -> None:
    """Write the plan whole."""
    write_whole(path(results_dir), (json.dumps(asdict(plan), indent=1) + "\n").encode())


def load(results_dir: Path) -> Plan:
    """Read the plan of a results folder.

    Raises:
        FileNotFoundError: if the folder has none.
        Damaged: if it cannot be read or is not a plan of this version.
    """
    try:
        body = json.loads(path(results_dir).read_bytes())
        parts = {"recipe": typed(Recipe, body["recipe"]), "sweep": typed(Sweep, body["sweep"])}
        plan = typed(Plan, {**body, **parts})
        if not set(plan.regimes) <= set(REGIMES):
            raise ValueError(f"regimes are not of {', '.join(REGIMES)}")
        return plan
    except FileNotFoundError:
        raise
    except (OSError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:
        reason = " ".join(str(error).split())[:200]
    except RecursionError:
        reason = "nested too deep"
    raise Damaged(f"{path(results_dir)}: not a plan of this version ({reason})")


def typed(kind: type, body: dict):
    """Return the dataclass that JSON data describes; ValueError if a field is of another type."""
    made = kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in body.items()})
    for f in fields(kind):
        value = getattr(made, f.name)
        wanted, *_ = get_args(f.type) or [f.type]  # int, of tuple[int, ...]
        listed = wanted is not f.type
        items = value if listed else [value]
        if isinstance(value, tuple) != listed or not all(fits(item, wanted) for item in items):
            raise ValueError(f"{f.name} is {value!r}")
    return made


def fits(value, wanted: type) -> bool:
    """Return whether JSON data is of a type: a finite whole number may stand for a float."""
    if wanted is float:
        return type(value) in (int, float) and math.isfinite(value)
    return type(value) is wanted

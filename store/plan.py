"""What was asked for: the plan, kept beside the records so that a bare report knows its target."""

import functools
import json
import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from config import ONWARD, REGIMES, Recipe, Run, Sweep, make_runs, written
from store import looks as fixing
from store import shared, stages
from store.changes import AXES, BROKEN, kind_of, united
from store.files import Damaged, write_whole
from store.knobs import typed
from store.own import OwnRun, Task
from store.records import Record
from store.shared import View
from store.stages import Stage, united_stages, with_stages


@dataclass(frozen=True)
class Plan:
    """Every architecture × regime × seed of one recipe, and what to measure on each."""

    architectures: tuple[str, ...]
    regimes: tuple[str, ...]
    seeds: tuple[int, ...]
    recipe: Recipe | Task
    """How the models are trained; of somebody's own ones, what they are measured on."""
    sweep: Sweep
    earlier: tuple["Plan", ...] = ()
    """What else was asked for by earlier commands, of the same recipe and evaluation settings."""
    stages: tuple[Stage, ...] = ()
    """What is known of second stages of draws."""
    looks: fixing.Looks = ()
    """Which seeds were fixed when it was executed, and which were added: see `store.looks`."""

    @property
    def parts(self) -> tuple["Plan", ...]:
        """This plan as plain ones: each a full cross product with one sweep."""
        return replace(self, earlier=(), stages=(), looks=()), *self.earlier

    @property
    def all_regimes(self) -> tuple[str, ...]:
        """Every regime that some part asks for."""
        return tuple(dict.fromkeys(name for part in self.parts for name in part.regimes))

    @property
    def runs(self) -> list[Run]:
        """The runs, architecture by architecture; clean and noisy of a seed side by side."""
        axes = [(part.architectures, part.regimes, part.seeds) for part in self.parts]
        return list(dict.fromkeys(r for a in axes for r in make_runs(*a, self.recipe, self.kind)))

    @property
    def kind(self) -> type[Run]:
        """What its runs are."""
        return OwnRun if isinstance(self.recipe, Task) else Run

    @property
    def epochs(self) -> dict[str, int]:
        """The epochs of each architecture that is trained."""
        return {run.architecture: run.recipe.epochs for run in self.runs if self.kind is Run}

    def sweep_of(self, run: Run) -> Sweep:
        """Return all that is asked to be measured on a run of this plan."""
        sweeps = [
            part.sweep
            for part in self.parts
            if run.architecture in part.architectures
            and run.regime in part.regimes
            and run.seed in part.seeds
        ]
        return with_stages(functools.reduce(union_of_sweeps, sweeps), self.stages)

    @property
    def staged(self) -> Sweep:
        """This plan's own sweep, with what is known of its second stage of draws."""
        return with_stages(self.sweep, self.stages)

    @property
    def asked(self) -> dict[Run, Sweep]:
        """What is asked for of each run, however the plan is divided into parts."""
        return {run: self.sweep_of(run) for run in self.runs}

    def joined(self, other: "Plan") -> "Plan":
        """Return this plan with the runs and points of an earlier one, if recipe and test agree.

        A run of `mlp` adds to the plan that `cnn` is already in; another recipe replaces it. What
        one asks for an architecture or seed is not asked for those of the other.
        """
        if kind_of(other) != kind_of(self):
            return self
        recipe = self.recipe
        if isinstance(recipe, Task):
            recipe = recipe.knowing(other.recipe.weights)
        parts: list[Plan] = []
        for part in (replace(p, recipe=recipe) for p in (*other.parts, *self.parts)):
            while alike := [p for p in parts if union_of_parts(p, part)]:
                parts.remove(alike[0])
                part = union_of_parts(alike[0], part)
            parts.append(part)
        largest, *rest = sorted(parts, key=lambda p: (-len(p.runs), repr(p)))
        found = united_stages(self.stages, other.stages)
        seen = fixing.united_looks(self.looks, other.looks)
        return replace(largest, earlier=tuple(rest), stages=found, looks=seen)

    def select(self, records: list[Record]) -> tuple[list[Record], list[str]]:
        """Divide records into those of this plan's recipe and messages about the others.

        Records of the recipe count whether or not this plan asks for their architecture or seed:
        tables hold every run of the recipe.
        """
        chosen, left_out = [], []
        for record in records:
            who = record["identity"]
            known = self.kind is OwnRun or who["regime"] in REGIMES
            if known and self.run_like(who).identity == who:
                chosen.append(record)
            else:
                left_out.append(f"{record['run_id']}: another recipe ({self.difference(who)})")
        return chosen, left_out

    def run_of(self, architecture: str, regime: str, seed: int) -> Run:
        """Return the run of a name, regime and seed by this plan's recipe."""
        return self.kind(architecture, regime, seed, self.recipe)

    def run_like(self, identity: dict) -> Run:
        """Return the run of an identity's names by this plan's recipe. Own models that the plan
        does not know, of another machine, are those that they say they are."""
        names = (identity["architecture"], identity["regime"], identity["seed"])
        recipe = self.recipe
        if isinstance(recipe, Task) and "weights" in identity:
            recipe = recipe.knowing((f"{identity['weights']} {names[2]} {names[1]}",))
        return self.kind(*names, recipe)

    def difference(self, identity: dict) -> str:
        """Return in words how a run's identity departs from this plan's recipe."""
        regime = identity["regime"]
        if self.kind is Run and regime not in REGIMES:
            return f"regime {regime!r} is not known here"
        mine = self.run_like(identity).identity
        changes = [
            f"{name} {identity['recipe'].get(name)!r}, asked {mine['recipe'].get(name)!r}"
            for name in sorted({*mine["recipe"], *identity["recipe"]})
            if identity["recipe"].get(name) != mine["recipe"].get(name)
        ]
        if identity["recipe_version"] != mine["recipe_version"]:
            changes.append(f"version {identity['recipe_version']}, now {mine['recipe_version']}")
        if identity.get("weights") != mine.get("weights"):
            changes.append("other weights")
        return "; ".join(changes) or "other fields"


def union_of_parts(a: Plan, b: Plan) -> Plan | None:
    """Return one plain plan that asks for just what two do, None if there is no such plan."""
    differ = [name for name in AXES if {*getattr(a, name)} != {*getattr(b, name)}]
    sweep = union_of_sweeps(a.sweep, b.sweep)
    if not differ:
        return replace(a, sweep=sweep)
    for less, more in ((a, b), (b, a)):
        inside = all({*getattr(less, name)} <= {*getattr(more, name)} for name in differ)
        if inside and sweep == more.sweep:
            return more
    if len(differ) > 1 or a.sweep != b.sweep:
        return None
    [name] = differ
    both = dict.fromkeys((*getattr(a, name), *getattr(b, name)))
    return replace(a, **{name: tuple(sorted(both) if name == "seeds" else both)})


def union_of_sweeps(a: Sweep, b: Sweep) -> Sweep:
    """Return what two sweeps of the same settings measure together.

    Of two precisions the finer is kept, of two limits the larger.
    """
    precise = [s for s in (a, b) if s.precision] or [a, b]
    return replace(
        b,
        alphas=tuple(sorted({*a.alphas, *b.alphas})),
        draws=max(a.draws, b.draws),
        precision=min(s.precision for s in precise),
        max_draws=max(s.max_draws for s in precise),
        antithetic=a.antithetic or b.antithetic,
        noise=union_of_noise(a, b),
        find_break=a.find_break or b.find_break,
        two_stage=a.two_stage or b.two_stage,
    )


def union_of_noise(a: Sweep, b: Sweep) -> tuple[str, ...]:
    """Return the further families of two sweeps, each with the strengths of both."""
    mine, theirs = a.families, b.families
    every = {n: sorted({*mine.get(n, ()), *theirs.get(n, ())}) for n in sorted({*mine, *theirs})}
    return tuple(
        as_word(name, found, a.goes_on(name) or b.goes_on(name)) for name, found in every.items()
    )


def as_word(name: str, strengths: Iterable[float], on: bool) -> str:
    """Return a noise family with its strengths as a plan holds it; `on` looks for the break."""
    return f"{name}:{','.join([*map(repr, strengths), *([ONWARD] if on else [])])}"


def plan_path(results_dir: Path) -> Path:
    """Return where the plan of a results folder is kept."""
    return results_dir / "plan.json"


def parts_folder(results_dir: Path) -> Path:
    """Return where changes of the plan are while they are being made."""
    return results_dir / "plan.parts"


def save_plan(results_dir: Path, plan: Plan) -> None:
    """Write the plan whole, whatever was asked for before."""
    write_whole(plan_path(results_dir), dumps(plan))


def ask(results_dir: Path, plan: Plan) -> None:
    """Add to what is asked for: see `Plan.joined`. Whatever others ask for meanwhile is kept.

    Raises:
        Damaged: if the plan that is there cannot be read.
        OSError: if it cannot be written.
    """
    _change(results_dir, "ask", {"plan": as_data(plan)})


def forget(results_dir: Path, asked: Plan, named: Collection[str] = ()) -> None:
    """Take something out of the plan: see `changes.without`; raise as `ask` does."""
    _change(results_dir, "forget", {"plan": as_data(asked), "named": sorted(named)})


def _change(results_dir: Path, kind: str, body: dict) -> None:
    def fold(view: View) -> bytes:
        plan, there = united(view, from_data)
        return view.whole if plan is there else dumps(plan)

    path, folder = plan_path(results_dir), parts_folder(results_dir)
    try:
        shared.add(path, folder, kind, json.dumps(body).encode(), fold, absorb=False)
        shared.clear(folder)
    except BROKEN as error:
        raise damage(path, error) from None


def as_data(plan: Plan) -> dict:
    """Return a plan as plain JSON data."""
    axes = {name: getattr(plan, name) for name in AXES}
    knobs = {"recipe": written(plan.recipe), "sweep": written(plan.sweep)}
    found = {"stages": [stages.as_data(stage) for stage in plan.stages]} if plan.stages else {}
    found |= {"looks": fixing.as_data(plan.looks)} if plan.looks else {}
    return {**axes, **knobs, "earlier": tuple(as_data(part) for part in plan.earlier), **found}


def dumps(plan: Plan) -> bytes:
    """Return the bytes of a plan's file."""
    return (json.dumps(as_data(plan), indent=1) + "\n").encode()


def load_plan(results_dir: Path) -> Plan:
    """Read the plan of a results folder, with what is being asked for at this moment.

    Raises:
        FileNotFoundError: if the folder has none.
        Damaged: if it cannot be read or is not a plan of this version.
    """
    path = plan_path(results_dir)
    try:
        plan, _ = united(shared.look(path, parts_folder(results_dir)), from_data)
    except BROKEN as error:
        raise damage(path, error) from None
    if plan is None:
        raise FileNotFoundError(2, "No such file", str(path))
    return plan


def damage(path: Path, error: Exception) -> Exception:
    """Return what to raise for an error of `BROKEN`."""
    if isinstance(error, OSError) and path.is_file():
        return error
    deep = isinstance(error, RecursionError)
    reason = "nested too deep" if deep else " ".join(str(error).split())[:200]
    return Damaged(f"{path}: not a plan of this version ({reason})")


def from_data(body: dict) -> Plan:
    """Return the plan that JSON data describes, or raise one of `BROKEN`."""
    earlier = tuple(plain(part) for part in body.pop("earlier", ()))
    found = united_stages((), map(stages.from_data, body.pop("stages", ())))
    seen = fixing.from_data(body.pop("looks", {}))
    plan = replace(plain(body), earlier=earlier, stages=found, looks=seen)
    for part in plan.parts:
        if part.kind is Run and (unknown := [n for n in part.regimes if n not in REGIMES]):
            raise ValueError(
                f"regime {min(unknown)!r} is not registered here; import what registers it first"
            )
        if not (part.architectures and part.regimes and part.seeds and part.sweep.alphas):
            raise ValueError("a part of it asks for nothing")
        if not all(0 < s < math.inf for found in part.sweep.families.values() for s in found):
            raise ValueError(f"noise is {part.sweep.noise!r}")
        if kind_of(part) != kind_of(plan):
            raise ValueError("its parts differ in recipe or evaluation settings")
    return plan


def plain(body: dict) -> Plan:
    """Return the plan, without earlier parts, that JSON data describes, or raise likewise."""
    kind = Task if "weights" in body["recipe"] else Recipe
    if body["sweep"].get("draws", 1) is None:
        raise ValueError("draws is None")
    recipe, sweep = typed(kind, body["recipe"]), typed(Sweep, body["sweep"])
    return typed(Plan, {**body, "recipe": recipe, "sweep": sweep, "earlier": ()})

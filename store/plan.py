"""What was asked for: a plan, and what two of them ask for together. On disk: `store.plan_file`."""

import functools
from collections.abc import Iterable
from dataclasses import dataclass, replace

from config import DEFAULT_REGIMES, DOUBLING, EPOCHS, ONWARD, REGIMES, Recipe, Run, Sweep, make_runs
from store import looks as fixing
from store.changes import AXES, kind_of
from store.own import OwnRun, Task
from store.records import Record
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

    @property
    def undertrained(self) -> str:
        """What twice the epochs would gain, in words, of architectures of which that is known to be
        worth it; "" where there is none."""
        r = self.recipe
        usual = self.kind is Run and r.dataset == "mnist" and not (r.budget or r.train_size)
        usual = usual and {*DEFAULT_REGIMES} <= {*self.regimes}
        said = [
            f"{name} {DOUBLING[name][0]:g} points clean, {DOUBLING[name][1]:g} noisy"
            for name, epochs in (self.epochs if usual else {}).items()
            if name in DOUBLING and epochs == EPOCHS[name]
        ]
        return f"Twice the epochs would gain {'; '.join(said)}" if said else ""

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

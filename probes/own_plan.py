"""What is asked for of somebody's own models: the plan, and what has to be known before it."""

import functools
import textwrap
from collections.abc import Callable
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

from torch import nn

from config import Sweep
from machine import offers
from machine.checks import UsageError, number_of
from noise import ParameterError, WeightNoise, noisy_parameters
from probes.batchnorm import has_batchnorm
from sources.own import Key, Own, inner
from store import checkpoints
from store.own import OwnRun, Task
from store.plan import Plan
from store.plan_file import load_plan

ASIDE = ("pos", "emb", "token", "cls")
"""Parts of names that embeddings, of tokens and of positions, often have."""
SMALL = 1_000_000
"""Noisy weights below which a second thread costs more than it gives."""


def make_plan(own: Own, sweep: Sweep) -> Plan:
    """Return what is asked for of every model, which names each by the digest of its weights.

    Raises:
        UsageError: a model that cannot be made, or of which it is not clear what carries noise.
    """
    weights = []
    for regime, seed in own.models:
        model = inner(own.model((regime, seed)))
        check_parameters(model, own)
        weights.append(f"{weights_of(model)} {seed} {regime}")
        broken = [name for name, p in model.named_parameters() if not p.isfinite().all()]
        if broken:
            own.notes.append(
                f"{regime} seed {seed} has weights that are not finite, such as {broken[0]}"
            )
    if has_batchnorm(model) and own.calibration is None:
        how = "; calibration() in the file would take them anew as well" if own.project else ""
        own.notes.append(f"BatchNorm statistics are frozen only{how}")
    own.task = replace(own.task, weights=tuple(weights))
    digests = [word.split(" ", 1)[0] for word in weights]
    for n, word in enumerate(weights):
        if digests.index(digests[n]) < n:
            first = weights[digests.index(digests[n])].split(" ", 2)
            _, seed, regime = word.split(" ", 2)
            own.notes.append(
                f"{regime} seed {seed} has the very weights of {first[2]} seed {first[1]}"
            )
    return whole_plan(own.name, list(own.models), own.task, sweep)


def whole_plan(name: str, keys: list[Key], task: Task, sweep: Sweep) -> Plan:
    """Return the plan of some models and no others: not every regime has every seed."""
    plans = [Plan((name,), (regime,), (seed,), task, sweep) for regime, seed in keys]
    return functools.reduce(lambda whole, plan: plan.joined(whole), plans)


def weights_of(model: nn.Module) -> str:
    """Return the digest of a model's weights and buffers."""
    return checkpoints.content_digest(dict(model.state_dict()))


def check_parameters(model: nn.Module, own: Own) -> None:
    """Check that every parameter is known to carry noise or not to.

    Raises:
        UsageError: with the lines to write where one is not.
    """
    try:
        WeightNoise(model, own.task.noisy, own.task.clean)
    except ParameterError as error:
        if not error.unknown:
            text = textwrap.shorten(str(error), 300, placeholder=" …")
            raise UsageError(f"--model: {own.task.dataset}: {text}") from None
        parameters = dict(model.named_parameters())
        guess = {name: looks_noisy(name, parameters.get(name)) for name in error.unknown}
        groups = {
            "NOISY": [name for name in error.unknown if guess[name]],
            "CLEAN": [name for name in error.unknown if not guess[name]],
        }
        given = {"NOISY": list(own.task.noisy), "CLEAN": list(own.task.clean)}
        every = list(parameters)
        lines = [
            f"{what} = {given[what] + patterns_for(names, every)!r}"
            for what, names in groups.items()
            if names
        ]
        if own.project is None:
            raise UsageError(
                f"--model: {own.name} has parameters of unknown use; write a file with model(), "
                f"batches() and {' and '.join(lines)}"
            ) from None
        raise UsageError(
            f"--model: is noise meant for {number_of(len(error.unknown), 'parameter')} of unknown "
            f"use, such as {error.unknown[0]}? Matrices that multiply activations carry noise "
            f"(NOISY), all else does not (CLEAN). Add to {own.task.dataset}, and move what is on "
            "the wrong side:\n" + "\n".join(lines)
        ) from None


def looks_noisy(name: str, parameter: nn.Parameter | None) -> bool:
    """Return a guess whether a parameter of unknown use multiplies activations, for people to
    correct: a matrix does, a vector does not, whatever dimensions of one it has beside."""
    if parameter is None or parameter.dim() < 2:
        return False
    vector = parameter.dim() > 2 and sum(n > 1 for n in parameter.shape) < 2
    last = name.rpartition(".")[2].lower()
    return not vector and not any(part in last for part in ASIDE)


def patterns_for(names: list[str], every: list[str]) -> list[str]:
    """Return name patterns for parameters, with * for the number of a layer where that matches
    none but others of them."""
    found: dict[str, None] = {}
    for name in names:
        starred = ".".join("*" if part.isdecimal() else part for part in name.split("."))
        hits = [n for n in every if fnmatchcase(n, starred)]
        found[starred if {*hits} <= {*names} else name] = None
    return list(found)


def path_of(folder: Path, run: OwnRun) -> Path:
    """Return where the record of a model is kept."""
    return folder / "runs" / f"{run.run_id}.json"


def join_earlier(
    plan: Plan, folder: Path, named_baseline: bool = False, say: Callable[[str], None] = print
) -> Plan:
    """Return the plan with the models of earlier commands that this one does not name, where they
    were measured on the same data and their records are still there. The baseline is the one that
    this command has named; or `clean`, or that of before."""
    try:
        earlier = load_plan(folder)
    except FileNotFoundError:
        return plan
    if earlier.kind is not OwnRun:
        raise UsageError(f"--results-dir: {folder} holds the results of run_experiments.py")
    if earlier.recipe != plan.recipe:
        say(
            f"  not what was measured on before: {what_changed(earlier.recipe, plan.recipe)}; all "
            "is measured anew, and earlier records stay aside"
        )
        return plan
    named = {(run.regime, run.seed) for run in plan.runs}
    kept = [run for run in earlier.runs if path_of(folder, run).exists()]
    for run in kept:
        if (run.regime, run.seed) not in named and earlier.sweep.settings == plan.sweep.settings:
            part = Plan(
                (run.architecture,),
                (run.regime,),
                (run.seed,),
                earlier.recipe,
                earlier.sweep_of(run),
            )
            plan = plan.joined(part)
    if named_baseline:
        return plan
    known = [n for n in ("clean", earlier.recipe.baseline) if n in plan.all_regimes]
    return with_baseline(plan, known[0]) if known else plan


def what_changed(was: Task, now: Task) -> str:
    """Return in words in what two tasks differ."""
    data = (
        "what is tested on (other data, --test-size or --size; measure() itself; or batches in "
        "another order each time)"
    )
    parts = {
        data: was.data != now.data,
        "NOISY or CLEAN": (was.noisy, was.clean) != (now.noisy, now.clean),
        "the data of calibration()": was.calibration != now.calibration,
    }
    return ", ".join(words for words, differ in parts.items() if differ)


def with_baseline(plan: Plan, regime: str) -> Plan:
    """Return the plan with a regime that others are compared with."""
    task = replace(plan.recipe, baseline=regime)
    return replace(plan, recipe=task, earlier=tuple(with_baseline(p, regime) for p in plan.earlier))


def threads_for(own: Own, asked: int) -> int:
    """Return how many threads to compute with, by what there is to compute alone: the same number
    when the command goes on."""
    patterns = own.task.noisy, own.task.clean
    model = inner(own.model(next(iter(own.models))))
    check_parameters(model, own)
    weights = sum(p.numel() for p in noisy_parameters(model, *patterns).values())
    return asked or (1 if weights < SMALL else offers.cores())


def describe(own: Own) -> str:
    """Return in words what will be measured."""
    seeds: dict[str, list[int]] = {}
    for regime, seed in own.models:
        seeds.setdefault(regime, []).append(seed)
    listed = "; ".join(f"{name} (seed {' '.join(map(str, s))})" for name, s in seeds.items())
    task = own.task
    what = f"{task.score or 'accuracy'}, chance {task.chance:.4g}"
    examples = f"{own.examples:,} test examples" if own.examples else "measured by its own function"
    return "\n".join(
        [f"{own.name}: {listed}", f"  {examples}; {what}", *(f"  {n}" for n in own.notes)]
    )

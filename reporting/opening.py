"""How the report begins: its question, what was measured, and how to read it. No torch."""

from typing import NamedTuple

from analysis.intervals import RUN
from analysis.looks import say_looks
from analysis.verdicts import LEVEL
from machine.checks import number_of
from reporting.results import Results
from reporting.section import Section
from store.own import OwnRun


class Opening(NamedTuple):
    """The words around the tables."""

    title: str
    question: str
    lead: str
    """What was measured, in a paragraph."""
    short: str
    """The same for Markdown."""
    note: str
    """How to read the answer; with what the statistics add."""
    brief: str
    """The same for Markdown."""
    lines: dict[str, list[str]]
    """What is found first, by architecture: a line for each regime."""
    answers: dict[str, list[str]]
    """What is found by strength, by architecture; empty where there is nothing to compare."""


NOISE = (
    "Gaussian noise of strength α is added to every weight tensor: its standard deviation is α "
    "times that of the tensor."
)
UNITS = (
    "Draws are averaged inside a seed; seeds are the units. The words of one architecture, that "
    "for α = 0 among them, are all right with 95% probability where data are about normal: Holm's"
    " step-down method on t-tests, in which the word for 0 is that of the cost. Each ± is the "
    "half-width of a 95% t-interval over seeds: at 0 that of the cost; above 0 simultaneous over "
    "the non-zero α (Bonferroni); where the word was found at a later step and says more, the "
    "interval is cut there, and both its ends stand in brackets. Equivalent: neither better nor "
    "worse, and the interval lies inside ± one point."
)
ALONE = "± is the half-width of a 95% t-interval over seeds."


def opening(results: Results, sections: dict[str, Section]) -> Opening:
    """Return how the report of some results begins."""
    return of_own(results, sections) if results.plan.kind is OwnRun else of_plan(results, sections)


def of_plan(results: Results, sections: dict[str, Section]) -> Opening:
    """Return how the report of an experiment begins."""
    plan, runs = results.plan, len(results.rows[RUN].drop_duplicates())
    planned = f" ({len(plan.runs)} planned)" if runs != len(plan.runs) else ""
    total = int(results.rows.total.max()) if len(results.rows) else 0
    said = sections["accuracy"]
    compared = " or ".join(results.effects.regime.unique())
    noisy = {run.regime: run.training_noise for run in plan.runs}
    trained = [
        f"{name} with {'α' if family == 'gaussian' else family} = {strength:g}"
        for name, (family, strength) in noisy.items()
        if strength
    ]
    note = brief = ALONE
    if compared:
        brief = f"Effect: {compared} − clean accuracy in points, paired by seed. {UNITS}"
        note = (
            f"The effect is accuracy in the {compared} regime minus accuracy in the clean one, in "
            "points (0.01), paired by seed: the two share initial weights, batch order and "
            f"evaluation noise. {UNITS}"
        )
    looks = say_looks(dict(plan.looks), LEVEL)
    spread = (
        f"The spread over seeds is taken as at least one {results.images} image, and at least what "
        "the draws alone would make it."
    )
    return Opening(
        title=f"Weight noise on {plan.recipe.dataset}: does noisy training help?",
        question="Does training with weight noise make a network more robust to weight noise?",
        lead=f"{plan.recipe.dataset}, {total} {results.images} images, "
        f"{number_of(runs, 'run')}{planned}. "
        f"{NOISE} Trained under such noise: {', '.join(trained) or 'none'}.",
        short=f"{plan.recipe.dataset}, {total} {results.images} images, {runs} of "
        f"{number_of(len(plan.runs), 'planned run')}.",
        note=" ".join(filter(None, (note, looks, said.intro, spread))),
        brief=" ".join(filter(None, (brief, looks, said.intro))),
        lines=sections["endpoints"].sentences,
        answers=said.sentences,
    )


def of_own(results: Results, sections: dict[str, Section]) -> Opening:
    """Return how the report of somebody's own models begins."""
    task, name = results.plan.recipe, results.plan.architectures[0]
    runs = len(results.rows[RUN].drop_duplicates())
    models = number_of(runs, "model")
    if task.score:
        what = (
            f"What is called accuracy here is the score {task.score}, higher is better, "
            f"{task.chance:.4g} is chance; a point is 0.01 of it."
        )
    else:
        total = int(results.rows.total.max()) if len(results.rows) else 0
        what = f"Accuracy is over {total} test labels; chance is {task.chance:.4g}."
    seeds = results.rows.groupby("regime", observed=True).seed.nunique()
    alone = "Each model's own interval is over draws, and says so: it holds for this very model."
    if len(seeds) and seeds.min() < 2:
        alone = (
            "Where a regime has one model, its intervals are over draws, and say so: they hold for "
            "this very model."
        )
    by_regime = sections["accuracy"].sentences
    over, first = sections["over_draws"].sentences, sections["endpoints"].sentences
    paired = (
        f"The effect is the accuracy of a regime minus that of {task.baseline}, in points (0.01), "
        f"paired by seed: the two share their noise draws. {UNITS}"
    )
    if results.rows.regime.nunique() < 2:
        paired = ""
    return Opening(
        title=f"Weight noise on {name}",
        question=f"How much weight noise does {name} stand?",
        lead=f"{task.dataset}: {models}. {NOISE} {what}",
        short=f"{task.dataset}: {models}. {what}",
        note=f"{paired} {sections['accuracy'].intro} {alone}".strip(),
        brief=f"{paired} {alone}".strip(),
        lines={n: [*over.get(n, []), *first.get(n, [])] for n in results.architectures},
        answers=by_regime if paired else {},
    )

"""How the report begins: its question, what was measured, and how to read it. No torch."""

from typing import NamedTuple

from analysis.intervals import RUN
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
    answers: dict[str, list[str]]
    """What is found, by architecture."""


NOISE = (
    "Gaussian noise of strength α is added to every weight tensor: its standard deviation is α "
    "times that of the tensor."
)
UNITS = (
    "Draws are averaged inside a seed; seeds are the units. Intervals (±) are 95% t-intervals, "
    "simultaneous over the non-zero α of one architecture (Bonferroni), and verdicts are read from "
    "them."
)


def opening(results: Results, sections: dict[str, Section]) -> Opening:
    """Return how the report of some results begins."""
    return of_own(results, sections) if results.plan.kind is OwnRun else of_plan(results, sections)


def of_plan(results: Results, sections: dict[str, Section]) -> Opening:
    """Return how the report of an experiment begins."""
    plan, runs = results.plan, len(results.rows[RUN].drop_duplicates())
    planned = f" ({len(plan.runs)} planned)" if runs != len(plan.runs) else ""
    total = int(results.rows.total.max()) if len(results.rows) else 0
    said = sections["accuracy"]
    return Opening(
        title=f"Weight noise on {plan.recipe.dataset}: does noisy training help?",
        question="Does training with weight noise make a network more robust to weight noise?",
        lead=f"{plan.recipe.dataset}, {total} {results.images} images, {runs} runs{planned}. "
        f"{NOISE} The noisy regime trains under such noise (α = {plan.recipe.alpha_train:g}), the "
        "clean regime without.",
        short=f"{plan.recipe.dataset}, {total} {results.images} images, {runs} of "
        f"{len(plan.runs)} planned runs.",
        note="The effect is accuracy in the noisy regime minus accuracy in the clean one, in "
        "points (0.01), paired by seed: the two share initial weights, batch order and evaluation "
        "noise. "
        f"{UNITS} {said.intro} The spread over seeds is taken as at least one {results.images} "
        "image.",
        brief="Effect: noisy − clean accuracy in points, paired by seed. ± is the half-width of a "
        "95% t-interval over seeds,\nsimultaneous over the non-zero α of one architecture "
        "(Bonferroni).",
        answers=said.sentences,
    )


def of_own(results: Results, sections: dict[str, Section]) -> Opening:
    """Return how the report of somebody's own models begins."""
    task, name = results.plan.recipe, results.plan.architectures[0]
    runs = len(results.rows[RUN].drop_duplicates())
    models = f"{runs} model" + ("s" if runs != 1 else "")
    if task.score:
        what = (
            f"What is called accuracy here is the score {task.score}, higher is better, "
            f"{task.chance:g} is chance; a point is 0.01 of it."
        )
    else:
        total = int(results.rows.total.max()) if len(results.rows) else 0
        what = f"Accuracy is over {total} test examples; chance is {task.chance:g}."
    alone = (
        "Where a regime has one model, its intervals are over draws, and say so: they hold for "
        "this very model."
    )
    by_regime = sections["accuracy"].sentences
    over = sections["over_draws"].sentences
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
        answers={n: [*over.get(n, []), *by_regime.get(n, [])] for n in results.architectures},
    )

"""The report as one HTML page, as Markdown and as a LaTeX table. No torch.

What is said is composed here, from tables and figures; how it looks is in `templates/`.
"""

import base64
import re
from collections.abc import Sequence
from pathlib import Path

import jinja2
import pandas as pd

from analysis import intervals
from config import written
from reporting import curvature, plots
from reporting.accuracy import draw_curves, draw_effects, main_table, say_factors, say_verdicts
from reporting.draws import draw_spread, spread_table
from reporting.metrics import metrics_table, seeds_table
from reporting.results import Results
from reporting.summary import summary_tables
from reporting.text import Table
from store.plan import AXES, Plan

TEMPLATES = Path(__file__).parent / "templates"
FIGURES = {
    "robustness": (draw_curves, "Accuracy against noise strength"),
    "effects": (draw_effects, "Paired effect of noisy training"),
    "draws": (draw_spread, "Spread of single noise draws"),
}
"""Name of each figure's files, what draws a panel of it, and its title."""
LATEX = {
    "\\": r"\textbackslash{}",
    "α": r"$\alpha$",
    "±": r"$\pm$",
    "−": "$-$",
    "–": "--",
    "₅₀": r"$_{50}$",
    "²": r"$^2$",
    **{c: f"\\{c}" for c in "&%#_{}$"},
    **{c: f"${c}$" for c in "<>"},
}


def make_figures(results: Results) -> dict[str, bytes]:
    """Return every figure of all architectures, as PDF and PNG, by file name."""
    rows, architectures = results.rows, results.architectures
    made = {n: plots.panels(draw, rows, architectures) for n, (draw, _) in FIGURES.items()}
    terms = curvature.per_run(rows, results.training, results.traces)
    if len(terms):
        made["curvature"] = curvature.draw_panels(terms, list(terms.architecture.unique()))
    return {
        f"{name}.{kind}": plots.encode(figure, kind)
        for name, figure in made.items()
        for kind in ("pdf", "png")
    }


def make_pages(results: Results, summary: pd.DataFrame, missing: list[str]) -> dict[str, bytes]:
    """Return report.html, report.md and table.tex, by file name; the same input, the same bytes.

    Args:
        results: the plan and what there is of it.
        summary: a row per run, as from `tables.make_summary`.
        missing: a message for each run or measurement that is not there.
    """
    plan, rows, architectures = results.plan, results.rows, results.architectures
    provenance = [record["provenance"] for record in results.records]
    effects = intervals.paired_effects(rows)
    measured = [name for name in architectures if (rows.architecture == name).any()]
    images = "validation" if plan.recipe.validation_size else "test"
    runs = rows[intervals.RUN].drop_duplicates()
    alike = plan.sweep.first_draws if plan.sweep.precision else float("inf")
    facts = {
        "plan": plan,
        "images": images,
        "total": int(rows.total.max()) if len(rows) else 0,
        "runs": len(runs),
        "planned": len(plan.runs),
        "seeds": runs.groupby(intervals.RUN[:2], observed=True).size(),
        "verdicts": {name: say_verdicts(effects, name) for name in architectures},
        "factors": say_factors(effects),
        "main": {name: main_table(rows, name) for name in measured},
        "metrics": {name: metrics_table(rows, name) for name in measured},
        "takes": seeds_table(effects),
        "spread": {name: spread_table(rows, name) for name in measured},
        "curvature": curvature.make_tables(rows, results.training, results.traces),
        "flat": curvature.say_flatness(results.training, results.traces),
        "probed": int(results.training.total.max()) if len(results.training) else 0,
        "summary": summary_tables(summary),
        "settings": [settings_table(plan), provenance_table(provenance)],
        "missing": missing,
        "unpaired": intervals.find_unpaired(rows, draws=alike),
        "left_out": results.left_out,
    }
    inline = {
        name: [
            (title, as_url(plots.panels(draw, rows, [name]))) for draw, title in FIGURES.values()
        ]
        for name in measured
    }
    terms = curvature.per_run(rows, results.training, results.traces)
    curves = [
        (name, as_url(curvature.draw_panels(terms, [name]))) for name in terms.architecture.unique()
    ]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=jinja2.select_autoescape(["html.j2"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["latex"] = latex
    outputs = {}
    for name in ("report.html", "report.md", "table.tex"):
        text = environment.get_template(f"{name}.j2").render(**facts, figures=inline, curves=curves)
        outputs[name] = text.encode()
    return outputs


def settings_table(plan: Plan) -> Table:
    """Return the plan: what was asked for."""
    body = [[name, as_text(value)] for name, value in written(plan.recipe).items()]
    for part in plan.parts:
        asked = {name: getattr(part, name) for name in AXES} | written(part.sweep)
        body += [[name, as_text(value)] for name, value in asked.items()]
    return Table("Plan", ["Setting", "Value"], body)


def as_text(value) -> str:
    """Return a setting as text, a list without its brackets."""
    if isinstance(value, list | tuple):
        return " ".join(as_text(v) for v in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def provenance_table(provenance: Sequence[dict]) -> Table:
    """Return where the numbers come from: each value with the number of runs that have it."""
    values: dict[str, dict[str, int]] = {}
    for facts in provenance:
        for key, value in pd.json_normalize(facts).iloc[0].items() if facts else ():
            seen = values.setdefault(key, {})
            seen[as_text(value)] = seen.get(as_text(value), 0) + 1
    body = []
    for key, seen in values.items():
        if len(seen) > 4:  # times and such differ from run to run
            body.append([key, f"{len(seen)} values, {next(iter(seen))} first"])
        else:
            listed = (v if len(seen) == 1 else f"{v} ({n} runs)" for v, n in seen.items())
            body.append([key, "; ".join(listed)])
    return Table(f"Provenance of {len(provenance)} runs", ["Fact", "Value"], body)


def as_url(figure: plots.Figure) -> str:
    """Return a figure as a data URL of an SVG image."""
    return "data:image/svg+xml;base64," + base64.b64encode(plots.encode(figure, "svg")).decode()


def latex(text: str) -> str:
    """Return text with LaTeX's special characters and our symbols as commands."""
    text = re.sub(r"(?<!\w)-(?=\d)", "−", text)
    return "".join(LATEX.get(c, c) for c in text.replace("₅₀", "\0")).replace("\0", LATEX["₅₀"])

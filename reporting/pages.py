"""The report as one HTML page, as Markdown and as LaTeX tables. No torch.

What is said is composed here, from tables and figures; how it looks is in `templates/`.
"""

import base64
import html
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import jinja2
import pandas as pd
from markupsafe import Markup

import noises
from analysis import intervals
from config import written
from machine.checks import number_of
from reporting import (
    accuracy,
    batchnorm,
    curvature,
    curve_data,
    curve_table,
    draws,
    endpoints,
    families,
    flags,
    images,
    interactive,
    metrics,
    over_draws,
    plots,
    protection,
    quantised,
    side_by_side,
    sizes,
    summary,
)
from reporting.first_screen import first_answer
from reporting.opening import opening
from reporting.results import Results
from reporting.run_facts import HEADER, run_facts
from reporting.section import Chart, Section
from reporting.text import Table
from store.own import OwnRun
from store.plan import AXES, Plan

TEMPLATES = Path(__file__).parent / "templates"
SECTIONS = (
    summary.section,
    endpoints.section,
    side_by_side.section,
    accuracy.section,
    over_draws.section,
    metrics.section,
    draws.section,
    images.section,
    batchnorm.section,
    flags.section,
    families.section,
    protection.section,
    sizes.section,
    quantised.section,
    curvature.section,
    curve_table.section,
)
"""What makes each section of the report, in order."""
LATEX = {
    "\\": r"\textbackslash{}",
    "α": r"$\alpha$",
    "±": r"$\pm$",
    "−": "$-$",
    "–": "--",
    "₅₀": r"$_{50}$",
    "²": r"$^2$",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "†": r"$\dagger$",
    "×": r"$\times$",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    **{c: f"\\{c}" for c in "&%#_{}$"},
    **{c: f"${c}$" for c in "<>"},
}
MARKDOWN = re.compile(
    r"""
    \\(?=[!-/:-@\[-`{-~])  # an escape of its own
    | [`*|$]  # code, emphasis, cells, mathematics
    | (?<!\w)_ | _(?!\w)  # emphasis; not inside words
    | ~(?=~) | (?<=~)~
    | \](?=[(\[:])  # what would make a link or an image
    | ^\#  # a heading
    """,
    re.VERBOSE,
)
"""What means something in Markdown; all else is written as it is."""
HTML = re.compile(r"<(?=[A-Za-z/!?])|&(?=\#?\w+;)")


def make_sections(
    results: Results, makers: Iterable[Callable[[Results], Section]]
) -> dict[str, Section]:
    """Return the sections by name: all frames that the report shows, each computed once."""
    return {section.name: section for section in (make(results) for make in makers)}


def make_figures(sections: Mapping[str, Section]) -> dict[str, bytes]:
    """Return every figure of all architectures, as PDF and PNG, by file name."""
    charts = {name: chart for part in sections.values() for name, chart in part.charts.items()}
    figures = {name: chart.panels() for name, chart in charts.items()}
    return {
        f"{name}.{kind}": plots.encode(figure, kind)
        for name, figure in figures.items()
        for kind in ("pdf", "png")
    }


def make_pages(
    results: Results, sections: Mapping[str, Section], missing: list[str]
) -> dict[str, bytes]:
    """Return the page, its Markdown and LaTeX tables, by file name: the same bytes every time.

    Args:
        results: the plan and what there is of it.
        sections: from `make_sections`.
        missing: a message for each run or measurement that is not there.
    """
    plan, rows = results.plan, results.rows
    provenance = [record["provenance"] for record in results.records]
    facts = {
        "plan": plan,
        "opening": opening(results, sections),
        "images": results.images,
        "total": int(rows.total.max()) if len(rows) else 0,
        "runs": len(rows[intervals.RUN].drop_duplicates()),
        "measured": results.measured,
        "compared": plan.kind is not OwnRun or bool((results.effects.seeds > 1).any()),
        "sections": sections,
        "further": [part for part in sections.values() if part.title and part.tables],
        "answer": first_answer(results, sections),
        "runs_header": HEADER,
        "runs_of": run_facts(results, sections),
        **interactive_facts(results),
        "settings": [settings_table(plan), provenance_table(provenance)],
        "missing": missing,
        "unpaired": intervals.find_unpaired(on_rungs(results)),
        "left_out": results.left_out,
    }
    facts["contents"] = contents(facts)
    return {
        name: environment_of(name).get_template(f"{name}.j2").render(facts).encode()
        for name in ("report.html", "report.md", "table.tex", "table-full.tex")
    }


def interactive_facts(results: Results) -> dict:
    """Return what the page's curves are made of; nothing is there without a measurement."""
    numbers = curve_data.numbers(results)
    return {
        "bokeh": interactive.script(),
        "numbers": curve_data.as_json(numbers),
        "panels": curve_data.as_json(interactive.items(results)),
        "policies": numbers["policies"],
        "has_batchnorm": bool(results.reestimated),
        "regimes": interactive.swatches(results),
    }


def contents(facts: dict) -> list[tuple[str, str]]:
    """Return the id and title of each section of the page, in order."""
    return [
        ("means", "What the numbers mean"),
        *((f"of-{name}", name) for name in facts["measured"]),
        *([("takes", "What it would take")] if facts["compared"] else []),
        *((part.name, part.title) for part in facts["further"]),
        ("runs", "Runs"),
        ("gaps", "What is missing"),
        ("provenance", "Plan and provenance"),
    ]


def on_rungs(results: Results) -> pd.DataFrame:
    """Return the rows that both regimes of a seed have: not those at the break of one of them."""
    rows, sweep = results.rows, results.plan.sweep
    rungs = {*sweep.alphas, *noises.FAMILIES["gaussian"].beyond}
    return rows[rows.alpha.isin(rungs)] if sweep.find_break else rows


def environment_of(name: str) -> jinja2.Environment:
    """Return what renders a page: in HTML and in Markdown, all that a template says of results is
    escaped, unless it says so; in LaTeX, what it marks."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=name.endswith((".html", ".md")),
        finalize=as_markdown if name.endswith(".md") else None,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"latex": latex, "md": as_markdown, "url": as_url, "of": number_of}
    return environment


def settings_table(plan: Plan) -> Table:
    """Return the plan: what was asked for."""
    recipe = written(plan.recipe)
    if "epochs" in recipe:
        recipe["epochs"] = ", ".join(f"{name} {n}" for name, n in plan.epochs.items())
    body = [[name, as_text(value)] for name, value in recipe.items()]
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


def as_url(chart: Chart, architecture: str) -> str:
    """Return the panel of an architecture as a data URL of an SVG image."""
    image = plots.encode(chart.panels([architecture]), "svg")
    return "data:image/svg+xml;base64," + base64.b64encode(image).decode()


def latex(text: str) -> str:
    """Return text with LaTeX's special characters and our symbols as commands."""
    text = re.sub(r"(?<!\w)-(?=\d)", "−", one_line(text))
    text = "".join(LATEX.get(c, c) for c in text.replace("₅₀", "\0")).replace("\0", LATEX["₅₀"])
    # Behind the end of a row, a bracket or star would be an argument of it.
    return f"{{}}{text}" if text.startswith(("[", "*")) else text


def markdown(text: str) -> str:
    """Return text as Markdown that shows it as it is: no tags, links, emphasis or cells."""
    text = HTML.sub(lambda found: html.escape(found[0]), one_line(text))
    return MARKDOWN.sub(lambda found: found[0][:-1] + "\\" + found[0][-1], text)


def as_markdown(value) -> Markup:
    """Return a value as escaped Markdown; what is already, and blank lines, as they are."""
    text = str(value)
    return Markup(text if hasattr(value, "__html__") or not text.strip() else markdown(text))


def one_line(text: str) -> str:
    """Return text without line ends and other control characters, which mean something to TeX."""
    return "".join(c if c.isprintable() else " " for c in str(text))

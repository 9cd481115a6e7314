"""Curves that answer to the pointer, as what a page embeds. No torch; Bokeh, here alone.

Bokeh's script and panels without data stand in the page, and beside them the numbers of every noise
and policy; `templates/page.js` puts those that are chosen into the panels.
"""

from pathlib import Path

import bokeh
from bokeh.embed import json_item
from bokeh.models import ColumnDataSource, CustomJS, FixedTicker, HoverTool, Range1d, Span, TapTool
from bokeh.plotting import figure
from markupsafe import Markup

from reporting import plots
from reporting.curve_data import regimes_of
from reporting.results import Results
from store.own import SCORE_UNIT

SCRIPT = Path(bokeh.__file__).parent / "server" / "static" / "js" / "bokeh.min.js"
MARKERS = dict(
    zip("os^DvP", ("circle", "square", "triangle", "diamond", "inverted_triangle", "plus"))
)
DASHES = {"-": "solid", "--": "dashed", "-.": "dashdot", ":": "dotted"}
SVG_DASHES = {"-": "none", "--": "6 3", "-.": "6 3 1 3", ":": "2 3"}
SVG_MARKERS = {
    "o": "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0",
    "s": "M-4 -4h8v8h-8z",
    "^": "M0 -5l4.5 8h-9z",
    "D": "M0 -5l5 5l-5 5l-5 -5z",
    "v": "M0 5l4.5 -8h-9z",
    "P": "M-1.5 -4.5h3v3h3v3h-3v3h-3v-3h-3v-3h3z",
}
TOOLTIPS = """
<div class="tip"><b>@regime{safe}</b>, strength @strength<br>
@mean{0.0000} <span>@interval</span><br>
n = @n, @draws draws each</div>"""
SEED_TIP = """
<div class="tip"><b>@regime{safe}</b>, seed @seed, strength @strength<br>@y{0.0000}<br>
<span>press for the facts of this run</span></div>"""
EMPTY = {
    "mean": ("x", "mean", "low", "high", "interval", "n", "draws", "strength", "regime"),
    "seeds": ("x", "y", "seed", "strength", "run", "regime"),
}


def script() -> Markup:
    """Return Bokeh's own script, to stand in a page. Nothing is fetched."""
    return Markup(SCRIPT.read_text(encoding="utf-8"))


def items(results: Results) -> list[dict]:
    """Return a panel per measured architecture, as Bokeh's JSON, the same every time."""
    looks = plots.looks(results.rows.regime)
    found = []
    for n, name in enumerate(results.measured):
        panel = make_panel(results, {r: looks[r] for r in regimes_of(results, name)}, name)
        found.append(steady(json_item(panel, target=f"curve-{n}"), f"c{n}"))
    return found


def make_panel(results: Results, looks: dict[str, dict], name: str) -> figure:
    """Return the panel of one architecture, without data: a band, a curve and the seeds of each
    regime, chance, and where the axis bends."""
    rows = results.rows[results.rows.architecture == name]
    score = bool((rows.total == SCORE_UNIT).any())
    panel = figure(
        height=250,
        sizing_mode="stretch_width",
        x_range=Range1d(-0.04, 1.04),
        **({} if score else {"y_range": Range1d(0, 1.02)}),
        toolbar_location=None,
        tools="",
        y_axis_label="score" if score else "accuracy",
        x_axis_label="noise strength α",
    )
    panel.xaxis.ticker = FixedTicker(ticks=[])
    panel.outline_line_color, panel.xgrid.grid_line_color = None, "#eeeeee"
    panel.ygrid.grid_line_color = "#e4e4e4"
    for axis in (panel.xaxis, panel.yaxis):
        axis.axis_label_text_font_style = "normal"
        axis.axis_label_text_color = axis.major_label_text_color = "#333333"
        axis.minor_tick_line_color = None
        axis.axis_label_standoff = 4
    chance = Span(location=0, dimension="width", line_color="#555555", name="chance")
    chance.line_dash, chance.line_width = [4, 3], 1
    knee = Span(location=0, dimension="height", line_color="#aaaaaa", name="knee")
    knee.line_dash = [1, 3]
    reader = Span(location=0, dimension="height", line_color="#1a1a1a", name="reader")
    reader.visible = False
    panel.renderers.extend([chance, knee, reader])
    means, seeds = [], []
    for n, look in enumerate(looks.values()):
        sources = {
            kind: ColumnDataSource({c: [] for c in columns}, name=f"{kind}-{n}")
            for kind, columns in EMPTY.items()
        }
        color, kind = look["color"], MARKERS[look["marker"]]
        band = {"source": sources["mean"], "fill_color": color, "fill_alpha": 0.15}
        line = {"source": sources["mean"], "line_color": color, "line_width": 2.5}
        drawn = [
            panel.varea("x", "low", "high", **band),
            panel.line("x", "mean", line_dash=DASHES[look["linestyle"]], **line),
        ]
        dot = {"source": sources["seeds"], "marker": "circle", "size": 5, "fill_color": color}
        seeds.append(panel.scatter("x", "y", line_color=None, fill_alpha=0.35, **dot))
        dot = {"source": sources["mean"], "marker": kind, "size": 8, "fill_color": color}
        means.append(panel.scatter("x", "mean", line_color="white", **dot))
        for glyph in (*drawn, seeds[-1], means[-1]):
            glyph.name = f"regime-{n}"
            glyph.nonselection_glyph = None
    panel.add_tools(HoverTool(renderers=means, tooltips=TOOLTIPS, mode="mouse"))
    panel.add_tools(HoverTool(renderers=seeds, tooltips=SEED_TIP, mode="mouse"))
    open_run = CustomJS(
        code="const n = cb_data.source.inspected.indices[0] ?? cb_data.source.selected.indices[0];"
        "if (n !== undefined) window.showRun(cb_data.source.data.run[n])"
    )
    panel.add_tools(TapTool(renderers=seeds, behavior="inspect", callback=open_run))
    return panel


def steady(item: dict, prefix: str) -> dict:
    """Return Bokeh's JSON with ids that depend on the panel alone: Bokeh counts on in a process,
    and draws that of a document."""
    known: dict[str, str] = {item["root_id"]: f"{prefix}-0"}

    def find(part) -> None:
        if isinstance(part, dict):
            if part.get("type") == "object" and "id" in part:
                known.setdefault(part["id"], f"{prefix}-{len(known)}")
            for value in part.values():
                find(value)
        elif isinstance(part, list):
            for value in part:
                find(value)

    def rename(part, key=""):
        if isinstance(part, dict):
            return {name: rename(value, name) for name, value in part.items()}
        if isinstance(part, list):
            return [rename(value) for value in part]
        return known.get(part, part) if key in ("id", "root_id") else part

    find(item["doc"])
    return rename(item)


def swatches(results: Results) -> dict[str, dict]:
    """Return colour, dashes and marker of each measured regime, as SVG has them."""
    looks = plots.looks(results.rows.regime)
    have = {r for name in results.measured for r in regimes_of(results, name)}
    return {
        name: {
            "color": look["color"],
            "dash": SVG_DASHES[look["linestyle"]],
            "path": SVG_MARKERS[look["marker"]],
        }
        for name, look in looks.items()
        if name in have
    }

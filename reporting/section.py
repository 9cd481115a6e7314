"""What one section of the report contributes: CSV files, tables, sentences, charts. No torch."""

from collections.abc import Callable
from dataclasses import dataclass, field

import pandas as pd
from matplotlib.figure import Figure

from reporting import plots
from reporting.text import Table


@dataclass(frozen=True)
class Chart:
    """A figure with a panel per architecture."""

    title: str
    draw: Callable[..., None]
    """Draws a panel: takes the axes, and of each frame the part of one architecture."""
    frames: tuple[pd.DataFrame, ...]
    """What is drawn. An architecture without rows in the first has nothing to show."""
    architectures: list[str]
    """The panels of the figure's files."""
    describe: Callable[[pd.DataFrame], str] = plots.describe_draws
    """Returns from the first frame what a panel's title says after the architecture."""
    caption: str = ""
    """What the page says below a panel, if not the title."""

    def panels(self, architectures: list[str] | None = None) -> Figure:
        """Return the figure of some architectures, or of all."""
        names = self.architectures if architectures is None else architectures
        return plots.panels(self.draw, self.frames, names, self.describe)

    @property
    def measured(self) -> list[str]:
        """The architectures that have something to show."""
        return [name for name in self.architectures if (self.frames[0].architecture == name).any()]


@dataclass(frozen=True)
class Section:
    """What one file of `reporting` adds to the report.

    With a title and tables it stands under a heading of its own. Without a title its charts and
    `by_architecture` stand with those of each architecture; what else it has, templates place.
    """

    name: str
    title: str = ""
    intro: str = ""
    """A paragraph for the page."""
    brief: str = ""
    """The same for Markdown."""
    sentences: dict[str, list[str]] = field(default_factory=dict)
    """What is found, by architecture."""
    by_architecture: dict[str, Table] = field(default_factory=dict)
    tables: list[Table] = field(default_factory=list)
    """The tables that are not of one architecture."""
    charts: dict[str, Chart] = field(default_factory=dict)
    """By the name of their files."""
    csv: dict[str, pd.DataFrame] = field(default_factory=dict)
    """By the name of the file."""

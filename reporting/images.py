"""What holds for these images and what for new ones, and which break first. No torch.

Tables and sentences are of `analysis.images`; a summary without pictures (`store.pictures`: no data
set was at hand) shows empty frames.
"""

import contextlib

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analysis.images import with_images
from analysis.verdicts import t_factor
from reporting.results import Results
from reporting.section import Chart, Section
from reporting.text import Table, number
from store.pictures import pixels_of

INTRO = (
    "Everywhere else in this report, intervals are over seeds and draws, on the very images that "
    "were measured on. Other images of the same kind would give other numbers, too. Here both are "
    "said: 95% t-intervals over seeds, each by itself, for these images; and for new ones, with "
    "the variance of images (seeds and images crossed) added. The shares say of what the "
    "uncertainty for new images is: more seeds, more draws or more images make theirs smaller. "
    "The images that break first are right without noise in every model of the architecture, and "
    "wrong in more than half of the draws, each model counting alike, from the smallest α on "
    "(interpolated between the strengths measured)."
)
COLUMNS = ["architecture", "regime", "alpha", "effect", "half", "half_new"]
SHARES = ["of_seeds", "of_draws", "of_images"]
NUMBERS = ["seeds", "draws", "images"]
ACROSS = 5
"""Pictures beside each other."""


def section(results: Results) -> Section:
    """Return what is known of single images; empty where their answers were not kept."""
    summary = results.answered
    if not summary or not summary["weights"]:
        return Section("images")
    both, first = compare(results.effects, summary["components"]), first_frame(results)
    names = [n for n in results.architectures if n in {*both.architecture, *first.architecture}]
    tables = [of_effects(both, n) for n in names] + [of_first(first, n) for n in names]
    shown = [name for name in names if (first.architecture == name).any()]
    title = "The images that break first"
    chart = Chart(title, draw_first, (first,), shown, lambda rows: "")
    return Section(
        "images",
        title="These images and new ones" if names else "",
        intro=INTRO,
        brief=INTRO,
        sentences={n: say(both[both.architecture == n], results.images) for n in names},
        tables=[table for table in tables if table.body],
        charts={"images": chart} if shown else {},
        csv={"images.csv": both[[*COLUMNS, *SHARES, *NUMBERS]]} if names else {},
    )


def compare(effects: pd.DataFrame, components: list[dict]) -> pd.DataFrame:
    """Return each effect with its interval for these images and for new ones.

    Args:
        effects: `intervals.paired_effects`.
        components: rows of `analysis.images.effects`.

    Returns:
        A row per architecture, regime and α of both: effect, half and half_new (half-widths,
        fractions), the shares of seeds, draws and images in the variance for new images, and
        the numbers of seeds and draws of the effect and of images.
    """
    known = pd.DataFrame(
        components,
        columns=["architecture", "regime", "alpha", "images", "seed", "draw", "image"],
    ).astype({"alpha": float, "images": float, "seed": float, "draw": float, "image": float})
    key = ["architecture", "regime", "alpha"]
    mine = effects.astype({"architecture": str, "regime": str})
    table = mine.merge(known, on=key)
    table = table[table.image.notna() & (table.seeds > 1)].reset_index(drop=True)
    table["half"] = t_factor(table.seeds) * table.sd / np.sqrt(table.seeds)
    table["half_new"] = with_images(table.half, table.image, table.images)
    parts = pd.DataFrame(
        {
            "of_seeds": table.seed / table.seeds,
            "of_draws": (table.draw / (table.seeds * table.draws)).fillna(0),
            "of_images": table.image / table.images,
        }
    )
    whole = parts.sum(axis=1)
    table[SHARES] = parts.div(whole.where(whole > 0), axis=0)
    return table[[*COLUMNS, *SHARES, *NUMBERS]].astype({"images": int})


def first_frame(results: Results) -> pd.DataFrame:
    """Return the images that break first: a row per architecture and image with its place, label
    (None if not known) and pixels (None likewise)."""
    rows = []
    for name, found in results.answered["first"].items():
        for place, row in enumerate(found):
            picture = results.answered["pictures"].get(str(row["image"]), {})
            pixels = None
            with contextlib.suppress(ValueError):
                pixels = pixels_of(picture)
            rows.append([name, place, row["image"], picture.get("label"), row["alpha"], pixels])
    columns = ["architecture", "place", "image", "label", "alpha", "pixels"]
    return pd.DataFrame(rows, columns=columns).astype({"label": object})


def say(both: pd.DataFrame, images: str) -> list[str]:
    """Return the effect without noise, and that whose interval new images widen most, in words."""
    if both.empty:
        return []
    lines = []
    for regime, mine in both.groupby("regime", sort=False):
        wider = (mine.half_new / mine.half.where(mine.half > 0)).fillna(0)
        rows = [*mine.index[mine.alpha == 0], wider.idxmax()]
        said = "; ".join(say_effect(mine.loc[row], images) for row in dict.fromkeys(rows))
        lines.append(f"{regime}: {said}.")
    return lines


def say_effect(row: pd.Series, images: str) -> str:
    """Return an effect with both its intervals in words."""
    return (
        f"at α = {row.alpha:g} {100 * row.effect:+z.2f} points, on these {row.images:,} {images} "
        f"images ± {digits(100 * row.half)}, for new ones ± {digits(100 * row.half_new)}"
    )


def digits(value: float) -> str:
    """Return a half-width in points, with two digits that count."""
    return f"{value:.3f}" if value < 0.1 else f"{value:.2f}"


def of_effects(both: pd.DataFrame, architecture: str) -> Table:
    """Return each effect of an architecture with both its intervals and what they are made of."""
    body = []
    for row in both[both.architecture == architecture].itertuples():
        halves = [f"± {digits(100 * half)}" for half in (row.half, row.half_new)]
        shares = [number(getattr(row, name), 0, 100) for name in SHARES]
        cells = [f"{row.alpha:g}", row.regime, f"{100 * row.effect:+z.2f}", *halves, *shares]
        body.append([*cells, f"{row.seeds} / {row.draws} / {row.images}"])
    caption = (
        f"{architecture}: effect in points; half-widths of 95% intervals, each by itself; shares "
        "in percent of the variance for new images"
    )
    header = ["α", "Regime", "Effect", "These images", "New images"]
    header += ["Seeds", "Draws", "Images", "n seeds / draws / images"]
    return Table(caption, header, body)


def of_first(first: pd.DataFrame, architecture: str) -> Table:
    """Return the images of an architecture that break first."""
    body = [
        [f"{row.place + 1}", f"{row.image}", label_of(row), f"{row.alpha:.3g}"]
        for row in first[first.architecture == architecture].itertuples()
    ]
    caption = f"{architecture}: the images that break first, by their number from 0"
    return Table(caption, ["Rank", "Image", "Label", "Breaks at α"], body)


def label_of(row) -> str:
    """Return the label of an image in words."""
    return "–" if row.label is None else str(row.label)


def draw_first(axes: Axes, first: pd.DataFrame) -> None:
    """Draw the images of an architecture that break first, with label and α."""
    for row in first.itertuples():
        x, y = row.place % ACROSS, row.place // ACROSS * 1.42
        box = (x - 0.46, x + 0.46, y + 0.46, y - 0.46)
        if row.pixels is None:
            axes.plot([*box[:2], box[1], box[0], box[0]], [box[2], box[2], *box[3:] * 2, box[2]])
        else:
            axes.imshow(row.pixels, cmap="gray_r", vmin=0, vmax=255, extent=box, aspect="equal")
        words = f"{label_of(row)}   α = {row.alpha:.2g}"
        axes.text(x, y + 0.52, words, ha="center", va="top", fontsize=7)
        axes.text(x, y + 0.72, f"no. {row.image}", ha="center", va="top", fontsize=6, color="#555")
    axes.set(xlim=(-0.5, ACROSS - 0.5), ylim=(2.36, -0.5), aspect="equal")
    axes.set_axis_off()

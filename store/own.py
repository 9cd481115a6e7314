"""The identity of runs that were trained elsewhere: somebody's own models on their own data."""

from dataclasses import dataclass, field, replace

from config import Run

OWN_VERSION = 1
"""Raise by one whenever what these identities mean changes."""
SCORE_UNIT = 10**9
"""The `total` of a row whose `correct` is a score in billionths, instead of a count of answers."""


def _aside(default=""):
    """A field that is told to people, and is no part of what was measured."""
    return field(default=default, compare=False)


@dataclass(frozen=True)
class Task:
    """What own models are measured on: it stands in a plan where a recipe does. No field of it
    shapes the weights, so these are named by their digests."""

    data: str
    """SHA-256 of the test data; of what measures, where that is a function of the user's."""
    noisy: tuple[str, ...] = ()
    """Name patterns: see `noise.noisy_parameters`."""
    clean: tuple[str, ...] = ()
    calibration: str = ""
    """SHA-256 of the data on which BatchNorm statistics are taken anew; "" = there are none."""
    dataset: str = _aside()
    """Name of the test data."""
    score: str = _aside()
    """Name of the score, where the measure is one; "" = accuracy."""
    chance: float = _aside(0.0)
    """Accuracy, or score, of guessing."""
    baseline: str = _aside("clean")
    """The regime that others are compared with."""
    weights: tuple[str, ...] = _aside(())
    """Of each model "DIGEST SEED REGIME"."""
    validation_size: int = _aside(0)
    """As in a recipe: these are test data."""

    def weights_of(self, regime: str, seed: int) -> str:
        """Return the digest of a model's weights; "" where there is no such model."""
        found = {tuple(w.split(" ", 2)[1:]): w.split(" ", 1)[0] for w in self.weights}
        return found.get((str(seed), regime), "")

    def knowing(self, words: tuple[str, ...]) -> "Task":
        """Return the task with more models; of those that it has the weights stay."""
        mine = {w.split(" ", 1)[1]: w for w in (*words, *self.weights)}
        return replace(self, weights=tuple(mine.values()))


@dataclass(frozen=True)
class OwnRun(Run):
    """One of somebody's own models: architecture is the name of the file, regime and seed are what
    the file says."""

    recipe: Task

    @property
    def identity(self) -> dict:
        """Everything that shapes the measurements, as plain JSON data."""
        task = self.recipe
        recipe = {"data": task.data, "noisy": list(task.noisy), "clean": list(task.clean)}
        if task.calibration:
            recipe["calibration"] = task.calibration
        return {
            "architecture": self.architecture,
            "regime": self.regime,
            "seed": self.seed,
            "recipe": recipe,
            "recipe_version": OWN_VERSION,
            "weights": task.weights_of(self.regime, self.seed),
        }

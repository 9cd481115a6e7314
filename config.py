"""Every knob of the experiment, and the identity of a run.

A `Recipe` is everything that shapes the trained weights, a `Sweep` everything that shapes the
measurements. A `Run` is one architecture trained in one regime from one seed by one recipe; its
fingerprint names its files, so that a changed recipe never reuses an old checkpoint. Threads,
device and hardware are provenance: they are recorded, and are not part of the identity.
"""

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from typing import NamedTuple

RECIPE_VERSION = 1
"""Raise by one whenever code that shapes trained weights changes: models, data order, noise,
optimiser. It enters every fingerprint, so that old checkpoints are then retrained, not reused."""

EPOCHS = {"mlp": 8, "cnn": 8, "resnet18": 2, "vit": 8}
"""Passes over the training images. Of the MLP and the CNN the double gains less than 0.1 point of
validation accuracy in either regime, by `studies/pilot.py`; of ResNet-18 and the ViT, for which
that takes longer than an hour for the default command allows, `docs/answer.md` says what it
gains."""
DOUBLING = {"resnet18": (0.16, 0.37), "vit": (0.23, 1.17)}
"""Points of validation accuracy, trained clean and noisy, that twice those epochs gain on MNIST,
where it is 0.1 or more: the means of `results/reference/pilot/epochs.csv`."""
USUAL_EPOCHS = 4
"""Those of an architecture that is not in `EPOCHS`."""

LEAST_DRAWS = 10
"""Draws of the first of two stages: the spread over fewer is too little known."""
FIRST_ALPHAS = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2)
"""What is measured in any case where no strengths are asked for, before the break is looked for."""
ONWARD = "..."
"""Behind the strengths of a noise family: and on from there, to the break."""
ANEW_DRAWS = 3
"""Draws with re-estimated BatchNorm statistics, where their number is not asked for: they hardly
spread."""
REESTIMATED = "reestimated"
"""The second BatchNorm policy: statistics taken anew under the very noise, before measuring. The
first, frozen statistics, is not named in settings."""
PAIRS = {"mlp": 32, "cnn": 32}
"""Pairs ±ε that `Sweep.antithetic` measures, by architecture, where they cost seconds."""
FEW_PAIRS = 12
"""Those of every other architecture: a pass of it costs more."""
PROBE_IMAGES = 1024
"""The first training images, on which the curvature is predicted and measured."""


class Shape(NamedTuple):
    """What a model takes and gives: images (B, C, H, W), float32 in [0, 1], and logits (B, K)."""

    channels: int = 3
    height: int = 28
    width: int = 28
    classes: int = 10


@dataclass(frozen=True)
class Regime:
    """How a model is trained: a name for a method with its parameters."""

    method: str
    """Name in `methods.METHODS`."""
    noise: float = 0.0
    """Training-noise strength in units of the recipe's `alpha_train`; 0 trains without noise."""
    parameters: Mapping[str, float | str] = field(default_factory=dict)
    """The method's own. They have no defaults in the method, so that all are in the identity."""

    def __post_init__(self):
        if self.noise < 0:
            raise ValueError("takes a noise ≥ 0")
        if self.method == "plain" and self.noise:
            raise ValueError("method 'plain' trains without noise; 'injection' trains with it")
        if self.noise and "strength" in self.parameters:
            raise ValueError("takes a strength, and trains without the noise of a regime")


def shortest(value: float) -> str:
    """Return a number as `f"{value:g}"` where that is the number itself."""
    return f"{value:g}" if float(f"{value:g}") == value else repr(value)


class Regimes(dict[str, Regime]):
    """Regimes by name. `NAME:PARAMETER=VALUE` is one of them with another value of one parameter,
    or of `noise`, as in `sam:rho=0.1`: what a study of parameters asks for, without a line."""

    def __missing__(self, name: str) -> Regime:
        base, colon, change = name.partition(":")
        if not (colon and base in self.keys()):
            raise KeyError(f"no regime {base!r}")
        regime = self[base]
        own = {"noise": regime.noise, **regime.parameters}
        key, _, text = change.partition("=")
        if key not in own:
            taken = ", ".join(f"{k}={v}" for k, v in own.items() if v or len(own) == 1)
            raise KeyError(f"{base} takes {taken}, not {key!r}")
        first = own[key]
        number = "a whole number" if isinstance(first, int) else "a number"
        try:
            value = type(first)(text) if isinstance(first, int | str) else float(text)
            plain = text if isinstance(value, str) else shortest(value)
        except ValueError:
            raise KeyError(f"{key} takes {number}, not {text!r}") from None
        if text == "" or (isinstance(value, float) and not math.isfinite(value)):
            raise KeyError(f"{key} takes {number}, not {text!r}")
        if plain != text:  # one name for each value
            raise KeyError(f"of this value write {base}:{key}={plain}")
        if key == "noise":
            return replace(regime, noise=value)
        return replace(regime, parameters={**regime.parameters, key: value})

    def __contains__(self, name) -> bool:
        try:
            self[name]
        except (KeyError, ValueError):
            return False
        return True


# One parameter of each method is the MLP's choice on validation images by `studies.tuning`, of as
# many trials for all (docs/methods.md); the others are published ones. `alpha_train` is for regimes
# with `noise`; a strength that is a parameter stays as it is.
GAUSSIAN = {"family": "gaussian"}
RANDBET = {"rate": 0.04, "clamp": 0.05, "w_max": 0.25, "threshold": 1.75}
IVON = {"lr": 0.4, "ess": 1, "hess_init": 0.5, "beta1": 0.9, "beta2": 0.99999, "delta": 1e-4}

REGIMES: dict[str, Regime] = Regimes()
REGIMES |= {
    "clean": Regime("plain"),
    "noisy": Regime("injection", noise=1.0),
    "ramped": Regime(
        "family_injection", parameters=GAUSSIAN | {"strength": 1.4, "ramp": 1.0, "spread": 0.0}
    ),
    "varied": Regime(
        "family_injection", parameters=GAUSSIAN | {"strength": 0.7, "ramp": 0.0, "spread": 0.5}
    ),
    "antithetic": Regime(
        "antithetic", parameters=GAUSSIAN | {"strength": 0.7, "ramp": 0.0, "spread": 0.0}
    ),
    "sam": Regime("sam", parameters={"rho": 0.2}),
    "asam": Regime("asam", parameters={"rho": 2.0, "eta": 0.01}),
    "awp": Regime("awp", parameters={"gamma": 0.01}),
    "rwp": Regime("rwp", parameters={"gamma": 0.04, "mix": 0.5}),
    "sign_ascent": Regime("sign_ascent", 1.0, {"beta": 0.0625, "zeta": 0.1, "steps": 10}),
    "ivon": Regime("ivon", parameters=IVON),
    "ema": Regime("ema", parameters={"decay": 0.9975}),
    "swa": Regime("swa", parameters={"start": 0.25}),
    "clipping": Regime("clipping", parameters={"sigmas": 10.0}),
    "dropout": Regime("dropout", parameters={"rate": 0.15}),
    "label_smoothing": Regime("label_smoothing", parameters={"smoothing": 0.025}),
    "distillation": Regime("distillation", 1.0, {"beta": 1.0, "temperature": 4.0}),
    "quantized": Regime("quantized", parameters={"bits": 6}),
    "randbet": Regime("randbet", parameters=RANDBET),
    "sign_awp": Regime("sign_awp", parameters={"zeta": 0.025, "steps": 10}),
}
DEFAULT_REGIMES = ("clean", "noisy")
"""What is trained when nothing is asked for, whatever else is registered."""

FIRST_METHODS = ({"name": "plain"}, {"name": "injection"})
"""Methods that an identity does not name: it had no word for them yet, and `alpha_train` tells."""


POSITIVE, NOT_NEGATIVE = "> 0", "≥ 0"
"""Bounds of the knobs that are not whole numbers; the others have the least and the largest."""


@dataclass(frozen=True)
class Recipe:
    """What shapes the trained weights, the same for every architecture."""

    dataset: str = "mnist"
    """Name in `data.DATASETS`; or folder:PATH, which is kept as folder:NAME@DIGEST."""
    epochs: int | None = field(default=None, metadata={"bounds": (1, 100_000)})
    """Passes over the training images, the same for every architecture. None = each architecture's
    own, as in `EPOCHS`, and 4 for one that is not there; or what `budget` says."""
    batch_size: int = 128
    """Images per optimiser step."""
    peak_lr: float = field(default=3e-3, metadata={"bounds": POSITIVE})
    """Largest learning rate of the one-cycle schedule (Smith and Topin, 2017), for AdamW."""
    weight_decay: float = field(default=0.01, metadata={"bounds": NOT_NEGATIVE})
    """AdamW's decoupled weight decay (Loshchilov and Hutter, 2019)."""
    alpha_train: float = field(default=0.7, metadata={"bounds": NOT_NEGATIVE})
    """Noise strength α of the noisy regime, relative to each weight tensor's standard deviation."""
    train_size: int = 0
    """Train on the first this many images; 0 = all."""
    validation_size: int = 0
    """Hold out the last this many training images and measure on them instead of on the test
    set: for choosing a recipe, so that the test set is opened once, at the end."""
    budget: int = field(default=0, metadata={"introduced": 0, "bounds": (0, 100_000)})
    """Give every method the images passed forward and backward of this many epochs of plain
    training, and a schedule of that length: at twice the cost, half the steps. 0 = equal epochs."""
    train_noise: str = field(default="gaussian", metadata={"introduced": "gaussian"})
    """Noise family of the noisy regime; `alpha_train` is its strength, in its own unit. Gradients
    go straight through where the family has none: see `methods.family_injection`."""

    def __post_init__(self):
        if self.budget > 0:  # of plain training, these are its epochs, whatever was said
            object.__setattr__(self, "epochs", self.budget)


@dataclass(frozen=True)
class Sweep:
    """What is measured on a trained model."""

    alphas: tuple[float, ...] = ()
    """Noise strengths α to measure and no others, relative to each weight tensor's standard
    deviation; 0 is among them. None = 0 0.01 0.02 0.05 0.1 0.2, and on until the break is found."""
    draws: int | None = field(default=None, metadata={"bounds": (1, 1_000_000)})
    """Noise draws for every α > 0, exactly so many; α = 0 is measured once. None = ten, and then a
    second stage (`two_stage`, or that of `precision`)."""
    test_size: int = 0
    """Measure on the first this many test images; 0 = all."""
    noise_seed: int = field(default=0, metadata={"bounds": (0, 2**31 - 1)})
    """Seed of the evaluation noise; other seeds give other, independent draws."""
    precision: float = 0.0
    """As many draws, α by α, as it takes to know the mean accuracy of a model over its draws to
    this half-width of its 95% t-interval, a fraction of 1 such as 0.002: found once, from the
    first ten of all runs. 0 = not asked for."""
    max_draws: int = 100
    """Draws for one α beyond which `precision` asks for no more."""
    antithetic: bool = False
    """Does flatness explain the fall? On the first training images measure pairs ±ε, which split
    the loss into its linear and its curvature term, and predict the latter from the Hessian along
    the same draws."""
    noise: tuple[str, ...] = field(default=(), metadata={"introduced": ()})
    """Noise families beside the Gaussian one, which is always measured: a name, or a name with its
    strengths, such as `NAME:0.1,0.5`. A plan holds each with its strengths."""
    find_break: bool = field(default=False, metadata={"introduced": False})
    """Go on beyond the strengths given, on a fixed ladder, until a model is halfway from its
    accuracy without noise to chance, and refine there (always where no strengths are given)."""
    two_stage: bool = field(default=False, metadata={"introduced": False})
    """When all runs of an architecture have `draws` draws (ten at least), find from their spread
    how many more it takes, α by α, for draws to count little beside seeds (always where neither
    draws nor a precision are given)."""

    def __post_init__(self):
        if self.draws is None:
            object.__setattr__(self, "draws", LEAST_DRAWS)
            object.__setattr__(self, "two_stage", self.two_stage or not self.precision)
        if not self.alphas:
            object.__setattr__(self, "alphas", FIRST_ALPHAS)
            object.__setattr__(self, "find_break", True)

    @property
    def families(self) -> dict[str, tuple[float, ...]]:
        """The further families that are asked for, each with its strengths."""
        named = (text.removesuffix(f",{ONWARD}").partition(":") for text in self.noise)
        return {name: tuple(map(float, listed.split(","))) for name, _, listed in named}

    def goes_on(self, name: str) -> bool:
        """Whether the break is looked for beyond the strengths of a further family."""
        return any(t.startswith(f"{name}:") and t.endswith(ONWARD) for t in self.noise)

    def of_family(self, name: str, draws: int | None, signed: bool) -> "Sweep":
        """Return the sweep of one further family: its strengths stand in `alphas`.

        Args:
            name: one of `families`.
            draws: how many different ones it has; None for any number.
            signed: whether −z means something for it.
        """
        few = {"draws": draws, "precision": 0.0, "two_stage": False}
        once = {} if draws is None else few
        own = {"alphas": self.families[name], "find_break": self.goes_on(name)}
        return replace(self, noise=(), antithetic=self.antithetic and signed, **own, **once)

    def settings_of(self, family: str, batchnorm: str = "") -> dict[str, int | str]:
        """Return the `settings` of a noise family and a BatchNorm policy ("" = frozen)."""
        named = {} if family == "gaussian" else {"noise": family}
        return {**self.settings, **named, **({"batchnorm": batchnorm} if batchnorm else {})}

    @property
    def settings(self) -> dict[str, int]:
        """What two measurements must share to stand in one table (α, draw, sign are their keys)."""
        return {"test_size": self.test_size, "noise_seed": self.noise_seed}

    @property
    def training_settings(self) -> dict[str, int]:
        """The same for what `antithetic` measures, on training images."""
        return {"train_part": PROBE_IMAGES, "noise_seed": self.noise_seed}

    def form_settings(self, architecture: str) -> dict[str, int]:
        """The same for the Hessian along the draws of these pairs."""
        return {**self.training_settings, "pairs": self.in_pairs(architecture).draws}

    def anew(self) -> "Sweep":
        """Return what of this sweep is measured with re-estimated BatchNorm statistics."""
        few = {"draws": ANEW_DRAWS, "precision": 0.0, "two_stage": False}
        return replace(self, **few) if self.staged else self

    def in_pairs(self, architecture: str) -> "Sweep":
        """Return what `antithetic` measures on training images, at the strengths of this sweep."""
        pairs = PAIRS.get(architecture, FEW_PAIRS)
        once = {"precision": 0.0, "two_stage": False}
        return replace(self, draws=pairs, find_break=False, noise=(), **once)

    @property
    def staged(self) -> bool:
        """Whether a second stage of draws follows."""
        return self.two_stage or self.precision > 0

    @property
    def first_draws(self) -> int:
        """Draws that every α > 0 has."""
        return max(self.draws, LEAST_DRAWS) if self.staged else self.draws

    @property
    def signs(self) -> tuple[int, ...]:
        """Signs with which each draw is applied."""
        return (1, -1) if self.antithetic else (1,)

    @property
    def points(self) -> list[tuple[float, int, int]]:
        """Every (α, draw, sign) that is measured in any case, draw by draw; α = 0 once, as draw 0.

        What `find_break` and a second stage add depends on the rows: see `analysis.needs`.
        """
        draws, alphas = range(self.first_draws), sorted(a for a in self.alphas if a > 0)
        return [(0.0, 0, 1), *((a, k, s) for k in draws for a in alphas for s in self.signs)]


@dataclass(frozen=True)
class Run:
    """One model to train and measure."""

    architecture: str
    """Name in `models.ARCHITECTURES`."""
    regime: str
    """Name in `REGIMES`."""
    seed: int
    """Seed of initial weights, batch order, training noise, dropout and evaluation draws."""
    recipe: Recipe = field(default_factory=Recipe)
    """Its epochs are the architecture's own where it does not say how many."""

    def __post_init__(self):
        if isinstance(self.recipe, Recipe) and self.recipe.epochs is None:
            own = EPOCHS.get(self.architecture, USUAL_EPOCHS)
            object.__setattr__(self, "recipe", replace(self.recipe, epochs=own))

    @property
    def method(self) -> dict:
        """Name and parameters of this run's training method."""
        regime, family = REGIMES[self.regime], self.recipe.train_noise
        if regime.method == "injection" and family != "gaussian":
            own = {"family": family, "strength": self.alpha_train, "ramp": 0.0, "spread": 0.0}
            return {"name": "family_injection", **own}
        return {"name": regime.method, **regime.parameters}

    @property
    def alpha_train(self) -> float:
        """Training-noise strength of this run."""
        return REGIMES[self.regime].noise * self.recipe.alpha_train

    @property
    def training_noise(self) -> tuple[str, float]:
        """Family and strength of the noise that is drawn in training; strength 0 where none is."""
        method = self.method
        if "strength" in method:
            return method["family"], method["strength"]
        return "gaussian", self.alpha_train

    @property
    def identity(self) -> dict:
        """Everything that shapes the weights, as plain JSON data.

        A clean run does not depend on the noisy regime's noise: its own (none) stands there.
        """
        other = REGIMES[self.regime].method != "injection"
        family = {"train_noise": "gaussian"} if other else {}
        recipe = written(replace(self.recipe, alpha_train=self.alpha_train, **family))
        named = {} if self.method in FIRST_METHODS else {"method": self.method}
        return {
            "architecture": self.architecture,
            "regime": self.regime,
            "seed": self.seed,
            "recipe": recipe,
            "recipe_version": RECIPE_VERSION,
            **named,
        }

    @classmethod
    def of(cls, identity: dict) -> "Run":
        """Return the run of an identity, as kept in records and checkpoints.

        Raises:
            ValueError: if it is not an identity of this version of the program.
        """
        try:
            recipe = Recipe(**{**introduced(Recipe), **identity["recipe"]})
            own = replace(recipe, alpha_train=asked_strength(identity["regime"], recipe))
            run = cls(identity["architecture"], identity["regime"], identity["seed"], own)
            same = run.identity == identity
        except (KeyError, TypeError) as error:
            raise ValueError(f"not an identity of this version ({error})") from None
        if not same:
            raise ValueError("an identity of another recipe version")
        return run

    @property
    def fingerprint(self) -> str:
        """First 10 hexadecimal digits of the SHA-256 of `identity`."""
        return digest(self.identity)[:10]

    @property
    def run_id(self) -> str:
        """Name of this run's files, such as `mlp-clean-seed0-1a2b3c4d5e`."""
        return name_of(self.identity)

    def others(self, regimes: Iterable[str]) -> list["Run"]:
        """Return the runs of the same architecture and seed in other regimes."""
        return [replace(self, regime=name) for name in regimes if name != self.regime]

    def stream_seed(self, stream: str) -> int:
        """Return the 32-bit seed of one random stream, such as "batch order".

        The regime is left out on purpose: a clean and a noisy run of one architecture and seed
        share initial weights and batch order, so that their difference is a paired one. 32 bits,
        because `torch.manual_seed` ignores the others on a CPU.
        """
        return int(digest([self.architecture, self.seed, stream])[:8], 16)


def name_of(identity: dict) -> str:
    """Return the name of a run's files: what is no part of a file's name is replaced in it."""
    words = (re.sub(r"[^\w.=+-]", "_", identity[k])[:60] for k in ("architecture", "regime"))
    return f"{'-'.join(words)}-seed{identity['seed']}-{digest(identity)[:10]}"


def say_parameters(method: Mapping[str, float | str]) -> str:
    """Return the parameters of a method, as identities have it, in words; without those at 0."""
    own = {key: value for key, value in method.items() if key != "name" and value}
    return ", ".join(f"{k} {v:g}" if not isinstance(v, str) else v for k, v in own.items())


def asked_strength(regime: str, recipe: Recipe) -> float:
    """Return the recipe's training strength of which a regime's own, as in identities, is made."""
    own, noise = recipe.alpha_train, REGIMES[regime].noise
    near = own / noise if noise else own
    for towards in (0.0, math.inf):  # a quotient may be rounded by two steps
        found = near
        for _ in range(3):
            if noise and found * noise == own:
                return found
            found = math.nextafter(found, towards)
    return near


def introduced(kind: type) -> dict:
    """Return the fields that a dataclass was given later, with the values they began with.

    Such a field has `field(default=…, metadata={"introduced": value})`. While it holds that value
    it is not written: records, checkpoints and plans of before stay what they are, for ever, and
    a later change of the default is written.
    """
    return {f.name: f.metadata["introduced"] for f in fields(kind) if "introduced" in f.metadata}


def written(knobs: Recipe | Sweep) -> dict:
    """Return a dataclass as plain data, without later fields that hold what they began with."""
    first = introduced(type(knobs))
    return {k: v for k, v in asdict(knobs).items() if first.get(k, MISSING) != v}


def digest(data) -> str:
    """Return the SHA-256 of plain JSON data, whatever the order of its keys."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def make_runs(architectures, regimes, seeds, recipe, kind: type[Run] = Run) -> list[Run]:
    """Return the plan's runs: every architecture × regime × seed."""
    return [kind(a, r, s, recipe) for a in architectures for s in seeds for r in regimes]

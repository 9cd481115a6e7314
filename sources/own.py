"""A user's own file → the models that there are, and how one of them is measured.

The file defines `model()`, or `models()` by (regime, seed); and `batches()`, or `measure(model)`.
Optional: NOISY, CLEAN, CHANCE, SCORE, BASELINE, `calibration()`. `docs/model.md` says what each is.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from numbers import Real
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor, nn

from machine.checks import UsageError, choose_device, shown
from sources.digests import source_digest
from sources.examples import Batches, Unfit, check_alone, classes_of, count
from sources.project import Project, check_file
from store.own import SCORE_UNIT, Task

ALONE = "model"
"""The regime of a model that is the only one."""
ADVICE = "for what is counted otherwise, write measure(model) -> (correct, total, loss_sum)"
Row = tuple[int, int, float | None]
Key = tuple[str, int]


@dataclass
class Own:
    """Somebody's own models, and how they are measured."""

    name: str
    """Of the models together, and of their results' folder."""
    models: dict[Key, nn.Module | Callable[[], nn.Module]]
    """By regime and seed; or what makes one, when it is its turn."""
    measure: Callable[[nn.Module], Row]
    """Correct answers, of how many, summed loss; of a score as `SCORE_UNIT` says."""
    task: Task
    examples: int = 0
    """How many test examples there are; 0 = the user's measure knows."""
    calibration: Callable[[nn.Module], object] | None = None
    """Yields the batches x on which BatchNorm statistics are taken anew, for a model."""
    project: Project | None = None
    device: torch.device | None = None
    """Where to compute; None = where the models are."""
    names_baseline: bool = False
    """Whether the file says which regime others are compared with."""
    notes: list[str] = field(default_factory=list)
    """Lines that the reader should know."""

    def model(self, key: Key) -> nn.Module:
        """Return a model, in evaluation mode.

        Raises:
            UsageError: if it cannot be made.
        """
        made = self.models[key]
        if not isinstance(made, nn.Module):
            with self.project.at_home(), self.project.told(f": {key}"):
                made = made()
        if not isinstance(made, nn.Module):
            raise UsageError(f"--model: {key} is {type(made).__name__}, where a Module is taken")
        return (made.to(self.device) if self.device else made).eval()


def inner(model: nn.Module) -> nn.Module:
    """Return the model inside a wrapper, which has the parameters under their own names: noise is
    drawn by name, and is then the same in one that is compiled or in parallel and one that is not.
    """
    parallel = (nn.DataParallel, nn.parallel.DistributedDataParallel)
    while isinstance(model, parallel) or hasattr(model, "_orig_mod"):
        model = model.module if isinstance(model, parallel) else model._orig_mod
    return model


def device_of(model: nn.Module) -> torch.device:
    """Return where a model's parameters are."""
    return next((p.device for p in model.parameters()), torch.device("cpu"))


def read_file(path: Path, test_size: int = 0, device: str = "") -> Own:
    """Read a user's file; with a device, its models are moved there.

    Raises:
        UsageError: what is wrong with it, in a line.
    """
    check_file(path)
    project = Project(path)
    module = project.load()
    say = f"--model: {path.name}:"
    models = read_models(module, project, say)
    values = {name: getattr(module, name, None) for name in ("CHANCE", "SCORE", "BASELINE")}
    chance, score = values["CHANCE"], values["SCORE"] or ""
    check_number(chance, f"{say} CHANCE")
    if not (score or chance is None or 0 <= chance <= 1):
        raise UsageError(f"{say} CHANCE of accuracy is from 0 to 1, got {chance:g}")
    patterns = {
        n.lower(): read_patterns(getattr(module, n, ()), n, say) for n in ("NOISY", "CLEAN")
    }
    both = [callable(getattr(module, name, None)) for name in ("batches", "measure")]
    if sum(both) != 1:
        got = "has both" if all(both) else "has neither"
        if hasattr(module, "batches") and not any(both):
            got = f"batches is {type(module.batches).__name__}, no function"
        raise UsageError(f"{say} takes batches() or measure(model), and {got}")
    own = Own(path.stem, models, lambda model: (0, 1, None), Task(""), project=project)
    own.device = choose_device(device) if device else None
    facts = {"dataset": path.name, "score": score, **patterns}
    if both[0]:
        if score:
            raise UsageError(f"{say} SCORE is for measure(model), which then returns that score")
        with project.at_home(), project.told(" batches()"), fits(f"{say} batches():"):
            data = Batches(module.batches, test_size)
            first = own.model(next(iter(models)))
            batch = next(data.on(device_of(first)))
            classes = classes_of(inner(first), batch)
        own.measure, own.examples = counting(data, project, say), data.examples
        facts |= {"data": data.digest, "chance": 1 / classes if chance is None else chance}
    else:
        if test_size:
            raise UsageError("--test-size: is for batches(); measure(model) has its own data")
        own.measure = measuring(module, project, score, chance or 0.0, say)
        facts |= {"data": source_digest(path, "measure"), "chance": chance or 0.0}
        if chance is None:
            own.notes.append("CHANCE is not said: the level of guessing is taken as 0")
    if callable(getattr(module, "calibration", None)):
        with project.at_home(), project.told(" calibration()"), fits(f"{say} calibration():", ""):
            training = Batches(module.calibration)
            if both[0]:
                check_alone(next(training.fresh()), batch)
        own.calibration = lambda model: training.on(device_of(model))
        facts["calibration"] = training.digest
    first_regime = next(iter(models))[0]
    usual = "clean" if any(regime == "clean" for regime, _ in models) else first_regime
    baseline = values["BASELINE"] or usual
    if baseline not in {regime for regime, _ in models}:
        raise UsageError(f"{say} BASELINE is {shown(baseline)}, which is no regime of models()")
    own.task, own.names_baseline = Task(**facts, baseline=baseline), bool(values["BASELINE"])
    return own


class fits:
    """Within this context what does not fit is said in a line, with what to do about it."""

    def __init__(self, say: str, advice: str = f"; {ADVICE}"):
        self.say, self.advice = say, advice

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace) -> None:
        if isinstance(error, Unfit):
            raise UsageError(f"{self.say} {error}{self.advice}") from None


def read_models(module: ModuleType, project: Project, say: str) -> dict[Key, object]:
    """Return the models of a file by (regime, seed)."""
    one, many = (getattr(module, name, None) for name in ("model", "models"))
    if callable(one) == callable(many):
        got = "has both" if callable(one) else "has neither"
        raise UsageError(f"{say} takes model() -> nn.Module or models() -> dict, and {got}")
    with project.at_home(), project.told(" model()" if one else " models()"):
        found = {(ALONE, 0): one()} if callable(one) else many()
    if not isinstance(found, dict) or not found:
        raise UsageError(f"{say} models() takes a dict of models by (regime, seed)")
    for key, made in found.items():
        check_key(key, say)
        if not callable(made):  # a Module is
            what = "model()" if callable(one) else f"models() of {key}"
            raise UsageError(f"{say} {what} is {type(made).__name__}, no nn.Module")
    seen: dict[int, Key] = {}
    for key, made in found.items():
        if isinstance(made, nn.Module) and id(inner(made)) in seen:
            other = seen[id(inner(made))]
            raise UsageError(f"{say} {other} and {key} are one and the same module; build two")
        seen[id(inner(made) if isinstance(made, nn.Module) else key)] = key
    return found


def check_key(key, say: str) -> None:
    """Check that a key of `models()` names a regime and a seed."""
    fine = isinstance(key, tuple) and len(key) == 2
    fine = fine and isinstance(key[0], str) and key[0].strip() == key[0] != ""
    fine = fine and key[0].isprintable() and len(key[0]) <= 60 and key[0][0] != "_"
    if not (fine and type(key[1]) is int and 0 <= key[1] < 2**31):
        raise UsageError(
            f"{say} models() takes keys (regime, seed), such as ('clean', 0), and not "
            f"{shown(repr(key))}"
        )


def read_patterns(patterns, name: str, say: str) -> tuple[str, ...]:
    """Return NOISY or CLEAN as a tuple; a string is a list of one."""
    patterns = (patterns,) if isinstance(patterns, str) else tuple(patterns)
    if not all(isinstance(p, str) for p in patterns):
        raise UsageError(f"{say} {name} takes a list of name patterns, such as ['head.weight']")
    return patterns


def check_number(value, say: str) -> None:
    """Check that a value is a finite number, or None."""
    if value is not None and not (isinstance(value, Real) and math.isfinite(value)):
        raise UsageError(f"{say} takes a finite number, got {shown(str(value))}")


def counting(data: Batches, project: Project, say: str) -> Callable[[nn.Module], Row]:
    """Return what measures a classifier on batches."""

    def measure(model: nn.Module) -> Row:
        net = inner(model)
        with project.at_home(), project.told(), fits(f"{say} batches():"):
            return count(net, data.on(device_of(net)))

    return measure


def measuring(
    module: ModuleType, project: Project, score: str, chance: float, say: str
) -> Callable[[nn.Module], Row]:
    """Return the user's own measure, checked."""

    def measure(model: nn.Module) -> Row:
        with project.at_home(), project.told(" measure()"), torch.no_grad():
            found = module.measure(model)
        return as_score(found, chance, say) if score else as_counts(found, say)

    return measure


def as_score(found, chance: float, say: str) -> Row:
    """Return a score as a row has it. One that is not finite is no better than guessing."""
    if isinstance(found, Tensor) and found.numel() == 1:
        found = found.item()
    if not isinstance(found, Real):
        raise UsageError(f"{say} with SCORE, measure() returns one number, got {shown(str(found))}")
    value = float(found) if math.isfinite(found) else chance
    return round(max(-1e6, min(1e6, value)) * SCORE_UNIT), SCORE_UNIT, None


def as_counts(found, say: str) -> Row:
    """Return (correct, total, loss_sum) as a row has it."""
    rule = "measure() returns (correct, total, loss_sum), or with SCORE = 'its name' one number"
    if not isinstance(found, (tuple, list)) or len(found) != 3:
        raise UsageError(f"{say} {rule}; got {shown(str(found))}")
    plain = [v.item() if isinstance(v, Tensor) and v.numel() == 1 else v for v in found]
    correct, total, loss = plain
    numbers = all(isinstance(v, Real) for v in (correct, total))
    if not (numbers and correct == int(correct) and total == int(total) and 0 <= correct <= total):
        raise UsageError(
            f"{say} {rule}; correct and total are whole numbers, got {shown(str(found))}"
        )
    if not total:
        raise UsageError(f"{say} measure() counted nothing: total is 0")
    fine = isinstance(loss, Real) and math.isfinite(loss)
    return int(correct), int(total), float(loss) if fine else None

"""What a training method is: how the gradient of a batch comes about."""

from collections.abc import Iterable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods.sizes import Sizes


class Method:
    """A training method for one model; a subclass says how a batch's gradients come about.

    Args:
        model: what is trained.
        alpha: strength of the training noise, where the method has any.
        stream: random stream of the method, on the model's device; its state is saved.
        patterns: `noisy=` and `clean=` of the model.
        parameters: those of the regime, without defaults: all of them are in the run's identity.

    Raises:
        TypeError: for a parameter that the method does not take, or lacks.
        ValueError: for one that it cannot use.
    """

    cost = 1.0
    """What a step is expected to cost, in units of plain training: `account.Account` counts it."""
    noisy_by_alpha = False
    """Whether `alpha`, a regime's `noise`, means something; where not, it must be 0."""
    taught = False
    """Whether it needs a teacher: `train` then gives it the clean run of the same seed."""
    teacher: nn.Module | None = None
    """In evaluation mode, on the model's device."""
    progress = 0.0
    """The share of the training that is done with the step under way, in (0, 1]; `train` says."""

    def __init__(
        self,
        model: nn.Module,
        alpha: float,
        stream: torch.Generator,
        patterns: Mapping[str, Sequence[str]],
        **parameters: float | str,
    ):
        if parameters:
            raise TypeError(f"{type(self).__name__} takes no {', '.join(parameters)}")
        if alpha and not self.noisy_by_alpha:
            raise ValueError(f"{type(self).__name__} trains without the noise of a regime")
        self.model, self.alpha, self.stream = model, alpha, stream
        self.patterns = patterns
        self.sizes = Sizes()

    @classmethod
    def lacks(cls) -> str:
        """Return the name of a package that the method needs and this machine lacks; "" if none."""
        return ""

    def make_optimizer(self, images: int) -> torch.optim.Optimizer | None:
        """Return an optimiser of the method's own for so many training images; None for AdamW, as
        the recipe has it."""

    def loss(self, logits: Tensor, y: Tensor) -> Tensor:
        """Return the mean loss, (), of logits (B, classes) for labels y (B,)."""
        return F.cross_entropy(logits, y)

    def gradients(self, x: Tensor, y: Tensor) -> Tensor:
        """Leave the gradients of a batch x (B, C, H, W), y (B,) in the parameters, whose values
        are as before; return the mean loss, ()."""
        raise NotImplementedError

    def after_step(self) -> None:
        """Do what the method does after the optimiser's step, such as clipping weights."""

    def finish(self, batches: Iterable[Tensor]) -> None:
        """Leave the final weights in the model, after the last step.

        Args:
            batches: the training images once more, each (B, C, H, W), for statistics of them.
        """

    def close(self) -> None:
        """Take off whatever the method has put on the model, such as hooks."""

    def state_dict(self) -> dict:
        """Return all that the next step depends on, but for weights, optimiser and stream."""
        return {}

    def load_state_dict(self, state: dict) -> None:
        """Go on from a `state_dict`, of which there is none before the first step."""

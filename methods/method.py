"""What a training method is: how the gradient of a batch comes about."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn


class Method:
    """A training method for one model; a subclass says how a batch's gradients come about.

    Args:
        model: what is trained.
        alpha: strength of the training noise, where the method has any.
        stream: random stream of the method, on the model's device; its state is saved.
        patterns: `noisy=` and `clean=` of the model.
        parameters: those of the regime, without defaults: all of them are in the run's identity.
    """

    cost = 1.0
    """Gradients per step."""

    def __init__(
        self,
        model: nn.Module,
        alpha: float,
        stream: torch.Generator,
        patterns: Mapping[str, Sequence[str]],
        **parameters: float,
    ):
        if parameters:
            raise TypeError(f"{type(self).__name__} takes no {', '.join(parameters)}")
        self.model, self.alpha, self.stream = model, alpha, stream
        self.patterns = patterns

    def gradients(self, x: Tensor, y: Tensor) -> Tensor:
        """Leave the gradients of a batch x (B, C, H, W), y (B,) in the parameters, whose values
        are as before; return the mean loss, ()."""
        raise NotImplementedError

    def after_step(self) -> None:
        """Do what the method does after the optimiser's step, such as clipping weights."""

    def state_dict(self) -> dict:
        """Return all that the next step depends on, but for weights, optimiser and stream."""
        return {}

    def load_state_dict(self, state: dict) -> None:
        """Go on from a `state_dict`, of which there is none before the first step."""

"""Training under weight noise (Murray and Edwards, 1994, IEEE Trans. Neural Networks 5)."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor

from methods.method import Method
from noise import WeightNoise, noisy_parameters


class Injection(Method):
    """g = ∇L(w + ε) with fresh ε ~ N(0, (α·s)²) for every batch; the optimiser steps w.

    Other methods that change something else than the weights of a pass extend it: they train
    under noise where their regime has any, and are plain training with that change where not.
    """

    noisy_by_alpha = True

    def __init__(self, *setting, **parameters):
        super().__init__(*setting, **parameters)
        self.noise = WeightNoise(self.model, **self.patterns)
        self.noisy = noisy_parameters(self.model, **self.patterns)
        self.strength = self.alpha

    @contextmanager
    def noisy_weights(self, strength: float, sign: int = 1) -> Iterator[None]:
        """Within this context the weights are noisy; the realised size is noted."""
        clean = [p.data for p in self.noisy.values()]  # the tensors to which `noise` goes back
        with self.noise(strength, generator=self.stream, sign=sign):
            if self.strength:
                self.sizes.note(self.noisy.values(), clean)
            yield

    def gradients(self, x: Tensor, y: Tensor) -> Tensor:
        with self.noisy_weights(self.strength):
            loss = self.loss(self.model(x), y)  # (B, C, H, W) -> (B, classes) -> ()
            loss.backward()
        return loss

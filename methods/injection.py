"""Training under weight noise (Murray and Edwards, 1994, IEEE Trans. Neural Networks 5)."""

import torch.nn.functional as F
from torch import Tensor

from methods.method import Method
from noise import WeightNoise


class Injection(Method):
    """g = ∇L(w + ε) with fresh ε ~ N(0, (α·s)²) for every batch; the optimiser steps w."""

    def __init__(self, *setting, **parameters):
        super().__init__(*setting, **parameters)
        self.noise = WeightNoise(self.model, **self.patterns)

    def gradients(self, x: Tensor, y: Tensor) -> Tensor:
        with self.noise(self.alpha, generator=self.stream):
            loss = F.cross_entropy(self.model(x), y)  # (B, C, H, W) -> (B, classes) -> ()
            loss.backward()
        return loss

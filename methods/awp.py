"""Adversarial weight perturbation (Wu, Xia and Wang, NeurIPS 2020)."""

import torch
from torch import Tensor

from methods.passes import Gradients
from methods.sam import Ascent


class AWP(Ascent):
    """g' = ∇L(w + e) with e = γ·‖W‖·d/‖d‖ for each weight tensor, d one step of SGD on −L.

    So d is along g, whatever the learning rate. As in their code (`AdvWeightPerturb`), parameters
    of one dimension stay as they are. Theirs is adversarial training; here the images are clean.

    Parameters:
        gamma: γ, the size of e relative to each tensor; published 0.01.
    """

    def __init__(self, *setting, gamma, **rest):
        super().__init__(*setting, **rest)
        self.gamma = gamma

    @torch.no_grad()
    def step(self, gradients: Gradients) -> Gradients:
        own = dict(self.model.named_parameters())
        return {n: self.along(own[n], g) for n, g in gradients.items() if g.dim() > 1}

    def along(self, w: Tensor, g: Tensor) -> Tensor:
        """Return g with γ times the norm of w."""
        return g * (self.gamma * w.norm() / (g.norm() + 1e-20))

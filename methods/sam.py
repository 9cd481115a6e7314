"""Sharpness-aware minimisation, and its scale-free form."""

import torch
from torch import Tensor
from torch.nn.utils import get_total_norm

from methods.method import Method
from methods.passes import Gradients, frozen_statistics, gradients_at, leave


class Ascent(Method):
    """g' = ∇L(w + e) on the same batch, where e comes from g = ∇L(w).

    The first pass, at w, is the one that BatchNorm's running statistics see, and its loss is the
    one in the history.
    """

    cost = 2.0

    def step(self, gradients: Gradients) -> Gradients:
        """Return e for each parameter that is moved, given g."""
        raise NotImplementedError

    def gradients(self, x: Tensor, y: Tensor) -> Tensor:
        own = dict(self.model.named_parameters())
        loss, first = gradients_at(self.model, {}, x, lambda logits: self.loss(logits, y))
        with torch.no_grad():
            moved = {name: own[name] + e for name, e in self.step(first).items()}
        self.sizes.note(moved.values(), (own[name] for name in moved))
        with frozen_statistics(self.model):
            _, second = gradients_at(self.model, moved, x, lambda logits: self.loss(logits, y))
        leave(self.model, second)
        return loss


class SAM(Ascent):
    """e = ρ·g/(‖g‖ + 1e-12), one norm over all parameters (Foret et al., ICLR 2021, eq. 2).

    Parameters:
        rho: ρ, the length of e; published 0.05.
    """

    def __init__(self, *setting, rho, **rest):
        super().__init__(*setting, **rest)
        if rho < 0:
            raise ValueError("takes a rho ≥ 0")
        self.rho = rho

    @torch.no_grad()
    def step(self, gradients: Gradients) -> Gradients:
        scale = self.rho / (get_total_norm(gradients.values()) + 1e-12)
        return {name: g * scale for name, g in gradients.items()}


class ASAM(Ascent):
    """e = ρ·T²g/‖Tg‖, with T = |w| + η on weights and 1 on the rest (Kwon et al., ICML 2021, alg. 1
    and their code, in which weights are what has "weight" in its name: also those of norms).

    Parameters:
        rho: ρ, the length of e relative to the weights; published 0.5. (davda54's code has other
            units: about 2 there.)
        eta: η; published 0.01.
    """

    def __init__(self, *setting, rho, eta, **rest):
        super().__init__(*setting, **rest)
        if rho < 0 or eta < 0:
            raise ValueError("takes rho and eta ≥ 0")
        self.rho, self.eta = rho, eta

    @torch.no_grad()
    def step(self, gradients: Gradients) -> Gradients:
        scales = {
            name: p.abs() + self.eta if "weight" in name else torch.ones_like(p)
            for name, p in self.model.named_parameters()
        }
        scaled = {name: scales[name] * g for name, g in gradients.items()}
        scale = self.rho / (get_total_norm(scaled.values()) + 1e-12)
        return {name: scales[name] * g * scale for name, g in scaled.items()}

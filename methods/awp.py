"""Adversarial weight perturbation (Wu, Xia and Wang, NeurIPS 2020), and Büchel's form of it."""

import torch
from torch import Tensor

from methods.method import Method
from methods.passes import Gradients, frozen_statistics, gradients_at, leave
from methods.sam import Ascent
from noise import noisy_parameters


class AWP(Ascent):
    """g' = ∇L(w + e) with e = γ·‖W‖·d/‖d‖ for each weight tensor, d one step of SGD on −L.

    So d is along g, whatever the learning rate. As in their code (`AdvWeightPerturb`), parameters
    of one dimension stay as they are; it also leaves alone those without "weight" in their name,
    which are here the ViT's embeddings. Theirs is adversarial training; here the images are clean.

    Parameters:
        gamma: γ, the size of e relative to each tensor; published 0.01.
    """

    def __init__(self, *setting, gamma, **rest):
        super().__init__(*setting, **rest)
        if gamma < 0:
            raise ValueError("takes a gamma ≥ 0")
        self.gamma = gamma

    @torch.no_grad()
    def step(self, gradients: Gradients) -> Gradients:
        own = dict(self.model.named_parameters())
        return {n: self.along(own[n], g) for n, g in gradients.items() if g.dim() > 1}

    def along(self, w: Tensor, g: Tensor) -> Tensor:
        """Return g with γ times the norm of w."""
        return g * (self.gamma * w.norm() / (g.norm() + 1e-20))


class SignAWP(Method):
    """g' = ∇L(w*): from w, K steps of ζ·|w|/K·sign(∇L), ζ·|w| in all, along the loss itself.

    What Büchel, Faber and Muir (ICLR 2022) compare with under the name of AWP. The attack is on the
    noisy parameters; theirs is on all. The first pass, at w, is the one that BatchNorm's running
    statistics see, and its loss is the one in the history.

    Parameters:
        zeta: ζ, the size of the attack relative to each weight; published 0.1 (their γ).
        steps: K; published 10, for which `cost` stands.
    """

    cost = 11.0

    def __init__(self, *setting, zeta, steps, **rest):
        super().__init__(*setting, **rest)
        if zeta < 0 or steps < 1:
            raise ValueError("takes a zeta ≥ 0 and one step or more")
        self.zeta, self.steps = zeta, steps
        self.noisy = noisy_parameters(self.model, **self.patterns)

    def gradients(self, x: Tensor, y: Tensor) -> Tensor:
        far = {name: p.detach().clone() for name, p in self.noisy.items()}
        reach = {name: p.detach().abs() for name, p in self.noisy.items()}
        first, uphill = gradients_at(self.model, far, x, lambda logits: self.loss(logits, y))
        with frozen_statistics(self.model):
            for _ in range(self.steps):
                for name, w in far.items():
                    w.addcmul_(reach[name], uphill[name].sign(), value=self.zeta / self.steps)
                _, uphill = gradients_at(self.model, far, x, lambda logits: self.loss(logits, y))
        self.sizes.note(far.values(), self.noisy.values())
        leave(self.model, uphill)
        return first

"""Adversarial regularisation against parameter noise (Büchel, Faber and Muir, "Network
insensitivity to parameter noise via adversarial regularization", ICLR 2022)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from methods.injection import Injection
from methods.passes import Gradients, frozen_statistics, gradients_at


def divergence(p: Tensor, q: Tensor) -> Tensor:
    """Return the mean KL(p ‖ q), (), of log-probabilities (B, classes)."""
    return F.kl_div(q, p, reduction="batchmean", log_target=True)


class SignAscent(Injection):
    """CE(w + ε) + β·KL(f(w) ‖ f(w*)): ε is Gaussian noise, w* an attack on the weights.

    w* starts at w + 1e-3·|w|·z and takes K steps ζ·|w|/K·sign(∇KL), ζ·|w| in all. The gradient of
    the KL goes through both of its arguments; w* − w is held constant. The attack is on the noisy
    parameters; theirs is on all. BatchNorm's running statistics see the noisy pass. The realised
    size is a mean over ε and w* − w, which take turns.

    Parameters:
        beta: β; published 0.1 to 0.25.
        zeta: ζ, the size of the attack relative to each weight; published 0.1.
        steps: K; published 10, for which `cost` stands. Without noise CE shares the pass of f(w).
    """

    cost = 13.0

    def __init__(self, *setting, beta, zeta, steps, **rest):
        super().__init__(*setting, **rest)
        if beta < 0 or zeta < 0 or steps < 1:
            raise ValueError("takes beta and zeta ≥ 0 and one step or more")
        self.beta, self.zeta, self.steps = beta, zeta, steps

    def gradients(self, x: Tensor, y: Tensor) -> Tensor:
        if self.alpha:
            noisy_loss = super().gradients(x, y).detach()
            with frozen_statistics(self.model):
                logits = self.model(x)  # (B, C, H, W) -> (B, classes)
            loss = 0.0
        else:
            logits, noisy_loss = self.model(x), 0.0
            loss = self.loss(logits, y)
        p = F.log_softmax(logits, 1)
        with frozen_statistics(self.model):
            far = self.attack(x, p.detach())
            q, there = self.at_attack(far, x, p.detach())
        loss = loss + self.beta * divergence(p, q)
        loss.backward()
        own = dict(self.model.named_parameters())
        with torch.no_grad():
            for name, g in there.items():
                own[name].grad.add_(g, alpha=self.beta)
        return noisy_loss + loss.detach()

    def attack(self, x: Tensor, p: Tensor) -> dict[str, Tensor]:
        """Return w* for each noisy parameter: x (B, C, H, W), p (B, classes)."""
        with torch.no_grad():
            reach = {name: w.abs() for name, w in self.noisy.items()}
            z = {n: torch.empty_like(w).normal_(generator=self.stream) for n, w in reach.items()}
            far = {n: w + 1e-3 * reach[n] * z[n] for n, w in self.noisy.items()}
        for _ in range(self.steps):
            _, uphill = self.at_attack(far, x, p)
            with torch.no_grad():
                for name, w in far.items():
                    w.addcmul_(reach[name], uphill[name].sign(), value=self.zeta / self.steps)
        self.sizes.note(far.values(), self.noisy.values())
        return far

    def at_attack(self, far: dict[str, Tensor], x: Tensor, p: Tensor) -> tuple[Tensor, Gradients]:
        """Return log f(w*) (B, classes) and the gradients of the KL there, by parameter."""
        found = []

        def loss_of(logits: Tensor) -> Tensor:
            found.append(F.log_softmax(logits, 1))
            return divergence(p, found[0])

        _, gradients = gradients_at(self.model, far, x, loss_of)
        return found[0].detach(), gradients

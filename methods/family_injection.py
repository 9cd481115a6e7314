"""Training under noise of any family, of fixed, growing or random strength, or in ± pairs."""

from contextlib import contextmanager

import numpy as np
from torch import Tensor

import noises
from methods.injection import Injection
from methods.passes import frozen_statistics
from noise import philox


class FamilyInjection(Injection):
    """g = ∇L(f(w, z, s)) with fresh z for every batch; the optimiser steps w.

    The gradient with respect to the noisy weight w' is taken for that with respect to w: straight
    through, for every family. It is the only choice where f has no gradient (rounding, bit
    errors); for multiplicative noise it is that of aihwkit and Büchel et al., who stop the
    gradient through the factor.

    Parameters, all of the regime:
        family: a name in `noises.FAMILIES`.
        strength: s, in the family's own unit; for `gaussian` that of α.
        ramp: share of the training over which s grows linearly from 0 (arXiv:2602.07320);
            0 = from the first step on.
        spread: each batch has a strength of its own, s·max(0, 1 + spread·n) with n ~ N(0, 1)
            (variance-aware training, Wang et al., arXiv:2503.16183); 0 = all have s.

    z of `gaussian` is drawn from the method's stream, as in `Injection`. That of other families
    depends on the stream's seed, the step, the parameter's name and the family alone.

    Raises:
        ValueError: for a family that is not known, a strength that is not a number ≥ 0, or a ramp
            or spread for a family of which not every strength means something.
    """

    noisy_by_alpha = False  # its strength is a parameter

    def __init__(self, *setting, family, strength, ramp, spread, **rest):
        super().__init__(*setting, **rest)
        if not noises.exists(family):
            raise ValueError(f"no noise family {family!r}: {', '.join(noises.FAMILIES)}")
        noises.find(family).check(strength)
        if not 0 <= ramp <= 1 or spread < 0:
            raise ValueError("takes a ramp from 0 to 1 and a spread ≥ 0")
        if (ramp or spread) and not noises.find(family).divisible:
            raise ValueError(f"the strength of {family} is of steps: no ramp, no spread")
        self.family, self.strength, self.ramp, self.spread = family, strength, ramp, spread
        self.seed, self.steps = self.stream.initial_seed(), 0

    def draw(self, name: str) -> np.random.Generator:
        """Return a random stream of its own for a name, at this step."""
        return np.random.Generator(philox(f"{self.seed}/{self.steps}/{name}"))

    def units(self) -> dict[str, Tensor]:
        """Return this step's z for each noisy parameter."""
        return {
            name: noises.unit(self.family, p.shape, self.draw(f"{name}/{self.family}"))
            for name, p in self.noisy.items()
        }

    def apply(self, w: Tensor, z: Tensor, strength: float) -> Tensor:
        """Return the noisy weight."""
        return noises.perturb(w, self.family, strength, z)

    @contextmanager
    def noisy_weights(self, strength: float, sign: int = 1):
        if self.family == "gaussian":
            with super().noisy_weights(strength, sign):
                yield
            return
        clean = [p.data for p in self.noisy.values()]
        with self.noise(strength, unit=self.units(), sign=sign, apply=self.apply):
            self.sizes.note(self.noisy.values(), clean)
            yield

    def strength_now(self) -> float:
        """Return the strength of this step."""
        strength = self.strength * (min(1.0, self.progress / self.ramp) if self.ramp else 1.0)
        if self.spread:
            strength *= max(0.0, 1 + self.spread * self.draw("strength").standard_normal())
        return strength

    def gradients(self, x: Tensor, y: Tensor) -> Tensor:
        with self.noisy_weights(self.strength_now()):
            loss = self.loss(self.model(x), y)  # (B, C, H, W) -> (B, classes) -> ()
            loss.backward()
        self.steps += 1
        return loss

    def state_dict(self) -> dict:
        return {"steps": self.steps}

    def load_state_dict(self, state: dict) -> None:
        self.steps = state.get("steps", 0)


class Antithetic(FamilyInjection):
    """g = ½(∇L(f(w, z, s)) + ∇L(f(w, −z, s))): what is odd in z cancels (Hammersley and Morton,
    1956, on antithetic variates). Parameters as in `FamilyInjection`.

    Raises:
        ValueError: also for a family in which −z means nothing.
    """

    cost = 2.0

    def __init__(self, *setting, **parameters):
        super().__init__(*setting, **parameters)
        if not noises.find(self.family).signed:
            raise ValueError(f"{self.family} has no antithetic pairs: −z means nothing in it")

    def gradients(self, x: Tensor, y: Tensor) -> Tensor:
        strength, before = self.strength_now(), self.stream.get_state()
        first = self.half(strength, 1, x, y)
        self.stream.set_state(before)  # the same z again
        with frozen_statistics(self.model):
            second = self.half(strength, -1, x, y)
        self.steps += 1
        return first + second

    def half(self, strength: float, sign: int, x: Tensor, y: Tensor) -> Tensor:
        """Add half the gradient at one sign of z; return half the loss there, ()."""
        with self.noisy_weights(strength, sign):
            loss = self.loss(self.model(x), y) / 2  # (B, C, H, W) -> (B, classes) -> ()
            loss.backward()
        return loss.detach()

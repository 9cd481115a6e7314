"""Training under a family of noise whose result has no gradient, or another than 1.

**Convention: the gradient at w' is taken for that at w, in every family** (straight through;
Bengio et al., arXiv:1308.3432). It is what `noise.weight_noise` does, and differs from ∂w'/∂w where
that is not 1 (`Family.gradient`):

- additive families: 1, with the scale c(W) held constant;
- multiplicative and lognormal: the factor is 1 + s·z, or exp(s·z). aihwkit and Büchel et al. (ICLR
  2022) stop the gradient through it, as here; differentiating `apply` would multiply by it;
- rounding and bit errors: 0 almost everywhere, so that nothing else than straight through trains;
- stuck devices, pcm and reram: 0 or a random factor about 1; straight through.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def straight_through(w: Tensor, noisy: Tensor) -> Tensor:
    """Return the values of `noisy`, with a gradient of 1 with respect to w.

    Args:
        w: the clean weight, finite, with its graph.
        noisy: of its shape; no gradient flows into it.

    Returns:
        A tensor that equals `noisy` exactly: what is added is 0.
    """
    return noisy.detach() + (w - w.detach())

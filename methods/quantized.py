"""Quantisation-aware training (Jacob et al., CVPR 2018), of weights alone."""

from methods.family_injection import FamilyInjection


class Quantized(FamilyInjection):
    """g = ∇L(Q(w)): Q rounds to nearest, per tensor, straight through (Bengio et al., 2013).

    It is the noise family `quantization` at the step 1/(2^(bits−1) − 1) of max|W|.

    Parameters:
        bits: of a weight, 2 or more.
    """

    def __init__(self, *setting, bits, **rest):
        if bits != int(bits) or bits < 2:
            raise ValueError(f"takes a whole number of bits from 2 on, not {bits:g}")
        step = 1 / (2 ** (int(bits) - 1) - 1)
        fixed = {"strength": step, "ramp": 0, "spread": 0}
        super().__init__(*setting, family="quantization", **fixed, **rest)

"""Float32 matrix products by oneDNN where MKL would waste half of the vector width.

They replace `aten::mm` and `aten::addmm` on the CPU in the whole process. The provenance of a run
says whose its products are; WEIGHT_NOISE_PRODUCTS=torch in the environment keeps PyTorch's own.
"""

import functools
import os
import warnings

import torch
from torch import Tensor


def choose(processor: str) -> str:
    """Return whose products a CPU with this name gets: "oneDNN" or "torch"."""
    own = os.environ.get("WEIGHT_NOISE_PRODUCTS") == "torch"
    own = own or "Intel" in processor or not torch.backends.mkl.is_available()
    return "torch" if own else "oneDNN"


@functools.cache  # the products are oneDNN's for as long as what is returned lives
def products_by_onednn() -> torch.library.Library:
    """Let oneDNN do this process's float32 matrix products on the CPU, in place of MKL.

    MKL leaves half of the vector width of processors that are not Intel's unused: 97 GFLOP/s a
    core where oneDNN has 170 to 200. Results differ in rounding; gradients follow by themselves.
    """
    product = torch.ops.mkldnn._linear_pointwise  # (x, w, b, ...): x @ w.T + b

    def is_large(a: Tensor, b: Tensor) -> bool:
        matrices = a.dim() == b.dim() == 2 and a.size(1) == b.size(0)
        return matrices and a.dtype == b.dtype == torch.float32 and a.numel() * b.size(1) > 2**18

    def transposed(b: Tensor) -> Tensor:
        """Where the second matrix has gaps in memory, oneDNN takes 500 times as long."""
        return (b if b.is_contiguous() or b.t().is_contiguous() else b.contiguous()).t()

    def mm(a: Tensor, b: Tensor) -> Tensor:
        if is_large(a, b):
            return product(a, transposed(b), None, "none", [], "")
        return torch.mm(a, b, out=a.new_empty(0))  # this is not redirected

    def addmm(c: Tensor, a: Tensor, b: Tensor, *, beta=1, alpha=1) -> Tensor:
        is_bias = c.shape == b.shape[1:] and c.dtype == torch.float32 and beta == alpha == 1
        if is_bias and is_large(a, b):
            # It takes the bias to be contiguous, without looking.
            return product(a, transposed(b), c.contiguous(), "none", [], "")
        return torch.addmm(c, a, b, beta=beta, alpha=alpha, out=a.new_empty(0))

    library = torch.library.Library("aten", "IMPL")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that what was there is overridden is what is wanted
        library.impl("mm", mm, "CPU")
        library.impl("addmm", addmm, "CPU")
    return library

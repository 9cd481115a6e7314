"""Training methods, one step each.

To add one, write a class as `method.Method` says in a file of this folder and give it a line in
`METHODS`; a regime in `config.REGIMES` then names it, with its parameters.
"""

from methods.averaging import EMA, SWA
from methods.awp import AWP, SignAWP
from methods.clipping import Clipping
from methods.distillation import Distillation
from methods.dropout import Dropout
from methods.family_injection import Antithetic, FamilyInjection
from methods.injection import Injection
from methods.ivon import IVON
from methods.label_smoothing import LabelSmoothing
from methods.method import Method
from methods.plain import Plain
from methods.quantized import Quantized
from methods.randbet import RandBET
from methods.rwp import RWP
from methods.sam import ASAM, SAM
from methods.sign_ascent import SignAscent

METHODS: dict[str, type[Method]] = {
    "plain": Plain,
    "injection": Injection,
    "family_injection": FamilyInjection,
    "antithetic": Antithetic,
    "sam": SAM,
    "asam": ASAM,
    "awp": AWP,
    "sign_awp": SignAWP,
    "rwp": RWP,
    "sign_ascent": SignAscent,
    "ivon": IVON,
    "ema": EMA,
    "swa": SWA,
    "clipping": Clipping,
    "dropout": Dropout,
    "label_smoothing": LabelSmoothing,
    "distillation": Distillation,
    "quantized": Quantized,
    "randbet": RandBET,
}

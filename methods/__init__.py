"""Training methods, one step each.

To add one, write a class as `method.Method` says in a file of this folder and give it a line in
`METHODS`; a regime in `config.REGIMES` then names it, with its parameters.
"""

from methods.injection import Injection
from methods.method import Method
from methods.plain import Plain

METHODS: dict[str, type[Method]] = {
    "plain": Plain,
    "injection": Injection,
}

"""Whether an error is one of too little memory, however it is said."""

import errno

SAID = ("allocate memory", "not enough memory", "out of memory", "bad_alloc", "bad allocation")
"""What PyTorch says, by a RuntimeError, on a CPU and on a GPU."""


def is_lack(error: BaseException | None) -> bool:
    """Return whether an error, or one that led to it, is one of too little memory."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
            return True
        if isinstance(error, RuntimeError) and any(said in str(error).lower() for said in SAID):
            return True
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return False


def say(error: BaseException) -> str:
    """Return an error in one line, which calls it a memory error if it is one."""
    kind = "MemoryError" if is_lack(error) else type(error).__name__
    return " ".join(f"{kind}: {error}".split()).removesuffix(":")

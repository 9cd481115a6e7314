"""What decides the last bits of a result: code, libraries, processor, and their settings."""

import hashlib
import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ON_TOP = [
    *("config.py", "data.py", "models.py", "noise.py", "train.py", "evaluate.py"),
    "run_experiments.py",
]
"""The files beside the folders that a record is made by: a reader's own may lie there too."""
READ_OFF = {"reporting", "studies"}
"""Folders that change no record: they read them, or start what makes them."""
SETTINGS = (
    *("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "WEIGHT_NOISE_PRODUCTS"),
    *("MKL_CBWR", "MKL_ENABLE_INSTRUCTIONS", "MKL_DEBUG_CPU_TYPE", "MKL_NUM_THREADS"),
    *("MKL_DYNAMIC", "OMP_NUM_THREADS", "OMP_DYNAMIC", "CUBLAS_WORKSPACE_CONFIG"),
    *("ONEDNN_DEFAULT_FPMATH_MODE", "DNNL_DEFAULT_FPMATH_MODE", "NVIDIA_TF32_OVERRIDE"),
    *("TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", "TORCH_CUDNN_V8_API_DISABLED"),
)
"""Variables of the environment that change bits."""
DECIDES = (
    *("code", "torch", "torchvision", "numpy", "system", "processor", "cpu capability"),
    *("settings", "device", "cuda", "threads", "float32 products"),
)
"""Facts of a provenance that two results share if they may be compared bit for bit."""


class CodeChanged(RuntimeError):
    """This repository's code was edited while a command ran."""


def code_files(root: Path = ROOT) -> list[Path]:
    """Return every source file that a run can import, whatever a process has imported yet."""
    rooms = [p.parent for p in root.glob("*/__init__.py") if p.parent.name not in READ_OFF]
    return sorted(
        (*(root / name for name in ON_TOP), *(p for room in rooms for p in room.rglob("*.py")))
    )


def digest_of_code(root: Path = ROOT) -> str:
    """Return the SHA-256 of `code_files`: what ran, where a commit cannot tell it."""
    sha = hashlib.sha256()
    for path in code_files(root):
        text = path.read_bytes().replace(b"\r\n", b"\n")  # as git may write it on Windows
        sha.update(f"{path.relative_to(root).as_posix()} {len(text)}\n".encode() + text)
    return sha.hexdigest()


CODE = digest_of_code()
"""That of this process: taken as it imports the code, which may be edited while it runs."""


def check_code(expected: str) -> None:
    """Check that this process has imported the code of that which started it.

    Raises:
        CodeChanged: if it has not.
    """
    if expected != CODE:
        raise CodeChanged(
            "the code was edited since this command began: start it again, so that all of a run, "
            "and what is recorded of it, is of one code"
        )


def settings() -> str:
    """Return the variables that are set and change bits, such as "MKL_CBWR=AVX2"; "" if none is."""
    named = ((name, os.environ.get(name)) for name in sorted(SETTINGS))
    return " ".join(f"{name}={value[:40]}" for name, value in named if value is not None)


def differences(now: dict, then: dict) -> list[str]:
    """Return in words where two provenances differ in what decides bits; [] if nowhere.

    What one of them does not say may differ: then it is among them.
    """
    named = [name for name in DECIDES if name in now or name in then]
    return [
        f"{name} {say(name, now)}, was {say(name, then)}"
        for name in named
        if now.get(name, ...) != then.get(name, ...)
    ] + ([] if "code" in now or "code" in then else ["code not recorded"])


def say(name: str, facts: dict) -> str:
    """Return a fact in a few letters."""
    value = facts.get(name)
    if name == "code" and value:
        return str(value)[:12]
    return "not recorded" if value is None else str(value) or "none"

"""What the machine offers: device, cores, memory; and what of it goes into the provenance."""

import ctypes
import math
import os
import platform
import subprocess
from pathlib import Path

import torch

from machine import arithmetic
from machine.fast_products import choose, products_by_onednn

MEMORY_PER_WORKER = 3 * 2**30  # bytes; a ResNet-18 worker peaks at about 1.5 GiB
GPU_MEMORY_PER_WORKER = 4 * 2**30
CGROUP = Path("/sys/fs/cgroup")  # a container sees its own limits here


def cores() -> int:
    """Return how many cores this process may use."""
    try:
        usable = len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        usable = os.cpu_count() or 1
    # Where Slurm does not bind a task to its cores it sees all of the node's, and shares them.
    return min(usable, slurm("SLURM_CPUS_PER_TASK") or usable, quota() or usable)


def quota() -> int:
    """Return the cores of the container's quota of CPU time, rounded up; 0 where there is none."""
    for names in (["cpu.max"], ["cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"]):  # v2, v1
        try:
            time, period = (int(x) for name in names for x in (CGROUP / name).read_text().split())
        except (OSError, ValueError):  # no such file, or "max": no quota
            continue
        return max(0, math.ceil(time / period))  # -1 is no quota either
    return 0


def slurm(name: str) -> int:
    """Return a number that Slurm tells its jobs in the environment; 0 where there is none."""
    value = os.environ.get(name, "")
    return int(value) if value.isascii() and value.isdecimal() else 0


def free_memory() -> int:
    """Return the bytes of main memory that this process and its workers could have."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(int(x.split()[1]) * 1024 for x in lines if x.startswith("MemAvailable"))
    except (OSError, StopIteration):
        free = 8 * 2**30
    allotted = slurm("SLURM_MEM_PER_CPU") * cores() or slurm("SLURM_MEM_PER_NODE")  # in MiB
    return min(free, allotted * 2**20 or free, container_memory())


def container_memory() -> float:
    """Return the bytes left below the container's memory limit; inf where there is none.

    What it uses counts without the cache of files, which the system gives up when asked.
    """
    for limit, used in (
        ("memory.max", "memory.current"),  # v2
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),  # v1
    ):
        try:
            most, now = (int((CGROUP / name).read_text()) for name in (limit, used))
            stat = (CGROUP / used).with_name("memory.stat").read_text().split()
            return max(0, most - now + int(stat[stat.index("inactive_file") + 1]))
        except (OSError, ValueError):  # no such file, or "max": no limit
            continue
    return math.inf


def default_workers(device: torch.device, threads: int, runs: int) -> int:
    """Return how many runs side by side the machine carries well."""
    limits = [runs, cores() // threads, free_memory() // MEMORY_PER_WORKER]
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        limits.append(free // GPU_MEMORY_PER_WORKER)
    return max(1, min(limits))


def prepare(threads: int, code: str | None = None) -> None:
    """Set this process up for steady, repeatable work: fixed threads, memory kept for reuse.

    Args:
        threads: how many it computes with.
        code: the digest of the code that it must have imported; None = any.

    Raises:
        arithmetic.CodeChanged: if it has imported another.
    """
    if code is not None:
        arithmetic.check_code(code)
    torch.set_num_threads(threads)
    torch.backends.cudnn.benchmark = False  # it may choose other algorithms in another run
    torch.backends.cudnn.deterministic = True
    if choose(processor()) == "oneDNN":
        products_by_onednn()
    try:
        # glibc hands freed blocks of a few MB back to the system, and every step then pays for
        # fresh pages: 10% of a ResNet-18 step, 40% of an evaluation of the CNN.
        libc = ctypes.CDLL("libc.so.6")
        m_trim_threshold, m_top_pad, m_mmap_threshold = -1, -2, -3
        libc.mallopt(m_mmap_threshold, 2**30)
        libc.mallopt(m_trim_threshold, 2**31 - 1)
        libc.mallopt(m_top_pad, 2**26)
    except (OSError, AttributeError):  # not glibc
        pass


def provenance(device: torch.device, threads: int) -> dict[str, str | int]:
    """Return what a reader needs to judge a time or a last digit: no host name, no path."""
    import numpy
    import torchvision

    return {
        "commit": commit(),
        "code": arithmetic.CODE,
        "python": platform.python_version(),
        "torch": str(torch.__version__),  # it is a subclass of str, which loading refuses
        "torchvision": str(torchvision.__version__),
        "numpy": numpy.__version__,
        "system": f"{platform.system()} {platform.machine()}",
        "processor": processor(),
        "cpu capability": torch.backends.cpu.get_cpu_capability(),
        "settings": arithmetic.settings(),
        "cores": cores(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        **({"cuda": cuda_versions()} if device.type == "cuda" else {}),
        "threads": threads,
        "float32 products": choose(processor()) if device.type == "cpu" else "torch",
    }


def processor() -> str:
    """Return the processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(x.split(":", 1)[1].strip() for x in lines if x.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or "unknown"


def cuda_versions() -> str:
    """Return the versions of CUDA and cuDNN that PyTorch was built with."""
    return f"{torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}"


def commit(root: Path = arithmetic.ROOT) -> str:
    """Return the commit of this code, with "-dirty" if it was changed since; "" outside git.

    A copy without a repository of its own, unpacked inside another one, has none: the other's
    commit says nothing of it.
    """
    try:
        top = git(root, "rev-parse", "--show-toplevel")
        if not top or not os.path.samefile(top, root):
            return ""
        return git(root, "describe", "--always", "--dirty", "--abbrev=12")
    except (OSError, subprocess.TimeoutExpired):
        return ""


def git(root: Path, *words: str) -> str:
    """Return what git says of a folder; "" where it fails."""
    # In a hook of another repository, variables would point to that one.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    command = ["git", "-C", str(root), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=10, env=environment)
    return done.stdout.strip()

"""What the machine offers, to a task of Slurm or a container too, and products by oneDNN."""

import os
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from machine import offers
from machine.fast_products import products_by_onednn

CPU = torch.device("cpu")


@pytest.fixture
def big_machine(monkeypatch):
    """Sixteen cores and 100 GiB, outside Slurm; returns its files, to add to."""
    files = {"/proc/meminfo": "MemAvailable: 104857600 kB"}

    def read_text(path):
        if str(path) not in files:
            raise FileNotFoundError(path)
        return files[str(path)]

    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)), raising=False)
    monkeypatch.setattr(offers.Path, "read_text", read_text)
    for name in [name for name in os.environ if name.startswith("SLURM_")]:
        monkeypatch.delenv(name)
    return files


def test_outside_slurm_all_of_it(big_machine):
    assert offers.cores() == 16
    assert offers.free_memory() == 100 * 2**30
    assert offers.default_workers(CPU, 1, 99) == 16
    assert offers.default_workers(CPU, 4, 99) == 4


@pytest.mark.parametrize(
    ("told", "cores"), [("1", 1), ("4", 4), ("64", 16), ("", 16), ("2(x3)", 16)]
)
def test_a_task_of_slurm_has_the_cores_that_it_is_told_of(told, cores, big_machine, monkeypatch):
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", told)
    assert offers.cores() == cores
    assert offers.default_workers(CPU, 1, 99) == cores


def test_a_task_of_slurm_has_the_memory_that_it_is_told_of(big_machine, monkeypatch):
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "6144")  # MiB
    assert offers.free_memory() == 6 * 2**30
    assert offers.default_workers(CPU, 1, 99) == 2
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "4")
    monkeypatch.setenv("SLURM_MEM_PER_CPU", "3072")
    assert offers.default_workers(CPU, 1, 99) == 4
    monkeypatch.setenv("SLURM_MEM_PER_CPU", "999999")
    assert offers.free_memory() == 100 * 2**30


@pytest.mark.parametrize(
    ("quota", "cores"),
    [
        ({"cpu.max": "400000 100000\n"}, 4),
        ({"cpu.max": "250000 100000\n"}, 3),
        ({"cpu.max": "1000 100000\n"}, 1),
        ({"cpu.max": "9900000 100000\n"}, 16),
        ({"cpu.max": "max 100000\n"}, 16),
        ({"cpu/cpu.cfs_quota_us": "150000\n", "cpu/cpu.cfs_period_us": "50000\n"}, 3),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 16),
        ({"cpu/cpu.cfs_quota_us": "150000\n"}, 16),
        ({"cpu.max": ""}, 16),
    ],
)
def test_a_container_has_the_cores_of_its_quota(quota, cores, big_machine, monkeypatch):
    big_machine |= {f"/sys/fs/cgroup/{name}": text for name, text in quota.items()}
    assert offers.cores() == cores
    assert offers.default_workers(CPU, 1, 99) == cores
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "2")
    assert offers.cores() == min(cores, 2)


@pytest.mark.parametrize(
    ("folder", "names"),
    [
        ("", ("memory.max", "memory.current")),
        ("memory/", ("memory.limit_in_bytes", "memory.usage_in_bytes")),
    ],
)
@pytest.mark.parametrize(
    ("limit", "used", "cache", "left"),  # in GiB
    [
        (8, 1, 0, 7),
        (8, 6, 5, 7),  # the cache of files makes way
        (8, 9, 0, 0),  # a limit may be set below what is used
        (2**33 - 1, 1, 0, 100),  # how v1 writes that there is none
        ("max", 1, 0, 100),
    ],
)
def test_a_container_has_the_memory_below_its_limit(
    folder, names, limit, used, cache, left, big_machine
):
    numbers = (f"{x * 2**30}\n" if x != "max" else "max\n" for x in (limit, used))
    files = dict(zip(names, numbers, strict=True))
    stat = f"anon 5\nactive_file 7\ninactive_file {cache * 2**30}\ntotal_inactive_file 9\n"
    files["memory.stat"] = stat
    big_machine |= {f"/sys/fs/cgroup/{folder}{name}": text for name, text in files.items()}
    assert offers.free_memory() == left * 2**30
    assert offers.default_workers(CPU, 1, 99) == max(1, min(16, left // 3))


@pytest.mark.parametrize(
    ("processor", "mkl", "switch", "products"),
    [
        ("AMD EPYC 7B13", True, None, "oneDNN"),
        ("AMD EPYC 7B13", True, "", "oneDNN"),
        ("AMD EPYC 7B13", True, "torch", "torch"),
        ("AMD EPYC 7B13", False, None, "torch"),
        ("Intel(R) Xeon(R)", True, None, "torch"),
    ],
)
def test_the_provenance_names_the_products_that_are_taken(
    processor, mkl, switch, products, monkeypatch
):
    taken = []
    monkeypatch.setattr(offers, "products_by_onednn", lambda: taken.append("oneDNN"))
    monkeypatch.setattr(offers, "processor", lambda: processor)
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: mkl)
    monkeypatch.setattr(offers, "ctypes", SimpleNamespace(CDLL=lambda name: None))
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    monkeypatch.delenv("WEIGHT_NOISE_PRODUCTS", raising=False)
    if switch is not None:
        monkeypatch.setenv("WEIGHT_NOISE_PRODUCTS", switch)
    offers.prepare(torch.get_num_threads())
    assert (taken or ["torch"]) == [products]
    assert offers.provenance(CPU, 1)["float32 products"] == products


@pytest.fixture
def onednn():
    """Products by oneDNN, until the end of the test."""
    library = products_by_onednn.__wrapped__()
    yield library
    library._destroy()


def exact(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return (a.double() @ b.double()).to(a.dtype)


@pytest.mark.parametrize(("m", "k", "n"), [(128, 300, 100), (2000, 64, 64), (3, 4, 5), (0, 4, 5)])
@pytest.mark.parametrize("transposed", [(), ("a",), ("b",), ("a", "b")])
@pytest.mark.parametrize("gaps", ["", "rows", "elements"])
def test_products_by_onednn_differ_in_rounding_only(m, k, n, transposed, gaps, onednn):
    a, b, c = torch.randn(m, k), torch.randn(k, n), torch.randn(n)
    a = a.t().contiguous().t() if "a" in transposed else a
    b = b.t().contiguous().t() if "b" in transposed else b
    if gaps == "rows":  # in memory, after each row
        a, b = (torch.cat([t, t], 1)[:, : t.size(1)] for t in (a, b))
    if gaps == "elements":
        a, b = (torch.stack([t, t], -1)[..., 0] for t in (a, b))
    torch.testing.assert_close(a @ b, exact(a, b), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(torch.addmm(c, a, b), exact(a, b) + c, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(F.linear(a, b.t(), c), exact(a, b) + c, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("bias", [torch.randn(200)[::2], torch.randn(1).expand(100)])
def test_products_by_onednn_add_a_bias_however_it_lies_in_memory(bias, onednn):
    a, b = torch.randn(300, 200), torch.randn(200, 100)
    torch.testing.assert_close(torch.addmm(bias, a, b), exact(a, b) + bias, rtol=1e-4, atol=1e-4)


def test_large_products_are_onednns(onednn):
    with torch.profiler.profile() as profile:
        torch.randn(200, 200) @ torch.randn(200, 200)
    assert "mkldnn::_linear_pointwise" in {event.key for event in profile.key_averages()}


def test_all_other_products_are_left_as_they_are():
    a, b, c = torch.randn(200, 200), torch.randn(200, 200), torch.randn(200, 200)
    cases = {
        "scaled": lambda: torch.addmm(c, a, b, beta=0.5, alpha=2),
        "a matrix added": lambda: c.addmm(a, b),
        "float64": lambda: a.double() @ b.double(),
        "bfloat16": lambda: a.bfloat16() @ b.bfloat16(),
        "whole numbers": lambda: a.long() @ b.long(),
        "with a vector": lambda: a @ b[0],
        "batched": lambda: a.view(2, 100, 200) @ b.view(2, 200, 100),
    }
    before = {name: case() for name, case in cases.items()}
    library = products_by_onednn.__wrapped__()
    try:
        for name, case in cases.items():
            assert torch.equal(case(), before[name]), name
        for wrong in (
            lambda: a @ b[:9],
            lambda: torch.mm(a, b.double()),
            lambda: torch.mm(a, b[0]),
        ):
            with pytest.raises(RuntimeError):
                wrong()
        by_onednn = a @ b
    finally:
        library._destroy()
    assert not torch.equal(by_onednn, a @ b) or "Intel" in offers.processor()


def test_gradients_and_their_gradients_follow(onednn):
    a = torch.randn(100, 60, requires_grad=True)
    b = torch.randn(60, 80, requires_grad=True)
    first = torch.autograd.grad((a @ b).square().sum(), (a, b), create_graph=True)
    second = torch.autograd.grad(sum(g.square().sum() for g in first), (a, b))
    x, y = (t.detach().double().requires_grad_() for t in (a, b))
    wanted = torch.autograd.grad((x @ y).square().sum(), (x, y), create_graph=True)
    wanted2 = torch.autograd.grad(sum(g.square().sum() for g in wanted), (x, y))
    for found, true in zip((*first, *second), (*wanted, *wanted2)):
        assert (found - true).abs().max() < 1e-4 * true.abs().max()

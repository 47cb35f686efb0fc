"""The machine that is measured: its name, its clock, its memory, how fast it multiplies."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch

from segue.export.evaluation.control_sheet import processor
from segue.server.worker import NICENESS

MIB = 2**20
PRODUCTS = {"cpu": (512, 1024, 2048), "cuda": (2048, 4096, 8192)}  # sizes worth trying
SPINS = 3  # products of a size, of which the fastest counts


def name() -> str:
    """The processor, as the system calls it, and how many of it this process may use."""
    usable = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()
    return f"{processor()}, {usable} processors"


def load() -> str:
    """What has been running here: the load average over a minute, where the system has one."""
    return f"load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "load unknown"


def lower_priority() -> None:
    """Compute as the server's worker does: below everything that plays."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, 0, max(NICENESS, os.getpriority(os.PRIO_PROCESS, 0)))


def clock(device: torch.device) -> Callable[[], float]:
    """Seconds; on CUDA read only once everything launched is done."""
    if device.type != "cuda":
        return time.perf_counter

    def now() -> float:
        torch.cuda.synchronize(device)
        return time.perf_counter()

    return now


def reset_peak(device: torch.device) -> None:
    """Count the peak from here on. Where the system can't (not Linux), it is the process's."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_mib(device: torch.device) -> float | None:
    """The most memory since then: the card's tensors, or all that the process held in RAM."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / MIB
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MIB


def resident_mib(pid: int | None = None) -> float | None:
    """What a process (this one) holds in RAM now; None where the system does not say."""
    path = Path("/proc") / (str(pid) if pid else "self") / "statm"
    try:
        pages = int(path.read_text(encoding="ascii").split()[1])
    except OSError:
        return None
    return pages * os.sysconf("SC_PAGE_SIZE") / MIB


def matmul_rate(
    device: torch.device,
    sizes: tuple[int, ...],
    now: Callable[[], float],
    dtype: torch.dtype = torch.float32,
) -> tuple[float, int]:
    """The most FLOP a second that products of square matrices reach, and the size that does."""
    rates = []
    for size in sizes:
        a = torch.randn(size, size, generator=torch.Generator().manual_seed(size))
        a = a.to(device, dtype)
        times = []
        for _ in range(1 + SPINS):  # one to warm up
            started = now()
            a @ a
            times.append(now() - started)
        rates.append((2 * size**3 / min(times[1:]), size))
    return max(rates)

"""Several processes that train one model: gradients averaged, the first one writes.

`torchrun --nproc_per_node N -m segue.bridge.cli.main train` starts them and says in the environment
who is who; without it there is one process and nothing here does anything.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor

from segue.presets.vocabulary import Code, SegueError


def rank() -> int:
    """Number of this process, from 0."""
    return int(os.environ.get("RANK", "0"))


def count() -> int:
    """How many processes train."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def first() -> bool:
    """Whether this process is the one that prints and writes."""
    return rank() == 0


def own_cuda_device() -> torch.device:
    """The CUDA device of this process. Raises SegueError when there are more processes."""
    if count() == 1:
        return torch.device("cuda")
    local, there = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if local >= there:
        text = f"more processes than the {there} CUDA devices here; lower --nproc_per_node"
        raise SegueError(Code.BAD_REQUEST, text)
    torch.cuda.set_device(local)
    return torch.device("cuda", local)


def join() -> None:
    """Meet the other processes, once; they part when this one ends."""
    if count() == 1 or dist.is_initialized():
        return
    cuda = torch.cuda.is_available() and dist.is_nccl_available()
    dist.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo")
    atexit.register(dist.destroy_process_group)


def share(model: torch.nn.Module) -> None:
    """Give every process the weights of the first one."""
    if count() > 1:
        for tensor in model.state_dict().values():
            dist.broadcast(tensor, 0)


def gather(own: Tensor) -> Tensor:
    """(processes, ...): a tensor on the CPU of each process, all of one shape, by rank."""
    if count() == 1:
        return own[None]
    all_of_them = [torch.empty_like(own) for _ in range(count())]
    dist.all_gather(all_of_them, own)
    return torch.stack(all_of_them)


def average_gradients(parameters: Iterable[torch.nn.Parameter]) -> None:
    """Give every process the mean of all their gradients; one that has none counts as zero.

    Does nothing for one process. A parameter without a gradient anywhere stays without.
    """
    if count() == 1:
        return
    learning = [p for p in parameters if p.requires_grad]
    grads = [p.new_zeros(p.shape) if p.grad is None else p.grad for p in learning]
    there = learning[0].new_tensor([float(p.grad is not None) for p in learning])
    flat = torch.cat([*(g.flatten() for g in grads), there])  # one message for all of them
    dist.all_reduce(flat)
    *sums, there = flat.split([*(g.numel() for g in grads), len(grads)])
    for parameter, total, n in zip(learning, sums, there.tolist(), strict=True):
        parameter.grad = total.view_as(parameter) / count() if n else None

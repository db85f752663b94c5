"""The ranks that compute one video together: who is where, and what they say to each other.

rank = branch × ulysses + part. Ranks of one branch share a sequence (Ulysses); branches are the two halves of
classifier-free guidance. Rank 0 leads: it alone hears the supervisor, encodes prompts and decodes.
Invariant: between two steps all ranks have the same latents, bit for bit, or the group breaks. Who waits here waits for
as long as it takes: that a rank hangs is for the supervisor to see, which knows how long a step may take.
"""

import os
from datetime import timedelta
from typing import Final

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from videofleet.beacons import WorkerFault
from videofleet_worker.compute.entry import Seat
from videofleet_worker.faults import Fault

FOR_EVER: Final = timedelta(days=3650)


class Drifted(Exception):
    """Ranks went different ways; the message names them."""


class Group:
    """One rank's view of its group; with one rank every method is free."""

    def __init__(self, seat: Seat | None = None) -> None:
        """Waits for the other ranks. Raises: Fault when there are fewer GPUs than ranks."""
        self.rank = seat.rank if seat else 0
        self.cfg = seat.cfg if seat else 1
        self.ulysses = seat.ulysses if seat else 1
        self.ranks = self.cfg * self.ulysses
        self.leads = self.rank == 0
        self._seat = seat
        self.device = _device(seat)
        self.mesh: DeviceMesh | None = None
        if seat and self.ranks > 1:
            os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # all ranks are in one pod
            dist.init_process_group(
                "cpu:gloo,cuda:nccl" if seat.on_gpu else "gloo",
                init_method=f"file://{seat.rendezvous}",
                rank=seat.rank,
                world_size=self.ranks,
                timeout=FOR_EVER,
                device_id=self.device if seat.on_gpu else None,
            )
            shape, names = (self.cfg, 1, self.ulysses), ("cfg", "ring", "ulysses")
            self.mesh = init_device_mesh(self.device.type, shape, mesh_dim_names=names)

    def mark(self) -> None:
        """One thing more is done; the supervisor compares the counts when nobody answers."""
        if self._seat:
            self._seat.marks[self.rank] += 1

    def share(self, text: str | None) -> str:
        """What rank 0 says, on every rank."""
        if self.ranks == 1:
            return text or ""
        content = torch.frombuffer(bytearray((text or "").encode()), dtype=torch.uint8) if text else torch.empty(0)
        size = torch.tensor([content.numel()])
        dist.broadcast(size, src=0)
        if not self.leads:
            content = torch.empty(int(size), dtype=torch.uint8)
        if int(size):
            dist.broadcast(content, src=0)
        return content.numpy().tobytes().decode() if int(size) else ""

    def share_tensor(self, tensor: torch.Tensor | None, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        """Rank 0's tensor, on every rank's device."""
        if self.ranks == 1:
            assert tensor is not None  # noqa: S101 - rank 0 has it
            return tensor
        mine = torch.empty(shape, dtype=dtype, device=self.device) if tensor is None else tensor.contiguous()
        dist.broadcast(mine.view(-1).view(torch.uint8), src=0)
        return mine

    def decide(self, word: int) -> int:
        """Rank 0's word, on every rank."""
        if self.ranks > 1:
            said = torch.tensor([word])
            dist.broadcast(said, src=0)
            return int(said)
        return word

    def meet(self, word: int, *latents: torch.Tensor) -> int:
        """Rank 0's word, once all ranks have the same latents. Raises: Drifted."""
        if self.ranks == 1:
            return word
        mine = torch.tensor([word, sum(_checksum(row) for row in latents)])
        self.mark()
        all_of_them = torch.empty(2 * self.ranks, dtype=torch.int64)
        dist.all_gather_single(all_of_them, mine)
        words, sums = all_of_them.view(-1, 2).unbind(1)
        others = [rank for rank, total in enumerate(sums.tolist()) if total != int(sums[0])]
        if others:
            names = ", ".join(map(str, others))
            raise Drifted(f"latents of rank {names} differ from those of rank 0; its device may be broken")
        return int(words[0])

    @property
    def branch(self) -> str:
        """Which half of the guidance is this rank's; only where cfg is 2."""
        return ("cond", "uncond")[self.rank // self.ulysses]

    def both_branches(self, mine: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(conditional, unconditional) from this rank's own one and its partner's."""
        assert self.mesh is not None  # noqa: S101 - cfg is 2, so there are ranks
        content = mine.contiguous().view(-1).view(torch.uint8)
        self.mark()
        both = torch.empty(2 * content.numel(), dtype=torch.uint8, device=content.device)
        dist.all_gather_single(both, content, group=self.mesh["cfg"].get_group())
        conditional, unconditional = both.view(mine.dtype).view(2, *mine.shape).unbind(0)
        return conditional, unconditional

    def add_up(self, sums: torch.Tensor) -> torch.Tensor:
        """Of all ranks that share a sequence, bit-equal on each; a rank has a part of its tokens."""
        if self.mesh is not None and self.ulysses > 1:
            dist.all_reduce(sums, group=self.mesh["ulysses"].get_group())
        return sums

    def close(self) -> None:
        """Leaves the group in good order."""
        if self.ranks > 1:
            dist.destroy_process_group()


def _device(seat: Seat | None) -> torch.device:
    if seat is None or not seat.on_gpu:
        return torch.device("cpu")
    found = torch.cuda.device_count()
    if found < seat.ranks:
        raise Fault(
            WorkerFault.COMPUTE_CRASHED,
            f"spec.worker.gpus is {seat.ranks} but torch sees {found}; check driver, device plugin and image, or set 0",
        )
    device = torch.device("cuda", seat.rank)
    torch.cuda.set_device(device)
    return device


def _checksum(latents: torch.Tensor) -> int:
    """Of the bits, so that NaN has one too; the same in whatever order they are added."""
    return int(latents.contiguous().view(torch.int32).sum(dtype=torch.int64))


SOLO: Final = Group()

"""Batch normalisation of two halves in two processes is that of the whole in one: values, gradients, memory."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import nn

from ssl_bench.encoders.batch_norm import batch_norm_in_eval
from ssl_bench.engine.processes import Processes
from ssl_bench.engine.shared_statistics import share_statistics
from tests.processes.together import start_each


class Small(nn.Module):
    """Batch normalisation of maps and of vectors, with and without scales, one of them fixed."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3)
        self.maps = nn.BatchNorm2d(4)
        self.fixed = nn.BatchNorm2d(4)
        self.vectors = nn.BatchNorm1d(4, affine=False, momentum=None)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = self.fixed(self.maps(self.first(images)).relu())
        return self.vectors(maps.mean((2, 3)))


def whole(seed: int) -> tuple[Small, torch.Tensor, torch.Tensor]:
    torch.manual_seed(seed)
    module = Small()
    batch_norm_in_eval(module.fixed)
    return module.train(), torch.randn(6, 3, 7, 7) * 3 + 5, torch.randn(6, 4)


def half(out: Path, seed: int) -> int:
    """One process's half of two steps, the gradients averaged over both."""
    processes = Processes("cpu")
    module, images, wanted = whole(seed)
    share_statistics(module, processes)
    assert type(module.maps) is nn.BatchNorm2d
    mine = slice(processes.rank * 3, processes.rank * 3 + 3)
    wrapped = processes.wrap(module, [])
    for _ in range(2):
        module.zero_grad()
        values = wrapped(images[mine])
        (values * wanted[mine]).sum(1).mean().backward()
    gradients = {name: p.grad for name, p in module.named_parameters() if p.grad is not None}
    copied = copy.deepcopy(module).eval()
    torch.save(
        {
            "values": values.detach(),
            "gradients": gradients,
            "state": module.state_dict(),
            "judged": copied(images).detach(),
        },
        out / f"{processes.rank}.pt",
    )
    return 0


@pytest.mark.parametrize("seed", [0, 1])
def test_two_halves_are_the_whole(seed: int, tmp_path: Path) -> None:
    start_each(half, 2, tmp_path, tmp_path, seed).finished()
    module, images, wanted = whole(seed)
    for _ in range(2):
        module.zero_grad()
        values = module(images)
        (values * wanted).sum(1).mean().backward()
    halves = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    close = {"atol": 2e-5, "rtol": 1e-4}
    torch.testing.assert_close(torch.cat([one["values"] for one in halves]), values, **close)
    for one in halves:
        for name, parameter in module.named_parameters():
            torch.testing.assert_close(one["gradients"][name], parameter.grad, **close)
        torch.testing.assert_close(one["state"], module.state_dict(), **close)
        torch.testing.assert_close(one["judged"], copy.deepcopy(module).eval()(images), **close)
    alone = copy.deepcopy(whole(seed)[0])
    with torch.no_grad():
        apart = torch.cat([alone(images[:3]), alone(images[3:])])
    assert not torch.allclose(apart, values, atol=0.01), "halves alone would differ"

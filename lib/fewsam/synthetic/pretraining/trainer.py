"""The pretraining loop: draw, encode, fit, step; goes on from its last checkpoint, and leaves one when it ends.

Every step's random numbers come from the seed and the step's number alone, so a run that was interrupted and resumed
takes the same steps as one that was not.
"""

from __future__ import annotations

import copy
import json
import logging
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter

from fewsam.core.errors import CheckpointError, ConfigError
from fewsam.encoders.build_compact import build_compact
from fewsam.encoders.compact import CompactEncoder
from fewsam.synthetic.pretraining.channels import CHANNELS, add_fusion, silence
from fewsam.synthetic.pretraining.episodes import DATA_VERSION, Episode, draw_episode
from fewsam.synthetic.pretraining.objective import RidgeProbe, probe_rows, splits

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recipe:
    """What a run is. Its steps, sizes and seed decide the weights, up to rounding.

    Attributes:
        steps: optimiser steps in all.
        episodes: a step.
        slices: an episode.
        sizes: sides of the generated slices, multiples of 32; one is drawn for each step.
        trained: channels that are trained; the others of the 256 stay untrained ones.
        learning_rate: at its highest.
        warmup: steps until then.
        cooldown: share of the steps, at the end, over which it falls to zero.
        weight_decay: of kernels.
        average: decay of the running mean of the weights, which is what is kept.
        patients: phantom patients in the pool.
        seed: of everything drawn.
    """

    steps: int = 3000
    episodes: int = 1
    slices: int = 12
    sizes: tuple[int, ...] = (192, 192, 256)
    trained: int = 96
    learning_rate: float = 1e-3
    warmup: int = 100
    cooldown: float = 0.4
    weight_decay: float = 0.02
    average: float = 0.995
    patients: int = 72
    seed: int = 0

    def __post_init__(self) -> None:
        if self.slices < 6 or self.slices % 2:
            raise ConfigError(f"two patients cannot share {self.slices} slices: give 6, 8, 10, ...")
        if not self.sizes or any(size % 32 or size < 64 for size in self.sizes):
            raise ConfigError(f"sizes {list(self.sizes)}: each must be a multiple of 32, from 64")
        if not 0 < self.trained <= CHANNELS or self.trained % 4:
            raise ConfigError(f"{self.trained} trained channels of {CHANNELS}: give a multiple of 4 up to {CHANNELS}")

    def rate(self, step: int) -> float:
        """Learning rate of a step."""
        up = min(1.0, (step + 1) / max(1, self.warmup))
        down = min(1.0, (self.steps - step) / max(1.0, self.cooldown * self.steps))
        return self.learning_rate * up * down


class Trainer:
    """A run in a folder: ``last.pt``, ``log.jsonl`` and TensorBoard events.

    The untrained pyramid stays as it is: the linear classifier is fitted on untrained channels and trained ones
    together, so that the trained ones learn what is missing.

    Args:
        pool: tissue and structure of the phantom patients (`read_pool`).

    Raises:
        CheckpointError: the folder holds a run of another recipe.
    """

    def __init__(
        self, recipe: Recipe, folder: Path, pool: tuple[Tensor, Tensor], device: str | torch.device = "cpu"
    ) -> None:
        self.recipe, self.folder, self.device = recipe, folder, torch.device(device)
        folder.mkdir(parents=True, exist_ok=True)
        self.pool = (pool[0].to(self.device), pool[1].to(self.device))
        network = build_compact(None).requires_grad_(False)
        fusion, taken = add_fusion(network, recipe.trained, recipe.seed)
        self._taken = taken.to(self.device)[:, None, None]
        self.network = network.to(self.device)
        nn.utils.convert_conv2d_weight_memory_format(self.network, torch.channels_last)
        self.fusion = fusion
        self.average = copy.deepcopy(fusion).requires_grad_(False)
        self.probe = RidgeProbe().to(self.device)
        decayed = [p for p in fusion.parameters() if p.ndim > 1]
        free = [p for p in fusion.parameters() if p.ndim <= 1]
        self.optimiser = torch.optim.AdamW(
            [
                {"params": decayed, "weight_decay": recipe.weight_decay},
                {"params": [*free, *self.probe.parameters()], "weight_decay": 0.0},
            ],
            lr=recipe.learning_rate,
            betas=(0.9, 0.98),
        )
        self.step = 0
        self._resume()
        self._fusion: Callable[[list[Tensor]], Tensor] = fusion
        if self.device.type == "cuda":
            self._fusion = torch.compile(fusion)

    def run(
        self,
        until: int | None = None,
        save_seconds: float = 120.0,
        report: Callable[[int, int], None] | None = None,
    ) -> None:
        """Train to the recipe's last step, or to step ``until``, with a checkpoint every now and then.

        Args:
            report: called with steps done and in all, after each.
        """
        last = self.recipe.steps if until is None else min(until, self.recipe.steps)
        saved, began = time.monotonic(), time.monotonic()
        losses: list[Tensor] = []
        rights: list[Tensor] = []
        with SummaryWriter(str(self.folder)) as board, (self.folder / "log.jsonl").open("a") as log:
            while self.step < last:
                loss, right = self._one_step()
                losses.append(loss)
                rights.append(right)
                self.step += 1
                if report:
                    report(self.step, self.recipe.steps)
                if self.step % 50 == 0 or self.step == last:
                    row = {
                        "step": self.step,
                        "loss": float(torch.stack(losses).mean()),
                        "accuracy": float(torch.stack(rights).mean()),
                        "penalty": float(self.probe.log_penalty.detach().exp()),
                        "scale": float(self.probe.log_scale.detach().exp()),
                        "rate": self.recipe.rate(self.step),
                        "seconds": round(time.monotonic() - began, 1),
                    }
                    losses, rights = [], []
                    log.write(json.dumps(row) + "\n")
                    log.flush()
                    for name in ("loss", "accuracy", "rate"):
                        board.add_scalar(name, row[name], self.step)
                if time.monotonic() - saved > save_seconds:
                    self.save()
                    saved = time.monotonic()
        self.save()

    def episodes(self, step: int) -> list[Episode]:
        """The episodes of a step."""
        generator = self._generator(step)
        size = self.recipe.sizes[step * 7919 % len(self.recipe.sizes)]
        return [
            draw_episode(generator, self.recipe.slices, size, size // 4, self.pool) for _ in range(self.recipe.episodes)
        ]

    def save(self) -> None:
        """Write ``last.pt``, by atomic replace."""
        state: dict[str, Any] = {
            "recipe": {**asdict(self.recipe), "sizes": list(self.recipe.sizes)},
            "data": DATA_VERSION,
            "step": self.step,
            "fusion": self.fusion.state_dict(),
            "average": self.average.state_dict(),
            "probe": self.probe.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }
        temporary = self.folder / f".last.{os.getpid()}.pt"
        torch.save(state, temporary)
        temporary.replace(self.folder / "last.pt")

    def _resume(self) -> None:
        path = self.folder / "last.pt"
        if not path.is_file():
            return
        state = torch.load(path, map_location=self.device, weights_only=True)
        given = {**asdict(self.recipe), "sizes": list(self.recipe.sizes), "data": DATA_VERSION}
        there = {**state["recipe"], "data": state["data"]}
        if differing := [key for key in given if given[key] != there.get(key)]:
            key = differing[0]
            raise CheckpointError(
                f"{path} is of a run with {key} {there.get(key)}, not {given[key]}: give the same, or another folder"
            )
        self.fusion.load_state_dict(state["fusion"])
        for part in ("average", "probe", "optimiser"):
            getattr(self, part).load_state_dict(state[part])
        self.step = state["step"]
        logger.info("going on from step %d of %s", self.step, path)

    def _generator(self, number: int) -> torch.Generator:
        mixed = (self.recipe.seed * 1_000_003 + number + 2**40) * 2_654_435_761
        return torch.Generator(self.device).manual_seed(mixed % 2**63)

    def _one_step(self) -> tuple[Tensor, Tensor]:
        for group in self.optimiser.param_groups:
            group["lr"] = self.recipe.rate(self.step)
        drawn = self.episodes(self.step)
        chooser = self._generator(-1 - self.step)
        images = torch.cat([one.images for one in drawn])[:, None].expand(-1, 3, -1, -1)
        images = images.contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16):
            with torch.no_grad():
                levels = self.network.pyramid(images)
                fixed = self.network.linear(levels)
            learned = self._fusion(levels)
        embeddings = torch.where(self._taken, learned.float(), fixed.float())
        losses, rights = [], []
        for one, mine in zip(drawn, embeddings.split(self.recipe.slices), strict=True):
            rows, masks = probe_rows(mine, one.place), one.masks.flatten(2)
            for split in splits(chooser, one.patient):
                loss, right = self.probe(chooser, rows, masks, *split)
                losses.append(loss)
                rights.append(right)
        loss = torch.stack(losses).mean()
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.fusion.parameters(), 1.0)
        self.optimiser.step()
        keep = min(self.recipe.average, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for mean, value in zip(self.average.parameters(), self.fusion.parameters(), strict=True):
                mean.lerp_(value, 1 - keep)
        return loss.detach(), torch.stack(rights).mean()


@torch.no_grad()
def trained_network(folder: Path) -> tuple[CompactEncoder, dict[str, Any]]:
    """The averaged encoder of a run, before it is whitened, and what its checkpoint says.

    Raises:
        CheckpointError: there is no checkpoint.
    """
    path = folder / "last.pt"
    if not path.is_file():
        raise CheckpointError(f"no checkpoint at {path}; run fewsam pretrain first")
    state = torch.load(path, map_location="cpu", weights_only=True)
    network = build_compact(None)
    fusion, taken = add_fusion(network, state["recipe"]["trained"], state["recipe"]["seed"])
    fusion.load_state_dict(state["average"])
    silence(fusion, taken)
    return network, state

"""Correcting one class on one slice by clicks, from the few-shot tokens and the clicks together.

The clicked cells join the labelled ones: the class's probe is fitted on from where it stands, with the clicks as rows
of much weight; their embeddings become further tokens of the class; and the decoder answers for this slice anew. What
a click is sure of, the tissue under it and around it, is held in pixels by a kernel of place and intensity.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fewsam.core.errors import FewSAMError
from fewsam.encoders.slices import EncoderSlices
from fewsam.fewshot.inference.fusion import SliceEvidence, atlas_weight, fused_answer
from fewsam.fewshot.inference.predictor import Predictor
from fewsam.fewshot.model.decoder import GRID, Prompts
from fewsam.fewshot.model.prompts import probe_features
from fewsam.fewshot.registration.propagation import Propagation
from fewsam.images.preprocess import choose_intensity, detail_bytes, detail_tensor, image_stats, make_frame
from fewsam.images.volume import Volume

CLICK_WEIGHT = 0.5  # of all clicks against staying where the labelled slices put the probe
STAY = 5.0
ROUNDS = 15  # of L-BFGS
REGION = 0.05  # of the square's side: how far what a click teaches of the tissue counts
REACH = 0.06  # of the slice's longer side: how far a click alone reaches
LIKENESS = 0.15  # of the slice's spread of intensity: how far tissue may differ from that under the click
MARGIN = 0.5  # log-probability by which the clicked class wins, or loses, under the click
PASSES = 30  # over all clicks, at most

Points = Sequence[tuple[int, int]]


class ClickError(FewSAMError):
    """The clicks cannot be used; the message says why."""


@dataclass(frozen=True)
class Correction:
    """The class's mask on the slice, bool (H, W): with the clicks, and as it is without them."""

    mask: np.ndarray
    before: np.ndarray


class Clicks:
    """Answers clicks with what a predictor knows."""

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor
        self._intensity: weakref.WeakKeyDictionary[Volume, Any] = weakref.WeakKeyDictionary()

    @torch.inference_mode()
    def correct(self, volume: Volume, z: int, name: str, include: Points, exclude: Points) -> Correction:
        """Segment class ``name`` on slice ``z`` anew.

        Args:
            include: (row, col) of pixels that belong to the class.
            exclude: (row, col) of pixels that do not.

        Raises:
            ClickError: no click, a click outside of the slice, or a class without a labelled slice.
        """
        task = self.predictor.ready()
        classes = () if task is None else task.classes
        wanted = next((known for known in classes if known.casefold() == name.casefold()), None)
        if task is None or wanted is None:
            known = ", ".join(classes) or "no class yet"
            raise ClickError(f"{name!r} has no labelled slice yet ({known} has); draw it on one slice and submit first")
        self._check(volume, z, include, exclude)
        settings, embedder = self.predictor.settings, self.predictor.embedder
        geometry = volume.geometry
        detail_frame = make_frame(geometry.slices_shape, geometry.spacing, task.detail_size)
        if volume not in self._intensity:
            self._intensity[volume] = choose_intensity(image_stats(volume), settings)
        intensity = self._intensity[volume]
        slices = EncoderSlices(volume, settings, embedder, intensity)
        frame, raw = slices.frame, slices.raw([z])
        embeddings = torch.from_numpy(embedder.embed(slices.inputs(raw))).float()
        place = torch.tensor([z / max(1, volume.depth - 1)])
        bank, subset = task.supports.bank, task.supports.primary
        prompts = bank.prompts(embeddings, place, subset=subset, retrieve=settings.retrieve)
        number = 1 + classes.index(wanted)

        cells = [(_cells(points, volume, frame), answer) for points, answer in ((include, True), (exclude, False))]
        rows = (probe_features(embeddings, place) - bank._mean) / bank._spread
        before = bank.fit(subset).probe
        after = _refit(before, rows, cells, number)
        moved = rows @ (after - before)[:-1] + (after - before)[-1]
        near = _near([c for group, _ in cells for c in group])
        moved = moved.reshape(GRID, GRID, -1).permute(2, 0, 1)[None] * near
        clicked = _with_tokens(replace(prompts, prior=prompts.prior + moved), embeddings, cells[0][0], number)

        detail, model = detail_tensor(detail_bytes(raw, intensity, detail_frame)), task.model
        fields = self.predictor.fields
        evidence = SliceEvidence(
            embeddings,
            detail,
            None if model is None else model.decoder.detail_features(detail, embeddings),
            self._propagated(volume, z, classes),
            task.atlases.log_probs(volume, [z], intensity, fields) if settings.atlas else None,
            atlas_weight(task.undertrained, volume.depth, task.atlases.num_atlases(volume)),
            is_2d_image=volume.depth == 1,
        )
        answers = []
        # A click knows better than the neighbours and other images.
        for one, trust in ((prompts, None), (clicked, 1 - near)):
            logits = fused_answer(model, evidence, one, side=GRID, trust=trust)
            answers.append(torch.as_tensor((frame if model is None else detail_frame).to_slice(
                logits[0].log_softmax(0)
            )).float())  # fmt: skip
        grey = torch.from_numpy(raw[0, raw.shape[1] // 2].astype(np.float32))
        held = _hold(answers[1], grey, include, exclude, number)
        return Correction((held.argmax(0) == number).numpy(), (answers[0].argmax(0) == number).numpy())

    def _propagated(self, volume: Volume, z: int, classes: Sequence[str]) -> Tensor | None:
        """What the other drawn slices of the volume say of slice ``z``, (1, C, s, s)."""
        predictor = self.predictor
        shots = predictor.collection.shots(content_hash=volume.content_hash) if predictor.settings.propagate else []
        others = {shot.slice: shot for shot in shots if shot.slice != z}
        return Propagation(volume, others, classes, self._intensity[volume], predictor.fields)([z])

    @staticmethod
    def _check(volume: Volume, z: int, include: Points, exclude: Points) -> None:
        depth, height, width = volume.slices.shape[:3]
        if not include and not exclude:
            raise ClickError("there is no click; click on the structure (include) or beside it (exclude)")
        if not 0 <= z < depth:
            raise ClickError(f"slice {z} is not among the image's slices 0..{depth - 1}")
        outside = [p for p in (*include, *exclude) if not (0 <= p[0] < height and 0 <= p[1] < width)]
        if outside:
            raise ClickError(f"clicks {outside} (row, col) are outside of the slice of {height} x {width} pixels")
        both = set(include) & set(exclude)
        if both:
            raise ClickError(
                f"pixels {sorted(both)} were clicked as belonging and as not belonging; remove one of each"
            )


def _cells(points: Points, volume: Volume, frame: Any) -> list[int]:
    """Cells of the embedding's grid under the points."""
    height, width = volume.slices.shape[1:3]
    cells = []
    for row, col in points:
        y = (row + 0.5) / height * frame.content[0] / frame.size * GRID
        x = (col + 0.5) / width * frame.content[1] / frame.size * GRID
        cells.append(min(GRID - 1, int(y)) * GRID + min(GRID - 1, int(x)))
    return cells


def _refit(before: Tensor, rows: Tensor, cells: list[tuple[list[int], bool]], number: int) -> Tensor:
    """Coefficients (F + 1, C) that also answer the clicks, near those of the labelled slices."""
    chosen = torch.tensor([cell for group, _ in cells for cell in group])
    wanted = torch.tensor([answer for group, answer in cells for _ in group])
    with torch.inference_mode(False), torch.enable_grad():
        x, start, target = rows[chosen].clone(), before.clone(), wanted.clone()
        coefficients = start.clone().requires_grad_()
        optimiser = torch.optim.LBFGS([coefficients], max_iter=ROUNDS, line_search_fn="strong_wolfe")

        def closure() -> Tensor:
            optimiser.zero_grad()
            scores = torch.addmm(coefficients[-1], x, coefficients[:-1]).log_softmax(1)[:, number]
            other = torch.log1p(-scores.exp().clamp_max(1 - 1e-6))
            misfit = -torch.where(target, scores, other).mean()
            loss = CLICK_WEIGHT * misfit + STAY * (coefficients - start).square().sum()
            loss.backward()
            return loss

        optimiser.step(closure)
    return coefficients.detach()


def _near(cells: list[int]) -> Tensor:
    """Weights (64, 64), 1 at a click: what it teaches of the tissue counts less far away."""
    rows, cols = torch.arange(GRID)[:, None], torch.arange(GRID)[None]
    distance = [(rows - cell // GRID) ** 2 + (cols - cell % GRID) ** 2 for cell in cells]
    return torch.exp(-torch.stack(distance).amin(0) / (2 * (REGION * GRID) ** 2))


def _with_tokens(prompts: Prompts, embeddings: Tensor, cells: list[int], number: int) -> Prompts:
    """The included cells' embeddings as further tokens of the class."""
    if not cells:
        return prompts
    tokens = embeddings[0].flatten(1).T[cells]  # (clicks, 256)
    room = prompts.tokens.new_zeros(*prompts.tokens.shape[:2], len(cells), prompts.tokens.shape[3])
    present = torch.zeros(*prompts.present.shape[:2], len(cells), dtype=torch.bool)
    room[0, number], present[0, number] = tokens, True
    return replace(
        prompts,
        tokens=torch.cat([prompts.tokens, room], dim=2),
        present=torch.cat([prompts.present, present], dim=2),
    )


def _hold(scores: Tensor, grey: Tensor, include: Points, exclude: Points, number: int) -> Tensor:
    """Scores (C, H, W) changed so that the class wins under every included pixel and loses under every excluded one."""
    held = scores.clone()
    height, width = grey.shape
    reach = max(2.0, REACH * max(height, width))
    spread = float(grey.std()) * LIKENESS + 1e-6
    rows, cols = torch.arange(height)[:, None], torch.arange(width)[None]
    weights = []
    for points, sign in ((include, 1.0), (exclude, -1.0)):
        for row, col in points:
            near = ((rows - row) ** 2 + (cols - col) ** 2) / (2 * reach**2)
            like = (grey - grey[row, col]) ** 2 / (2 * spread**2)
            weights.append((row, col, sign, torch.exp(-near - like)))
    for _ in range(PASSES):  # clicks near each other pull at each other
        wrong = 0
        for row, col, sign, weight in weights:
            others = torch.cat([held[:number, row, col], held[number + 1 :, row, col]]).max()
            lack = MARGIN - sign * float(held[number, row, col] - others)
            if lack > 0:
                wrong += 1
                held[number] += sign * lack * weight
        if not wrong:
            break
    return held

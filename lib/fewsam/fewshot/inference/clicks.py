"""Correcting one class on one slice by clicks, from the few-shot tokens and the clicks together.

The clicked cells join the labelled ones: the class's probe is fitted on from where it stands, with the clicks as rows
of much weight; their embeddings become further tokens of the class; and the decoder answers for this slice anew. What
a click is sure of, the tissue under it and around it, is held in pixels by a kernel of place and intensity.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from fewsam.core.errors import FewSAMError
from fewsam.encoders.slices import EncoderSlices
from fewsam.fewshot.inference.fusion import SliceEvidence, fused_answer
from fewsam.fewshot.inference.predictor import Predictor
from fewsam.fewshot.inference.task import FewShotTask
from fewsam.fewshot.model.decoder import Prompts
from fewsam.fewshot.model.pixel_features import GRID
from fewsam.fewshot.registration.propagation import Propagation
from fewsam.images.frame import Frame, make_frame
from fewsam.images.preprocess import Intensity, choose_intensity, detail_bytes, detail_tensor, image_stats
from fewsam.images.volume import Volume


@dataclass(frozen=True)
class ClickConstants:
    """What a click is worth, and how far it reaches.

    Attributes:
        weight: Of all clicks in the fit, against staying where the labelled slices put the probe.
        stay: Weight of the squared distance from there.
        rounds: Of L-BFGS.
        region: Share of the square's side: how far what a click teaches of the tissue counts.
        reach: Share of the slice's longer side: how far a click alone reaches.
        likeness: Share of the slice's spread of intensity: how far tissue may differ from that under the click.
        margin: Log-probability by which the clicked class wins, or loses, under the click.
        passes: Over all clicks, at most.
    """

    weight: float = 0.5
    stay: float = 5.0
    rounds: int = 15
    region: float = 0.05
    reach: float = 0.06
    likeness: float = 0.15
    margin: float = 0.5
    passes: int = 30


CLICKS = ClickConstants()

Points = Sequence[tuple[int, int]]


class ClickError(FewSAMError):
    """The clicks cannot be used; the message says why."""


@dataclass(frozen=True)
class Correction:
    """The class's mask on the slice, bool (H, W): with the clicks, and as it is without them."""

    mask: np.ndarray
    before: np.ndarray


@dataclass(frozen=True)
class _Seen:
    """What is known of a slice before anybody clicks on it."""

    slices: EncoderSlices
    raw: np.ndarray
    embeddings: Tensor
    relative_z: Tensor
    evidence: SliceEvidence
    prompts: Prompts
    detail_frame: Frame

    def log_probs(self, task: FewShotTask, prompts: Prompts, trust: Tensor | None = None) -> Tensor:
        """Of each class and pixel, (C, H, W) float32 on the CPU."""
        log_probs = fused_answer(task.model, self.evidence, prompts, side=GRID, trust=trust)[0].log_softmax(0)
        return self.detail_frame.to_slice(log_probs.cpu()).float()


class Clicks:
    """Answers clicks with what a predictor knows."""

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor
        self._intensity: weakref.WeakKeyDictionary[Volume, Intensity] = weakref.WeakKeyDictionary()

    @torch.inference_mode()
    def correct(self, volume: Volume, z: int, name: str, include: Points, exclude: Points) -> Correction:
        """Segment class ``name`` on slice ``z`` anew.

        Args:
            include: (row, col) of pixels that belong to the class.
            exclude: (row, col) of pixels that do not.

        Raises:
            ClickError: no click, a click outside of the slice, or a class without a labelled slice.
        """
        task, class_index = self._class(name)
        self._check(volume, z, include, exclude)
        seen = self._look(task, volume, z)
        clicked = [_cells(points, volume, seen.slices.frame) for points in (include, exclude)]
        near = _near([*clicked[0], *clicked[1]], seen.embeddings.device)
        taught = _taught(task, seen.prompts, seen.embeddings, seen.relative_z, clicked, class_index, near)
        before = seen.log_probs(task, seen.prompts)
        # A click knows better than the neighbours and other images.
        scores = seen.log_probs(task, taught, trust=1 - near)
        # the slice between its neighbours, or the sequence that is looked at
        grey = torch.from_numpy(seen.raw[0, 0 if volume.sequences else seen.raw.shape[1] // 2].astype(np.float32))
        held = _hold(scores, grey, include, exclude, class_index)
        return Correction((held.argmax(0) == class_index).numpy(), (before.argmax(0) == class_index).numpy())

    @torch.inference_mode()
    def margin(self, volume: Volume, z: int, name: str) -> np.ndarray:
        """How much surer of class ``name`` than of any other the answer for slice ``z`` is, without clicks.

        Returns:
            Difference of log-probabilities, (H, W) float32.

        Raises:
            ClickError: a class without a labelled slice.
        """
        task, class_index = self._class(name)
        seen = self._look(task, volume, z)
        scores = seen.log_probs(task, seen.prompts)
        others = torch.cat([scores[:class_index], scores[class_index + 1 :]]).amax(0)
        found: np.ndarray = (scores[class_index] - others).numpy()
        return found

    def propagation(self, volume: Volume) -> Propagation:
        """The volume's slices as they are registered to each other."""
        return Propagation(volume, {}, (), self._intensity_of(volume), self.predictor.fields)

    def _look(self, task: FewShotTask, volume: Volume, z: int) -> _Seen:
        settings, embedder, geometry = self.predictor.settings, self.predictor.embedder, volume.geometry
        slices = EncoderSlices(volume, settings, embedder, self._intensity_of(volume))
        raw = slices.raw([z])
        embeddings = embedder.tensor(slices.inputs(raw))
        detail_frame = make_frame(geometry.slices_shape, geometry.spacing, task.detail_size)
        detail = detail_tensor(detail_bytes(raw, slices.intensity, detail_frame)).to(embedder.device)
        evidence = self._evidence(task, volume, z, embeddings, detail, detail_frame)
        relative_z = torch.tensor([z / max(1, volume.depth - 1)], device=embedder.device)
        prompts = task.supports.bank.prompts(
            embeddings, relative_z, subset=task.supports.primary, retrieve=settings.retrieve
        )
        return _Seen(slices, raw, embeddings, relative_z, evidence, prompts, detail_frame)

    def _class(self, name: str) -> tuple[FewShotTask, int]:
        """The task and the class's index among its logits; background is 0."""
        task = self.predictor.ready()
        classes = () if task is None else task.classes
        for index, own in enumerate(classes, 1):
            if task is not None and own.casefold() == name.casefold():
                return task, index
        some = ", ".join(classes) or "no class yet"
        raise ClickError(f"{name!r} has no labelled slice yet ({some} has); draw it on one slice and submit first")

    def _intensity_of(self, volume: Volume) -> Intensity:
        """What is shown as black and as white, chosen once for a volume."""
        if volume not in self._intensity:
            self._intensity[volume] = choose_intensity(image_stats(volume), self.predictor.settings)
        return self._intensity[volume]

    def _evidence(
        self, task: FewShotTask, volume: Volume, z: int, embeddings: Tensor, detail: Tensor, frame: Frame
    ) -> SliceEvidence:
        """What is known of slice ``z`` beside the prompts, on the square of ``frame``."""
        atlas_log_probs = None
        if self.predictor.settings.atlas:
            intensity, fields = self._intensity_of(volume), self.predictor.fields
            atlas_log_probs = task.atlases.log_probs(volume, [z], intensity, fields, frame)
        propagated = self._propagated(volume, z, task.classes, frame)
        return task.evidence(volume, embeddings, detail, propagated, atlas_log_probs)

    def _propagated(self, volume: Volume, z: int, classes: Sequence[str], frame: Frame) -> Tensor | None:
        """What the other drawn slices of the volume say of slice ``z``, (1, C, s, s) on the square of ``frame``."""
        predictor = self.predictor
        shots = predictor.collection.shots(content_hash=volume.content_hash) if predictor.settings.propagate else []
        others = {shot.slice: shot for shot in shots if shot.slice != z}
        return Propagation(volume, others, classes, self._intensity_of(volume), predictor.fields)([z], frame)

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


def _cells(points: Points, volume: Volume, frame: Frame) -> list[int]:
    """Cells of the embedding's grid under the points."""
    height, width = volume.slices.shape[1:3]
    cells = []
    for row, col in points:
        y = (row + 0.5) / height * frame.content[0] / frame.size * GRID
        x = (col + 0.5) / width * frame.content[1] / frame.size * GRID
        cells.append(min(GRID - 1, int(y)) * GRID + min(GRID - 1, int(x)))
    return cells


def _taught(
    task: FewShotTask,
    prompts: Prompts,
    embeddings: Tensor,
    relative_z: Tensor,
    clicked: Sequence[list[int]],
    class_index: int,
    near: Tensor,
) -> Prompts:
    """``prompts`` with what the clicks teach: a probe fitted on from there, and tokens of the included cells.

    Args:
        clicked: Cells that are included, and cells that are excluded.
        near: (64, 64) in 0..1, how much what the clicks teach counts at each cell.
    """
    bank = task.supports.bank
    rows, before = bank.probe_rows(embeddings, relative_z), bank.fit(task.supports.primary).probe
    change = _refit(before, rows, clicked, class_index) - before
    moved = (rows @ change[:-1] + change[-1]).reshape(GRID, GRID, -1).permute(2, 0, 1)[None] * near
    return _with_tokens(replace(prompts, prior=prompts.prior + moved), embeddings, clicked[0], class_index)


def _refit(before: Tensor, rows: Tensor, clicked: Sequence[list[int]], class_index: int) -> Tensor:
    """Coefficients (F + 1, C) that also answer the clicks, near those of the labelled slices."""
    include, exclude = clicked
    chosen = torch.tensor([*include, *exclude], device=rows.device)
    wanted = torch.tensor([True] * len(include) + [False] * len(exclude), device=rows.device)
    with torch.inference_mode(False), torch.enable_grad():
        x, start, target = rows[chosen].clone(), before.clone(), wanted.clone()
        coefficients = start.clone().requires_grad_()
        optimiser = torch.optim.LBFGS([coefficients], max_iter=CLICKS.rounds, line_search_fn="strong_wolfe")

        def closure() -> Tensor:
            optimiser.zero_grad()
            scores = torch.addmm(coefficients[-1], x, coefficients[:-1]).log_softmax(1)[:, class_index]
            other = torch.log1p(-scores.exp().clamp_max(1 - 1e-6))
            misfit = -torch.where(target, scores, other).mean()
            loss = CLICKS.weight * misfit + CLICKS.stay * (coefficients - start).square().sum()
            loss.backward()
            return loss

        optimiser.step(closure)
    return coefficients.detach()


def _near(cells: list[int], device: torch.device) -> Tensor:
    """Weights (64, 64), 1 at a click: what it teaches of the tissue counts less far away."""
    line = torch.arange(GRID, device=device)
    rows, cols = line[:, None], line[None]
    distance = [(rows - cell // GRID) ** 2 + (cols - cell % GRID) ** 2 for cell in cells]
    return torch.exp(-torch.stack(distance).amin(0) / (2 * (CLICKS.region * GRID) ** 2))


def _with_tokens(prompts: Prompts, embeddings: Tensor, cells: list[int], class_index: int) -> Prompts:
    """The included cells' embeddings as further tokens of the class."""
    if not cells:
        return prompts
    tokens = embeddings[0].flatten(1).T[cells]  # (clicks, 256)
    room = prompts.tokens.new_zeros(*prompts.tokens.shape[:2], len(cells), prompts.tokens.shape[3])
    present = prompts.present.new_zeros(*prompts.present.shape[:2], len(cells))
    room[0, class_index], present[0, class_index] = tokens, True
    return replace(
        prompts,
        tokens=torch.cat([prompts.tokens, room], dim=2),
        present=torch.cat([prompts.present, present], dim=2),
    )


def _hold(scores: Tensor, grey: Tensor, include: Points, exclude: Points, class_index: int) -> Tensor:
    """Scores (C, H, W) changed so that the class wins under every included pixel and loses under every excluded one."""
    held = scores.clone()
    height, width = grey.shape
    reach = max(2.0, CLICKS.reach * max(height, width))
    spread = float(grey.std()) * CLICKS.likeness + 1e-6
    rows, cols = (torch.arange(side, device=scores.device) for side in (height, width))
    rows, cols = rows[:, None], cols[None]
    weights = []
    for points, sign in ((include, 1.0), (exclude, -1.0)):
        for row, col in points:
            near = ((rows - row) ** 2 + (cols - col) ** 2) / (2 * reach**2)
            like = (grey - grey[row, col]) ** 2 / (2 * spread**2)
            weights.append((row, col, sign, torch.exp(-near - like)))
    for _ in range(CLICKS.passes):  # clicks near each other pull at each other
        wrong = 0
        for row, col, sign, weight in weights:
            others = torch.cat([held[:class_index, row, col], held[class_index + 1 :, row, col]]).max()
            lack = CLICKS.margin - sign * float(held[class_index, row, col] - others)
            if lack > 0:
                wrong += 1
                held[class_index] += sign * lack * weight
        if not wrong:
            break
    return held

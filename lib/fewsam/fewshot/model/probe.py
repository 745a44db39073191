"""The probe: a logistic regression from a cell's frozen embedding and its place to a class.

What it reads of a slice, which cells of a labelled slice it learns from, and its fit. `SupportBank` fits it anew for
each choice of labelled slices, in tenths of a second.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from fewsam.fewshot.model.pixel_features import EMBED_DIM, GRID


@dataclass(frozen=True)
class ProbeConstants:
    """How the probe learns.

    Attributes:
        ridge: Weight of the squared coefficients against the mean log-likelihood.
        rounds: Of L-BFGS.
        cells: Cells of the 64 x 64 grid to learn from, over all slices.
        sharpness: Power of a cell's shares of classes before they are learnt from (`sharpened`).
        sharpening_rounds: Of giving each class its area back after that.
        unknown_weight: Weight of an undrawn cell as background where some class was not looked for.
        bumps: Radial bumps a side that tell where in the slice a cell lies.
        bump_width: Their standard deviation, where the side is 2.
    """

    ridge: float = 3e-4
    rounds: int = 40
    cells: int = 12_000
    sharpness: float = 4.0
    sharpening_rounds: int = 20
    unknown_weight: float = 0.25
    bumps: int = 6
    bump_width: float = 0.2


PROBE = ProbeConstants()


class SampledCells(NamedTuple):
    """Cells of one view to learn from: rows (M, F), shares of classes (M, C), and weights (M,)."""

    rows: Tensor
    shares: Tensor
    weights: Tensor


def sample_cells(
    embedding: Tensor, mask: Tensor, relative_z: float, cells: Tensor, count: int, *, complete: bool
) -> SampledCells:
    """``count`` cells of a view with sharpened shares, small classes first.

    Args:
        embedding: (256, 64, 64) float.
        mask: (C, 64, 64) float in [0, 1], area-weighted, background first.
        relative_z: Place along the volume, 0 to 1.
        cells: (C,) how many cells each class has on all slices. Rare ones would drown in background: a cell weighs
            one over the root of it.
        complete: All classes were looked for, so that what is not drawn is background.
    """
    mask = mask.float().reshape(len(cells), -1)
    weights = mask / cells.clamp_min(1).sqrt()[:, None]
    weights[0] *= 1.0 if complete else PROBE.unknown_weight
    chance = (mask / mask.sum(1, keepdim=True).clamp_min(1)).sum(0)
    # A generator for each: what a slice contributes must not depend on which came before it.
    # The draw is the CPU's, whatever the device: the same slice gives the same rows everywhere.
    generator = torch.Generator("cpu").manual_seed(0)
    chosen = torch.multinomial((chance + 1e-9).cpu(), count, generator=generator).to(mask.device)
    place = torch.tensor([relative_z], dtype=torch.float32, device=mask.device)
    rows = probe_features(embedding.float()[None], place, chosen)
    return SampledCells(rows, sharpened(mask).T[chosen], weights.sum(0)[chosen])


def sharpened(shares: Tensor) -> Tensor:
    """Shares (C, n) of classes in each of n cells, nearer to one class a cell, while each class keeps its area.

    A border cell belongs to two classes, and a probe that learns so is unsure along every border. The winner alone
    would be sure, but a structure smaller than a cell would be gone. So shares are raised to a power, and classes are
    weighed until each has the area that it had (iterative proportional fitting, Deming and Stephan 1940).
    """
    area = shares.sum(1, keepdim=True)
    shares = shares**PROBE.sharpness
    for _ in range(PROBE.sharpening_rounds):
        shares = shares * (area / shares.sum(1, keepdim=True).clamp_min(1e-12))
        shares = shares / shares.sum(0, keepdim=True).clamp_min(1e-12)
    return shares


def probe_features(embeddings: Tensor, relative_z: Tensor, cells: Tensor | None = None) -> Tensor:
    """Rows for the probe: (N * 64 * 64, F) from embeddings (N, 256, 64, 64) and relative_z (N,).

    The normalised embedding, and the place as low polynomials and radial bumps.

    Args:
        cells: (M,) which cells of each slice, row by row; all by default. Then there are N * M rows.
    """
    pixels, flat = embeddings.flatten(2).transpose(1, 2), _place_across(embeddings.device)
    if cells is not None:
        pixels, flat = pixels[:, cells], flat[cells]
    pixels = F.layer_norm(pixels, (EMBED_DIM,))
    z = (2 * relative_z.float() - 1)[:, None, None].expand(len(pixels), len(flat), 1)
    x, y = flat[:, :1], flat[:, 1:2]
    along = torch.cat([z, z * x, z * y], dim=-1)
    return torch.cat([pixels, flat.expand(len(pixels), -1, -1), along], dim=-1).flatten(0, 1)


@cache
@torch.inference_mode(False)  # whoever asks first: a training's gradients must be able to pass
def _place_across(device: torch.device) -> Tensor:
    """Polynomials (x, y first) and bumps of each cell of the grid, (64 * 64, 5 + bumps squared)."""
    line = torch.linspace(-1, 1, GRID, device=device)
    y, x = torch.meshgrid(line, line, indexing="ij")
    middles = torch.linspace(-0.8, 0.8, PROBE.bumps, device=device)
    bump = torch.exp(-((line[:, None] - middles) ** 2) / (2 * PROBE.bump_width**2))
    bumps = torch.einsum("hi,wj->hwij", bump, bump).flatten(2)
    return torch.cat([torch.stack([x, y, x * x, y * y, x * y], dim=-1), bumps], dim=-1).flatten(0, 1)


def fit_probe(rows: Tensor, shares: Tensor, weights: Tensor) -> Tensor:
    """Multinomial logistic regression on standardised rows (M, F): coefficients (F + 1, C), the constant last.

    Args:
        shares: (M, C) of classes in each row, which sum to 1.
        weights: (M,) of rows.
    """
    answers = (shares.T * (weights / weights.sum())).contiguous()  # (C, M)
    total = answers.sum(0)
    # The optimiser must be able to change in place what was made here, whoever asks first.
    with torch.inference_mode(False), torch.no_grad():
        coefficients = torch.zeros(len(answers), rows.shape[1] + 1, device=rows.device)
        optimiser = torch.optim.LBFGS(
            [coefficients], lr=1, max_iter=PROBE.rounds, history_size=10, line_search_fn="strong_wolfe"
        )

        @torch.no_grad()
        def closure() -> Tensor:
            # The gradient by hand: classes first, both products read the rows as they lie in memory. Autograd's
            # product with the transposed rows takes four times as long.
            scores = torch.addmm(coefficients[:, -1:], coefficients[:, :-1], rows.T).log_softmax(0)
            excess = scores.exp() * total - answers
            gradient = torch.cat([excess @ rows, excess.sum(1, keepdim=True)], 1)
            coefficients.grad = gradient + 2 * PROBE.ridge * coefficients
            return PROBE.ridge * coefficients.square().sum() - (answers * scores).sum()

        optimiser.step(closure)
        return coefficients.T.contiguous()

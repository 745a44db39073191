"""Uncertainty on probabilities made by hand."""

import pytest
import torch

from fewsam.uncertainty import expected_disagreement


@pytest.mark.parametrize(("spread", "low", "high"), [(0.0, 0.0, 0.05), (3.0, 0.3, 1.0)])
def test_uncertainty_grows_with_disagreement(spread, low, high):
    base = torch.full((1, 2, 16, 16), -8.0)
    base[:, 0] = 8.0
    base[:, :, 4:12, 4:12] *= -1
    generator = torch.Generator().manual_seed(0)
    members = torch.stack(
        [
            (base * (1 if spread == 0 else 0.1) + spread * torch.randn(base.shape, generator=generator)).softmax(1)
            for _ in range(3)
        ]
    )
    assert low <= expected_disagreement(members).item() <= high

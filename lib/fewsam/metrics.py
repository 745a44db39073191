"""Overlap of two masks. By convention two empty masks agree fully: 1."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def iou(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Intersection over union of two bool arrays of any one shape."""
    union = np.logical_or(predicted, truth).sum()
    return float(np.logical_and(predicted, truth).sum() / union) if union else 1.0


def dice(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Dice coefficient of two bool arrays of any one shape."""
    total = predicted.sum() + truth.sum()
    return float(2 * np.logical_and(predicted, truth).sum() / total) if total else 1.0


def class_iou(predicted: np.ndarray, truth: np.ndarray, classes: Sequence[str]) -> dict[str, float]:
    """IoU of each class over two labelmaps, value = position + 1; classes in neither are left out."""
    return {
        name: iou(predicted == value, truth == value)
        for value, name in enumerate(classes, 1)
        if (truth == value).any() or (predicted == value).any()
    }

"""The tuned constants of self-training, each with its unit and where it was chosen."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SelfTrainingConstants:
    """How the decoder learns from slices that nobody labelled (docs/research/unlabelled.md).

    Attributes:
        steps: Of one training, each with labelled and with unlabelled slices.
        batch: Unlabelled slices of a step.
        confidence: Probability of the winning class from which on a pixel is learnt from.
        weight: Of the unlabelled slices' loss against 1 for that of the labelled ones.
        momentum: Share of the teacher's weights that stays at each step.
        rate: Factor on the learning rates of a first training: the decoder is trained already.
        channel_dropout: Share of the embedding's channels hidden from the student.
        tone: Standard deviation of the gain and shift of the student's detail input.
        box: Least and largest side, in cells of the embedding's grid, of what is pasted from a labelled slice into an
            unlabelled one.
        alone: Share of the steps that train the detail branch alone.
        slices: Unlabelled slices of a run, at most. They are what bounds its memory.
        images: Images that these are taken from, at most.
        candidates: Slices of an image that are looked at, at most.
        likeness: An image is of the same kind where its most likely slices are at least this much as like a labelled
            slice as labelled slices are like one another.
        folds: Parts of the labelled slices, each of which is held back once to see whether the result is better.
        gain: Mean Dice on slices held back by which the result must be better to be published.
        compared: Labelled slices on which the result is compared with the served decoder, at most.
        checkpoint_seconds: Seconds between two checkpoints that a stopped run goes on from.
    """

    steps: int = 150
    batch: int = 4
    confidence: float = 0.8
    weight: float = 1.0
    momentum: float = 0.98
    rate: float = 0.5
    channel_dropout: float = 0.4
    tone: float = 0.2
    box: tuple[int, int] = (20, 44)
    alone: float = 0.8
    slices: int = 160
    images: int = 60
    candidates: int = 16
    likeness: float = 0.8
    folds: int = 3
    gain: float = 0.0
    compared: int = 24
    checkpoint_seconds: float = 10.0


SELF_TRAINING = SelfTrainingConstants()

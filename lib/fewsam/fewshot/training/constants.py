"""The tuned constants of a training, each with its unit and where it was chosen."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TrainingConstants:
    """What a training does beyond the settings that a person chooses.

    Attributes:
        select_share: Share of the steps in which the slices held out are not learnt from; the rest learns from all.
        evaluations: How often the slices held out are evaluated in these steps.
        clock_slack: Share of a run by which its steps may be behind its time before the time is what counts.
        least_share: Share of a run's time that is for steps, however long its preparation took: a decoder that has made
            none would be published as one that knows the new labels.
        checkpoint_seconds: Seconds between two checkpoints that a killed run goes on from.
        log_steps: Steps between two points of the loss curve.
        careful_rate: Factor on the learning rate of attention and hypernetwork, which the full rate would unsettle.
        last_rate: Share of the learning rate that is left at the end of the cosine.
        gradient_norm: Norm of the gradient above which it is clipped.
        weight_decay: Of AdamW.
        batch_image, batch_embedding: Slices of a step where the decoder reads the image alone, and where it reads the
            embedding too, whose step costs twice as much (docs/research/decoder.md).
        detail_steps: Share of the steps that train the detail branch alone (docs/research/decoder.md).
        coarse_share: Share of a first training's steps in which large slices are learnt from at half their size, where
            a step takes a third of the time or less (docs/research/decoder.md).
        coarse_above: Side in pixels above which a slice is large, for a decoder that reads the image alone.
        neighbour_share: Share of the slices of a detail step that are a drawn slice's neighbour instead, while few are
            drawn (docs/research/neighbours.md).
        neighbours_up_to: Labelled slices of a task beyond which there is enough to learn from without neighbours.
        tone: Standard deviation of the fresh gain and shift of the detail input.
        folds: Different sets of supports that a query may be prompted by; the probe is fitted to each.
        tolerance: Dice by which the served decoder must do better on many validation images to stay.
        tolerance_few: The same where it is measured on one slice, or on the slices of few images.
        tolerance_untrained: The same for the untrained answer against a first training's. The two fail in different
            places: on one slice of an MR it was ahead by 0.09 where the decoder was better by 0.07 on all others.
    """

    select_share: float = 0.7
    evaluations: int = 6
    clock_slack: float = 0.02
    least_share: float = 0.5
    checkpoint_seconds: float = 10.0
    log_steps: int = 10
    careful_rate: float = 0.5
    last_rate: float = 0.02
    gradient_norm: float = 1.0
    weight_decay: float = 1e-2
    batch_image: int = 8
    batch_embedding: int = 4
    detail_steps: float = 0.8
    coarse_share: float = 0.5
    coarse_above: int = 192
    neighbour_share: float = 0.25
    neighbours_up_to: int = 24
    tone: float = 0.1
    folds: int = 6
    tolerance: float = 0.01
    tolerance_few: float = 0.05
    tolerance_untrained: float = 0.15


@dataclass(frozen=True)
class ValidationConstants:
    """What a training is measured on, and when a decoder counts as undertrained.

    Attributes:
        min_shots_to_hold_out: Labelled slices from which on one of them is held out where no validation image is.
        min_val_images: Validation images from which on they are kept apart for good. They are every fourth image, and
            this many are enough to choose weights by.
        new, settled: Share of the prior's error, on slices learnt from, that a decoder removes: at most `new` and it is
            fully undertrained (1), at least `settled` and it is not (0) (docs/research/decoder.md).
        asked: Slices learnt from that this is measured on, at most.
        component_gain: Dice by which the largest component alone must do better for a class to be cleaned by it.
    """

    min_shots_to_hold_out: int = 4
    min_val_images: int = 4
    new: float = 0.1
    settled: float = 0.5
    asked: int = 4
    component_gain: float = 0.005


TRAINING = TrainingConstants()
VALIDATION = ValidationConstants()

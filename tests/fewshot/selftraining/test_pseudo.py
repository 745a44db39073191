"""Pseudo-labels: silent where the teachers are not sure, and a teacher that follows slowly."""

import torch

from fewsam.fewshot.model.decoder import FewShotMaskDecoder
from fewsam.fewshot.selftraining.pseudo import PseudoLabels, Teacher, pseudo_label_loss


def labels(weight: float) -> PseudoLabels:
    classes = torch.zeros(1, 16, 16, dtype=torch.long)
    classes[:, 4:12, 4:12] = 1
    return PseudoLabels(classes, torch.full((1, 16, 16), weight))


def test_the_loss_falls_towards_the_pseudo_labels():
    wanted = torch.nn.functional.one_hot(labels(1).classes, 2).permute(0, 3, 1, 2).float()
    assert pseudo_label_loss(8 * wanted, labels(1)) < 0.05 < pseudo_label_loss(-8 * wanted, labels(1))


def test_at_half_the_size_the_same_is_taught():
    halved = labels(1.0).halved()
    assert halved.classes.shape == halved.weight.shape == (1, 8, 8)
    assert halved.classes.sum() == 4 * 4 and (halved.classes[:, 2:6, 2:6] == 1).all()


def test_pixels_of_doubt_teach_nothing():
    logits = torch.randn(1, 2, 16, 16, requires_grad=True)
    given = labels(1)
    given.weight[:, :8] = 0
    pseudo_label_loss(logits, given).backward()
    assert logits.grad is not None
    assert (logits.grad[:, :, :8] == 0).all() and (logits.grad[:, :, 8:] != 0).any()


def test_a_slice_of_doubt_alone_gives_no_loss():
    assert float(pseudo_label_loss(torch.randn(1, 2, 16, 16), labels(0))) == 0.0


def test_the_teacher_follows_fast_at_first_and_slowly_later():
    student = FewShotMaskDecoder(stride=8, mlp_dim=64)
    teacher = Teacher(student, 0.0)
    weight, its = teacher.decoder.mask_tokens.weight, student.mask_tokens.weight
    with torch.no_grad():
        its += 1
    gap = (its - weight).mean().item()
    teacher.follow(student, 0)
    first = (its - weight).mean().item()
    teacher.follow(student, 10_000)
    later = (its - weight).mean().item()
    assert abs(first / gap - 0.1) < 1e-4 and abs(later / first - 0.98) < 1e-4
    assert not any(value.requires_grad for value in teacher.decoder.parameters())

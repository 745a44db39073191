"""The loss knows what a label says and what it leaves unsaid."""

import torch
import torch.nn.functional as F

from fewsam.fewshot.model.losses import segmentation_loss


def one_hot(labels: torch.Tensor, classes: int) -> torch.Tensor:
    return F.one_hot(labels, classes).permute(0, 3, 1, 2).float()


def test_with_everything_known_it_is_cross_entropy_and_dice():
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 4, 4)
    labels = torch.randint(3, (2, 4, 4))
    mask = one_hot(labels, 3)
    p = logits.softmax(1)
    overlap = 2 * (p * mask).sum((0, 2, 3))
    dice = 1 - (overlap + 1) / ((p + mask).sum((0, 2, 3)) + 1)
    expected = F.cross_entropy(logits, labels) + dice[1:].mean()
    assert torch.allclose(segmentation_loss(logits, mask, torch.ones(2, 3, dtype=torch.bool)), expected, atol=1e-6)


def test_a_class_not_looked_for_is_not_punished():
    known = torch.tensor([[True, True, False]])
    mask = one_hot(torch.zeros(1, 4, 4, dtype=torch.long), 3)
    mask[:, :, 0, 0] = torch.tensor([0.0, 1.0, 0.0])
    confident = torch.zeros(1, 3, 4, 4)
    confident[:, 2] = 20.0  # class 2 everywhere but where class 1 is drawn
    confident[:, :, 0, 0] = torch.tensor([0.0, 20.0, 0.0])
    assert segmentation_loss(confident, mask, known) < 1e-3
    assert segmentation_loss(confident, mask, torch.ones(1, 3, dtype=torch.bool)) > 1


def test_claiming_a_known_class_where_nothing_is_drawn_is_punished():
    known = torch.tensor([[True, True, False]])
    mask = one_hot(torch.zeros(1, 4, 4, dtype=torch.long), 3)
    claims = torch.zeros(1, 3, 4, 4)
    claims[:, 1] = 20.0
    assert segmentation_loss(claims, mask, known) > 1


def test_gradient_is_finite_on_an_empty_slice():
    logits = torch.zeros(1, 3, 4, 4, requires_grad=True)
    mask = one_hot(torch.zeros(1, 4, 4, dtype=torch.long), 3)
    segmentation_loss(logits, mask, torch.tensor([[True, False, False]])).backward()
    assert logits.grad is not None and torch.isfinite(logits.grad).all()

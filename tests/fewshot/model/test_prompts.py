"""Prompts from labelled slices, on embeddings made by hand."""

import weakref
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from fewsam.fewshot.model import prompts
from fewsam.fewshot.model.prompts import LabelledView, SupportBank, probe_features, soft_masked_pooling, weighted_kmeans


def view(shot: int, signal: float = 1.0, z: float = 0.5, side: slice = slice(0, 32)) -> LabelledView:
    """Class 1 fills the columns ``side`` and differs in channel 0; class 2 is nowhere."""
    generator = torch.Generator().manual_seed(shot)
    mask = torch.zeros(3, 64, 64)
    mask[1, :, side] = 1
    mask[0] = 1 - mask[1]
    embedding = torch.randn(256, 64, 64, generator=generator) * 0.1
    embedding[0] += signal * (2 * mask[1] - 1) * 3
    return LabelledView(shot, embedding, mask, torch.ones(3, dtype=torch.bool), z)


def test_soft_pooling_weighs_by_area():
    embeddings = torch.zeros(1, 2, 1, 2)
    embeddings[0, 0] = torch.tensor([1.0, 5.0])
    masks = torch.tensor([[[[1.0, 0.25]], [[0.0, 0.0]]]])
    pooled, present = soft_masked_pooling(embeddings, masks)
    assert pooled[0, 0, 0].item() == pytest.approx((1 * 1 + 5 * 0.25) / 1.25)
    assert present.tolist() == [[True, False]]


def test_prior_finds_the_class_and_not_the_absent_one():
    bank = SupportBank([view(0), view(1)])
    query = view(7)
    winners = bank.prior(query.embedding[None], torch.tensor([0.5]), torch.arange(2)).argmax(1)[0]
    assert (winners == query.mask.argmax(0)).float().mean() > 0.98
    assert not (winners == 2).any()


def test_leaving_a_slice_out_is_as_if_it_had_never_been_there():
    both, alone = SupportBank([view(0), view(1, signal=-1.0)]), SupportBank([view(0)])
    query = view(7).embedding[None]
    place = torch.tensor([0.5])
    part = torch.tensor([0])
    assert torch.equal(both.similarity(query, part), alone.similarity(query, part))
    # The class weights are those of the whole bank; winners are the same, scores nearly.
    assert torch.equal(both.prior(query, place, part).argmax(1), alone.prior(query, place, part).argmax(1))


def test_probe_is_the_logistic_regression_it_says(monkeypatch):
    """Against scikit-learn, on the same rows and weights."""
    monkeypatch.setattr(prompts, "PROMPTS", replace(prompts.PROMPTS, probe_rounds=400))
    bank = SupportBank([view(0, signal=0.15)])
    rows, answers, weights = bank._standard(bank._rows[0]), bank._answers[0], bank._weights[0]
    used = answers[:, :2]  # class 2 is nowhere
    weights = (weights / weights.sum()).numpy()
    expected = LogisticRegression(C=1 / prompts.PROMPTS.ridge, max_iter=2000, tol=1e-8)
    expected.fit(rows.numpy(), used.argmax(1).numpy(), sample_weight=weights)
    query = view(7, signal=0.15)
    place = torch.tensor([0.5])
    found = bank.probe(query.embedding[None], place, torch.tensor([0]))[0, :2].softmax(0)[1].flatten().numpy()
    wanted = expected.predict_proba(bank._standard(probe_features(query.embedding[None], place)).numpy())[:, 1]
    assert np.abs(found - wanted).max() < 0.04  # ours counts a third class, and the constant in the penalty


def test_the_probe_of_soft_answers_is_where_the_loss_is_flat(monkeypatch):
    """Cells that two classes share, and a class that was not looked for: the gradient of autograd is nought there."""
    monkeypatch.setattr(prompts, "PROMPTS", replace(prompts.PROMPTS, probe_rounds=400))
    shared, partly = view(0, signal=0.2), view(1, signal=0.2)
    shared.mask[1:, :, 30:34] = 0.5
    shared.mask[0] = 1 - shared.mask[1:].sum(0)
    partly.annotated_classes[2] = False
    bank = SupportBank([shared, partly])
    rows = bank._standard(torch.cat(bank._rows))
    answers, weights = torch.cat(bank._answers), torch.cat(bank._weights)
    assert ((answers > 0.2) & (answers < 0.8)).any() and len(weights.unique()) > 2

    def steepest(coefficients: torch.Tensor) -> float:
        coefficients = coefficients.clone().requires_grad_()
        scores = (rows @ coefficients[:-1] + coefficients[-1]).log_softmax(1)
        misfit = -(weights[:, None] * answers * scores).sum() / weights.sum()
        (misfit + prompts.PROMPTS.ridge * coefficients.square().sum()).backward()
        assert coefficients.grad is not None
        return coefficients.grad.abs().max().item()

    found = bank.fit(torch.tensor([0, 1])).probe
    assert steepest(found) < 1e-3 * steepest(torch.zeros_like(found))


def test_similarity_is_the_cosine_to_the_own_nearest_prototype_less_any_others():
    shifted = view(1, signal=0.5, side=slice(16, 48))
    bank, subset = SupportBank([view(0, signal=0.5), shifted]), torch.tensor([0, 1])
    query = torch.stack([view(7, signal=0.5).embedding, view(8).embedding])
    query[0, :, 3, 5] = 0  # a cell that says nothing
    centres, has_centre, _ = bank.fit(subset)
    assert not has_centre[2].any() and has_centre[:2].all()
    cells = query.permute(0, 2, 3, 1)
    own = [
        torch.stack([torch.cosine_similarity(cells, centre, dim=-1) for centre in centres[c]]).amax(0) for c in (0, 1)
    ]
    found = bank.similarity(query, subset)
    assert torch.allclose(found[:, 0], own[0] - own[1], atol=1e-5)
    assert torch.allclose(found[:, 1], own[1] - own[0], atol=1e-5)
    assert found[0, :2, 3, 5].abs().max() == 0


def test_retrieval_prefers_the_like():
    near, far = view(0), view(1, signal=-1.0)
    bank = SupportBank([far, near])
    assert bank.nearest(view(7).embedding[None], torch.arange(2), 1).tolist() == [[1]]


def test_tokens_of_absent_classes_are_marked():
    given_prompts = SupportBank([view(0), view(1)]).prompts(view(7).embedding[None], torch.tensor([0.5]), retrieve=2)
    assert given_prompts.tokens.shape == (1, 3, 2 + 3, 256)
    assert given_prompts.present[0, 1].all()
    assert not given_prompts.present[0, 2].any()


def test_a_structure_smaller_than_a_cell_still_gives_a_token():
    small = view(0)
    mask = small.mask.clone()
    mask[2, 10, 10], mask[1:2, 10, 10], mask[0, 10, 10] = 0.2, 0.0, 0.8
    bank = SupportBank([LabelledView(0, small.embedding, mask, small.annotated_classes, 0.5)])
    assert bank.present[0, 2]


def test_sharpened_cells_are_nearer_to_one_class_and_classes_keep_their_area():
    mask = torch.zeros(3, 100)
    mask[1, :40], mask[1, 40:50] = 1, torch.linspace(0.9, 0.1, 10)
    mask[2, 70], mask[2, 71] = 0.2, 0.3  # smaller than a cell
    mask[0] = 1 - mask[1:].sum(0)
    found = prompts.sharpened(mask)
    assert torch.allclose(found.sum(0), torch.ones(100)) and torch.allclose(found.sum(1), mask.sum(1), atol=0.01)
    assert found[1, 41] > 0.95 and found[1, 48] < 0.05
    assert found[2].argmax() == 71 and found[2, 71] > mask[2, 71]
    assert torch.equal(found[:, :40], mask[:, :40])  # where there is one class there is nothing to sharpen


@given(st.integers(1, 12), st.integers(1, 5), st.integers(0, 2**31))
@hypothesis_settings(max_examples=40, deadline=None)
def test_kmeans_keeps_weight_and_range(count, clusters, seed):
    generator = torch.Generator().manual_seed(seed)
    points, weights = torch.rand(count, 3, generator=generator), torch.rand(count, generator=generator)
    centres, sizes = weighted_kmeans(points, weights, clusters)
    assert centres.shape == (clusters, 3)
    assert sizes.sum().item() == pytest.approx(weights.sum().item(), rel=1e-4)
    assert centres.min() >= points.min() - 1e-5 and centres.max() <= points.max() + 1e-5


class OneByOne(Sequence[LabelledView]):
    """Makes a view when it is asked for, and counts how many embeddings are alive then."""

    def __init__(self, count: int) -> None:
        self.count, self.most = count, 0
        self.made: list[weakref.ref[torch.Tensor]] = []

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, place):
        if place >= self.count:
            raise IndexError(place)
        made = view(place, signal=0.5 + place / 10)
        self.made.append(weakref.ref(made.embedding))
        self.most = max(self.most, sum(one() is not None for one in self.made))
        return made


def test_a_bank_holds_few_embeddings_at_a_time_and_is_the_same():
    lazy = OneByOne(12)
    bank, whole = SupportBank(lazy), SupportBank([view(n, signal=0.5 + n / 10) for n in range(12)])
    assert lazy.most <= 3 and not any(one() is not None for one in lazy.made)
    query, place = view(3).embedding[None], torch.tensor([0.5])
    one, other = bank.prompts(query, place), whole.prompts(query, place)
    for name in ("tokens", "present", "prior", "class_ids", "num_supports"):
        assert torch.equal(getattr(one, name), getattr(other, name))

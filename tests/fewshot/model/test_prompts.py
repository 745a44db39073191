"""Prompts from labelled slices, on embeddings made by hand."""

import weakref
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from fewsam.fewshot.model.prompts import LabelledView, SupportBank, soft_masked_pooling, weighted_kmeans
from helpers.labelled_views import view


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

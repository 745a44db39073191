"""Which slice comes next."""

from __future__ import annotations

import numpy as np
import pytest

from fewsam.core.errors import ConfigError
from fewsam.fewshot.inference.acquisition import STRATEGIES, Candidate, rank


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def volume(image_id: str, depth: int, **known: dict[int, object]) -> list[Candidate]:
    """All slices of an image; ``known`` maps a field to its values by slice."""
    return [
        Candidate(image_id, z, depth, **{field: values.get(z) for field, values in known.items()})  # type: ignore[arg-type]
        for z in range(depth)
    ]


def doubtful(image_id: str, depth: int, *doubt: dict[int, float]) -> list[Candidate]:
    """An image with the given uncertainty, one dict a class; 0.01 elsewhere."""
    values = {z: np.array([d.get(z, 0.01) for d in doubt]) for z in range(depth)}
    return volume(image_id, depth, uncertainty=values)


def places(ranked: list[Candidate]) -> list[tuple[str, int]]:
    return [(c.image_id, c.slice) for c in ranked]


MIXED = [
    *doubtful("a", 9, {3: 0.9}, {5: 0.8}),
    *volume("b", 7, descriptor={z: np.eye(7)[z] for z in range(7)}),
    *volume("c", 5, foreground={1: np.array([0.2, 0.0]), 2: np.array([0.0, 0.0])}),
]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_unlabelled_slice_is_ranked_once_and_labelled_ones_drop_out(strategy: str) -> None:
    labelled = {"a": {3, 4}, "c": set(range(5)), "gone": {1}}
    ranked = rank(MIXED, labelled, strategy, rng())
    expected = {("a", z) for z in range(9) if z not in (3, 4)} | {("b", z) for z in range(7)}
    assert set(places(ranked)) == expected and len(ranked) == len(expected)
    assert all(0.0 <= c.score <= 1.0 for c in ranked)
    assert rank(MIXED, {"a": range(9), "b": range(7), "c": range(5)}, strategy, rng()) == []


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_generator_is_the_only_source_of_chance(strategy: str) -> None:
    first, second = (places(rank(MIXED, {"a": {3}}, strategy, rng(7))) for _ in range(2))
    assert first == second


def test_random_depends_on_the_generator() -> None:
    assert len({tuple(places(rank(MIXED, {}, "random", rng(seed)))) for seed in range(5)}) == 5


def test_an_unknown_strategy_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"'best'.*informative"):
        rank(MIXED, {}, "best", rng())


def test_first_goes_through_the_volumes_in_order() -> None:
    ranked = rank(volume("z", 3) + volume("a", 2), {"z": {0}}, "first", rng())
    assert places(ranked) == [("z", 1), ("z", 2), ("a", 0), ("a", 1)]


def test_interval_halves_the_largest_gap_image_after_image() -> None:
    assert places(rank(volume("a", 7), {}, "interval", rng()))[:3] == [("a", 3), ("a", 1), ("a", 5)]
    assert places(rank(volume("a", 9), {"a": {0}}, "interval", rng()))[0] == ("a", 4)
    two = places(rank(volume("a", 7) + volume("b", 7), {"a": {3}}, "interval", rng()))
    assert two[0] == ("b", 3) and {image for image, _ in two[1:3]} == {"a", "b"}


def test_foreground_random_takes_slices_with_structures_first() -> None:
    here = {z: np.array([0.1 if z in (4, 6, 8) else 0.0, 0.0]) for z in range(12)}
    starts = set()
    for seed in range(20):
        ranked = places(rank(volume("a", 12, foreground=here), {}, "foreground_random", rng(seed)))
        assert {z for _, z in ranked[:3]} == {4, 6, 8}
        starts.add(ranked[0][1])
    assert starts == {4, 6, 8}
    unseen = {rank(volume("a", 12), {}, "foreground_random", rng(seed))[0].slice for seed in range(30)}
    assert len(unseen) > 6


def test_cold_start_takes_one_typical_slice_of_each_cluster() -> None:
    noise = np.random.default_rng(1)
    kinds = {"a": 0, "b": 1, "c": 2}
    candidates = []
    for image, kind in kinds.items():
        descriptors: dict[int, object] = {z: np.eye(3)[kind] + noise.normal(0, 0.05, 3) for z in range(10)}
        candidates += volume(image, 10, descriptor=descriptors)
    ranked = rank(candidates, {}, "informative", rng())
    assert {c.image_id for c in ranked[:3]} == {"a", "b", "c"}


def test_cold_start_does_not_begin_with_an_outlier_or_the_end_of_a_volume() -> None:
    noise = np.random.default_rng(1)
    body: dict[int, object] = {z: np.array([1.0, 0.0, 0.0]) + noise.normal(0, 0.1, 3) for z in range(40)}
    body[0] = body[39] = np.array([-1.0, 0.0, 0.0])  # air
    body[20] = np.array([0.0, 0.0, 9.0])  # one broken slice
    for seed in range(10):
        first = rank(volume("a", 40, descriptor=body), {}, "informative", rng(seed))[0]
        assert first.slice not in (0, 20, 39)


def test_cold_start_without_descriptors_begins_in_the_middle_and_spreads_over_images() -> None:
    ranked = rank(volume("a", 21) + volume("b", 21), {}, "informative", rng())
    assert [c.slice for c in ranked[:2]] == [10, 10] and {c.image_id for c in ranked[:2]} == {"a", "b"}


def test_cold_start_goes_on_with_another_cluster_after_a_label() -> None:
    look: dict[int, object] = {z: np.eye(2)[int(z >= 12)] for z in range(20)}
    candidates = volume("a", 20, descriptor=look)
    first = rank(candidates, {}, "informative", rng())[0].slice
    second = rank(candidates, {"a": {first}}, "informative", rng())[0].slice
    assert (first >= 12) != (second >= 12)


def test_with_many_labels_the_most_uncertain_slice_of_each_class_comes_first() -> None:
    candidates = doubtful("a", 60, {10: 0.9}, {45: 0.05, 20: 0.04})
    others = {"z": set(range(4000))}  # the noise has faded
    ranked = rank(candidates, others, "informative", rng())
    assert {c.slice for c in ranked[:2]} == {10, 45}


def test_noise_fades_as_labels_come_in() -> None:
    candidates = doubtful("a", 60, {z: z / 60 for z in range(60)})

    def firsts(count: int) -> list[int]:
        others = {"z": set(range(count))}
        return [rank(candidates, others, "informative", rng(seed))[0].slice for seed in range(60)]

    few, many = firsts(0), firsts(400)
    assert len(set(few)) > 15 and np.mean(few) < np.mean(many)
    assert min(many) > 50


def test_every_class_gets_its_turn() -> None:
    """A class whose doubts are small in number is not drowned by one that is unsure everywhere."""
    loud = {z: 0.5 + z / 1000 for z in range(60)}
    quiet = {z: 0.001 + (0.01 if z == 7 else 0.0) for z in range(60)}
    others = {"z": set(range(4000))}
    for seed in range(10):
        assert 7 in [c.slice for c in rank(doubtful("a", 60, loud, quiet), others, "informative", rng(seed))[:2]]


def test_neighbours_of_labelled_slices_and_crowded_images_come_later() -> None:
    doubt = dict.fromkeys(range(30), 0.9)
    both = doubtful("a", 30, doubt) + doubtful("b", 30, doubt)
    others = {"z": set(range(4000))}
    for seed in range(10):
        first = rank(doubtful("a", 30, doubt), {**others, "a": {15}}, "informative", rng(seed))[0]
        assert abs(first.slice - 15) > 1
        assert rank(both, {**others, "a": {2, 9, 15, 22, 28}}, "informative", rng(seed))[0].image_id == "b"
        picks = [c.slice for c in rank(doubtful("a", 30, doubt), others, "informative", rng(seed))[:4]]
        assert min(abs(x - y) for x in picks for y in picks if x != y) > 1


def test_an_image_not_segmented_yet_is_not_left_to_the_end() -> None:
    seen = doubtful("a", 30, dict.fromkeys(range(30), 0.5))
    ranked = rank(seen + volume("new", 30), {"a": {4, 20}}, "informative", rng())
    assert "new" in {c.image_id for c in ranked[:3]}


def test_odd_numbers_do_no_harm() -> None:
    candidates = [
        Candidate("a", 0, 3, uncertainty=np.array([np.nan, np.inf])),
        Candidate("a", 1, 3, uncertainty=np.array([0.5])),
        Candidate("a", 2, 3, uncertainty=np.array([])),
        Candidate("b", 0, 1, descriptor=np.array([np.nan, 1.0])),
    ]
    with np.errstate(all="raise", under="ignore"):
        assert len(rank(candidates, {}, "informative", rng())) == 4
        assert len(rank([candidates[3]], {}, "informative", rng())) == 1
    assert all(np.isfinite(c.score) for c in rank(candidates, {}, "informative", rng()))


def test_many_candidates_are_all_ranked() -> None:
    noise = np.random.default_rng(0)
    candidates = [Candidate(f"{n}", 0, 1, descriptor=noise.normal(size=8)) for n in range(6000)]
    assert len(set(places(rank(candidates, {}, "informative", rng())))) == 6000

"""Draws: repeatable, foreground-aware, nested in nothing that is tested."""

import numpy as np
import pytest

from fewsam.core.errors import ConfigError, LabelError
from fewsam.evaluation.data.cases import Case
from fewsam.evaluation.data.sampling import Draw, check_no_leak, draw
from fewsam.evaluation.data.tasks import Task
from fewsam.images.volume import Volume, geometry_for


def case(name: str, depth: int = 12, patient: str = "", seed: int = 0) -> Case:
    """Class "a" on slices 2 to 9, "b" on 6 and 7."""
    rng = np.random.default_rng([seed, *map(ord, name)])
    slices = rng.integers(0, 200, (depth, 4, 5)).astype(np.int16)
    volume = Volume(slices, geometry_for((5, 4, depth), np.eye(4), "2"), None, name)
    a, b = np.zeros(slices.shape, bool), np.zeros(slices.shape, bool)
    a[2:10, 0, 0] = True
    b[6:8, 1, 1] = True
    return Case(name, volume, {"a": a, "b": b}, patient or name)


def task(**fields: object) -> Task:
    return Task(name="t", images=["x"], labels=["y"], names={1: "a", 2: "b"}, **fields)  # type: ignore[arg-type]


CASES = [case(f"p{n}") for n in range(5)]


@pytest.mark.parametrize("choice", ["random", "even"])
@pytest.mark.parametrize("protocol", ["slices", "patients"])
def test_draws_repeat_hold_foreground_and_leave_all_else_to_test(protocol, choice):
    for seed in range(6):
        picked = draw(CASES, task(protocol=protocol, patients=2), 3, seed, choice)
        assert picked == draw(CASES, task(protocol=protocol, patients=2), 3, seed, choice)
        assert sum(len(slices) for slices in picked.labelled.values()) == 3
        for index, slices in picked.labelled.items():
            assert len(set(slices)) == len(slices)
            assert all(CASES[index].truth["a"][z].any() for z in slices)
        if protocol == "slices":
            assert sorted(picked.labelled[0] + picked.tested[0]) == list(range(12))
        else:
            assert len(picked.labelled) == 2
            assert picked.tested == {i: list(range(12)) for i in range(5) if i not in picked.labelled}


def test_a_random_draw_covers_the_classes_first():
    for seed in range(10):
        picked = draw(CASES, task(), 1, seed)
        assert picked.labelled[0][0] in (6, 7)  # the only slices that show both


def test_an_even_draw_is_even():
    assert draw(CASES, task(), 4, 0, "even").labelled == {0: [3, 5, 7, 9]}


def test_acquisition_knows_the_embeddings_and_not_the_truth():
    descriptors = np.random.default_rng(0).normal(size=(12, 6))
    picked = draw(CASES, task(), 4, 0, "acquisition", lambda _: descriptors)
    assert len(set(picked.labelled[0])) == 4
    blind = [Case(c.name, c.volume, {n: np.zeros_like(m) for n, m in c.truth.items()}, c.patient) for c in CASES]
    assert draw(blind, task(), 4, 0, "acquisition", lambda _: descriptors) == picked
    other = np.random.default_rng(1).normal(size=(12, 6))
    assert draw(CASES, task(), 4, 0, "acquisition", lambda _: other) != picked
    with pytest.raises(ConfigError, match="embeddings"):
        draw(CASES, task(), 3, 0, "acquisition")


def test_too_few_slices_or_patients_are_refused():
    with pytest.raises(LabelError, match="fewer than 9"):
        draw(CASES, task(), 9, 0)
    with pytest.raises(LabelError, match="fewer than 9"):
        draw(CASES, task(), 9, 0, "even")
    with pytest.raises(LabelError, match="one patient alone"):
        draw(CASES[:1], task(protocol="patients"), 1, 0)
    with pytest.raises(ConfigError, match="nosuch"):
        draw(CASES, task(), 1, 0, "nosuch")


def test_images_of_one_patient_stay_on_one_side():
    cases = [case(f"p{n}-{part}", patient=f"p{n}") for n in range(4) for part in "xy"]
    for seed in range(8):
        picked = draw(cases, task(protocol="patients", patients=2), 4, seed)
        known = {cases[i].patient for i in picked.labelled}
        assert len(known) == 2 and not known & {cases[i].patient for i in picked.tested}
        assert len(picked.tested) == 4


def test_single_pictures_take_a_patient_each():
    pictures = [case(f"p{n}", depth=12) for n in range(6)]
    pictures = [
        Case(c.name, Volume(c.volume.slices[6:7], geometry_for((5, 4, 1), np.eye(4)), None, c.name),
             {n: m[6:7] for n, m in c.truth.items()}, c.patient)
        for c in pictures
    ]  # fmt: skip
    picked = draw(pictures, task(protocol="patients", patients=None), 4, 0)
    assert len(picked.labelled) == 4 and len(picked.tested) == 2
    with pytest.raises(LabelError, match="fewer than 6"):
        draw(pictures, task(protocol="patients", patients=None), 6, 0)


def test_planted_leaks_are_caught():
    with pytest.raises(AssertionError, match=r"slices \[4\] of case 0 are labelled and tested"):
        check_no_leak(Draw({0: [3, 4]}, {0: [4, 5]}))
    one = [case("p0"), case("other-name", patient="p0")]
    with pytest.raises(AssertionError, match="patients"):
        check_no_leak(Draw({0: [3]}, {1: [4]}), one)
    copy = Case("copy", CASES[0].volume, CASES[0].truth, "copy")  # the same pixels under another name
    with pytest.raises(AssertionError, match="slice 3 of copy has the pixels of labelled slice 3 of p0"):
        check_no_leak(Draw({0: [3]}, {1: [3]}), [CASES[0], copy])
    check_no_leak(Draw({0: [3]}, {1: [4]}), [CASES[0], CASES[1]])


def test_the_draws_of_earlier_tables_stay_as_they_were():
    """Tables made before and after a change of the method compare only on the same slices."""
    assert draw(CASES, task(), 3, 1).labelled == {0: [6, 2, 8]}
    across = task(protocol="patients", patients=2)
    assert draw(CASES, across, 5, 1).labelled == {1: [7, 3, 8], 4: [8, 4]}

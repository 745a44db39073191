"""Structures of a task: a change of name, a deletion and a return touch no label."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fewsam.collection import Collection
from fewsam.core.errors import LabelError, OutdatedError, UnknownClassError
from fewsam.images.volume import Volume
from helpers.collection_drawings import LABELS, blob, fates, label


def test_a_label_under_a_former_name_is_the_renamed_structures(collection: Collection, volume: Volume) -> None:
    collection.submit(volume, "p1", label(Liver={3: 1}))
    key = collection.names.called("liver")
    assert key is not None
    collection.rename_structure(key, "hepar")
    assert collection.classes[0] == "hepar"
    collection.submit(volume, "p1", label(Liver={3: 1, 4: 2}))  # of a window that has not heard of it
    shots = {shot.slice: shot for shot in collection.shots()}
    assert [set(shots[z].masks) for z in (3, 4)] == [{"hepar"}, {"hepar"}]
    assert np.array_equal(shots[4].masks["hepar"], blob(2))


def test_a_new_structure_of_a_former_name_is_another_one(collection: Collection, volume: Volume) -> None:
    collection.submit(volume, "p1", label(Liver={3: 1}))
    old = collection.names.called("liver")
    assert old is not None
    collection.rename_structure(old, "hepar")
    new = collection.add_structure("Liver")
    assert new != old
    collection.submit(volume, "p1", label(Liver={5: 2}))
    shots = {shot.slice: shot for shot in collection.shots()}
    assert set(shots[3].masks) == {"hepar"} and set(shots[5].masks) == {"Liver"}
    with pytest.raises(LabelError, match="another structure is called 'hepar'"):
        collection.rename_structure(new, "HEPAR")


def test_a_deleted_structure_comes_back_with_its_labels(collection: Collection, volume: Volume) -> None:
    collection.submit(volume, "p1", label(Liver={3: 1}, spleen={3: 2}))
    key = collection.names.called("spleen")
    assert key is not None
    collection.delete_structure(key)
    assert "spleen" not in collection.classes and set(collection.shots()[0].masks) == {"Liver"}
    assert collection.history("p1", 3)[0]["drawn"] == ["Liver", "spleen"]
    assert collection.add_structure("Spleen") == key
    assert np.array_equal(collection.shots()[0].masks["Spleen"], blob(2))


def test_a_slice_emptied_by_hand_is_empty_of_what_the_label_speaks_of(collection: Collection, volume: Volume) -> None:
    collection.submit(volume, "p1", label(Liver={3: 1, 9: 4}, spleen={3: 2}))
    erased = collection.submit(volume, "p1", label(Liver={}), absent_classes="partial", by_hand={3, 9, 20})
    assert fates(erased) == {"added": (20,), "cleared": (3, 9)}
    shots = {shot.slice: shot for shot in collection.shots()}
    assert {z: set(shot.masks) for z, shot in shots.items()} == {3: {"spleen"}, 9: set(), 20: set()}
    assert shots[20].known == {"Liver"}  # of others it says nothing


def test_a_slice_drawn_by_hand_as_it_once_was_counts(collection: Collection, volume: Volume) -> None:
    for annotator, seed in (("a", 1), ("b", 2)):
        collection.submit(volume, "p1", label(Liver={3: seed}), annotator=annotator)
    old_copy = collection.submit(volume, "p1", label(Liver={3: 1, 9: 4}), annotator="c")
    assert old_copy.kept == (3,) and np.array_equal(collection.shots()[0].masks["Liver"], blob(2))
    drawn = collection.submit(volume, "p1", label(Liver={3: 1, 9: 4}), annotator="c", by_hand={3})
    assert drawn.superseded == (3,)
    in_force = {shot.slice: shot for shot in collection.shots()}
    assert np.array_equal(in_force[3].masks["Liver"], blob(1))


def test_a_deleted_structure_stays_on_a_slice_that_is_emptied_meanwhile(collection: Collection, volume: Volume) -> None:
    collection.submit(volume, "p1", label(spleen={3: 2}))
    key = collection.names.called("spleen")
    assert key is not None
    collection.delete_structure(key)
    emptied = label(Liver={2: 1})
    collection.submit(volume, "p1", emptied, complete_slices={3})  # of what one sees nothing is on slice 3
    collection.add_structure("spleen")
    shots = {shot.slice: shot for shot in collection.shots()}
    assert np.array_equal(shots[3].masks["spleen"], blob(2))
    assert "spleen" not in shots[2].known  # drawn while there was none


def test_an_answer_stays_that_of_its_structure_when_another_one_gets_its_former_name(
    collection: Collection, volume: Volume
) -> None:
    labelmap = np.zeros(volume.slices.shape, np.uint8)
    labelmap[5] = 1
    collection.remember_served("p1", labelmap, collection.classes, model_version=1)
    liver, spleen = (collection.names.called(name) for name in ("liver", "spleen"))
    assert liver is not None and spleen is not None
    collection.rename_structure(liver, "hepar")
    for give in (lambda: collection.rename_structure(spleen, "Liver"), lambda: collection.add_structure("spleen")):
        give()
        served = collection.served("p1")
        assert served is not None and served[1][:2] == ("hepar", "Liver")


def test_a_label_is_refused_where_another_one_came_since_it_was_compared(
    collection: Collection, volume: Volume
) -> None:
    first = collection.submit(volume, "p1", label(Liver={3: 1}), annotator="bob")
    for seen in ({3: 0}, {3: first.submission, 4: 9}):
        with pytest.raises(OutdatedError, match="meanwhile"):
            collection.submit(volume, "p1", label(Liver={3: 2, 4: 1}), annotator="nora", over=seen)
    (shot,) = collection.shots()
    assert shot.annotator == "bob" and np.array_equal(shot.masks["Liver"], blob(1))
    taken = collection.submit(volume, "p1", label(Liver={3: 2}), annotator="nora", over={3: first.submission, 7: 0})
    assert fates(taken) == {"superseded": (3,)}


def test_an_answer_of_a_deleted_structure_is_not_that_of_one_that_gets_its_name(
    collection: Collection, volume: Volume
) -> None:
    labelmap = np.zeros(volume.slices.shape, np.uint8)
    labelmap[5], labelmap[6] = 1, 2
    collection.remember_served("p1", labelmap, collection.classes, model_version=1)
    collection.delete_structure("liver")
    served = collection.served("p1")
    assert served is not None and served[1][:2] == ("Liver", "spleen")  # as it was called, while no other is
    collection.rename_structure("spleen", "liver")
    served = collection.served("p1")
    assert served is not None and served[1].index("liver") == 1 and len(set(served[1])) == len(served[1])


def test_settings_that_call_a_structure_by_its_new_name_make_no_second_one(
    collection: Collection, volume: Volume
) -> None:
    collection.submit(volume, "p1", label(Liver={3: 1}, spleen={4: 2}))
    collection.rename_structure("liver", "Hepar")
    edited = Collection(collection.folder, ("Hepar", "spleen", "kidney"))
    assert sorted(edited.classes) == ["Hepar", "kidney", "spleen"]
    edited.submit(volume, "p1", label(hepar={9: 4}))
    assert all(set(shot.masks) == {"Hepar"} for shot in edited.shots() if shot.slice in (3, 9))
    edited.delete_structure("liver")
    assert "Hepar" not in edited.classes
    assert edited.add_structure("Hepar") == "liver"  # with its labels


def test_a_former_name_beside_the_present_one_is_another_structure(collection: Collection, volume: Volume) -> None:
    collection.submit(volume, "p1", label(Liver={3: 1}))
    collection.rename_structure("liver", "Hepar")
    with pytest.raises(UnknownClassError, match="'Liver'"):
        collection.submit(volume, "p1", label(Hepar={5: 1}, Liver={5: 4}))
    open_to_new = Collection(collection.folder, LABELS, accept_new=True)
    taken = open_to_new.submit(volume, "p1", label(Hepar={5: 1}, Liver={5: 4}))
    assert taken.new_classes == ("Liver",)
    (shot,) = (shot for shot in collection.shots() if shot.slice == 5)
    assert np.array_equal(shot.masks["Hepar"], blob(1)) and np.array_equal(shot.masks["Liver"], blob(4))


def test_of_two_deleted_structures_of_a_name_the_last_comes_back(collection: Collection, volume: Volume) -> None:
    collection.submit(volume, "p1", label(Liver={3: 1}, spleen={4: 2}))
    collection.delete_structure("liver")
    collection.rename_structure("spleen", "liver")
    collection.delete_structure("spleen")
    assert collection.add_structure("Liver") == "spleen"


def test_the_state_of_labels_changes_with_what_their_structures_are_called(
    collection: Collection, volume: Volume
) -> None:
    collection.submit(volume, "p1", label(Liver={3: 1}, spleen={3: 2}))
    states = [collection.label_state("p1")]
    for change in (
        lambda: [collection.rename_structure(*to) for to in (("liver", "x"), ("spleen", "liver"), ("liver", "spleen"))],
        lambda: collection.delete_structure("spleen"),
        lambda: collection.add_structure("liver"),
    ):
        change()
        states.append(collection.label_state("p1"))
    assert len({*states[:3]}) == 3 and states[3] == states[1]


def test_a_structure_renamed_while_a_label_is_taken_in_gets_what_it_draws(
    tmp_path: Path, volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise two structures would have one name."""
    collection = Collection(tmp_path, LABELS, accept_new=True)
    collection.submit(volume, "p1", label(Liver={3: 1}))
    key = collection.names.called("liver")
    assert key is not None
    read, renamed = Volume.raw_slice, []

    def rename_first(self: Volume, z: int) -> np.ndarray:
        if not renamed:
            renamed.append(z)
            collection.rename_structure(key, "hepar")
        return read(self, z)

    monkeypatch.setattr(Volume, "raw_slice", rename_first)
    collection.submit(volume, "p1", label(Hepar={4: 2}))
    assert renamed and collection.classes.count("hepar") == 1
    assert "Hepar" not in collection.classes
    shots = {shot.slice: shot for shot in collection.shots()}
    assert np.array_equal(shots[4].masks["hepar"], blob(2))


def test_the_same_label_again_brings_a_deleted_structure_back(tmp_path: Path, volume: Volume) -> None:
    collection = Collection(tmp_path / "c", (), accept_new=True)
    collection.submit(volume, "p1", label(Liver={3: 1}), annotator="nora")
    collection.delete_structure("liver")
    assert collection.classes == ()
    again = collection.submit(volume, "p1", label(Liver={3: 1}), annotator="nora")
    assert (again.duplicate, again.new_classes, collection.classes) == (False, ("Liver",), ("Liver",))
    assert collection.submit(volume, "p1", label(Liver={3: 1}), annotator="nora").duplicate

"""What a submitted label does to the few-shot collection, slice by slice."""

from __future__ import annotations

import multiprocessing
import threading
from pathlib import Path

import numpy as np
import pytest

from fewsam.collection import Collection
from fewsam.core.errors import ConfigError, LabelError, UnknownClassError
from fewsam.images.volume import Volume
from helpers.collection_drawings import LABELS, H, W, Z, blob, fates, label, make_volume


def test_first_label_makes_shots_of_the_drawn_slices_only(collection: Collection, volume: Volume) -> None:
    masks = label(Liver={3: 1, 4: 2}, spleen={4: 3})
    submission = collection.submit(volume, "p1", masks, annotator="ann", source="rest:final")
    assert fates(submission) == {"added": (3, 4)}
    assert submission.changed
    first, second = collection.shots("p1")
    assert (first.slice, second.slice) == (3, 4)
    assert set(first.masks) == {"Liver"} and set(second.masks) == {"Liver", "spleen"}
    for shot in (first, second):
        for name, mask in shot.masks.items():
            assert mask.dtype == bool and np.array_equal(mask, masks[name][shot.slice])
        assert shot.pixels.dtype == np.int16 and np.array_equal(shot.pixels, volume.raw_slice(shot.slice))
        assert (shot.annotator, shot.source, shot.submission) == ("ann", "rest:final", submission.submission)
        assert shot.image.shape == (Z, H, W) and shot.image.spacing == volume.geometry.spacing
        assert shot.image.content_hash == volume.content_hash and shot.image.source == "volume-0"
    assert collection.labelled_slices("p1") == [3, 4]
    assert collection.counts() == {"Liver": 2, "spleen": 1, "aorta": 0}


def test_overlapping_classes_and_colour_pixels_come_back_bit_for_bit(collection: Collection) -> None:
    volume = make_volume(1, depth=1, rgb=True)
    both = np.ones((1, H, W), bool)
    collection.submit(volume, "photo", {"Liver": both, "spleen": both})
    (shot,) = collection.shots()
    assert np.array_equal(shot.masks["Liver"], both[0]) and np.array_equal(shot.masks["spleen"], both[0])
    assert shot.pixels.dtype == np.uint8 and np.array_equal(shot.pixels, np.moveaxis(volume.slices[0], -1, 0))


def test_resubmission_supersedes_what_changed_and_erases_nothing(collection: Collection, volume: Volume) -> None:
    collection.submit(volume, "p1", label(Liver={3: 1, 4: 2}))
    before = {shot.slice: shot.shot_id for shot in collection.shots()}
    again = collection.submit(volume, "p1", label(Liver={3: 1, 4: 9, 7: 3}), annotator="")
    assert fates(again) == {"added": (7,), "superseded": (4,), "unchanged": (3,)}
    shots = {shot.slice: shot for shot in collection.shots()}
    assert shots[3].shot_id == before[3]
    assert np.array_equal(shots[4].masks["Liver"], blob(9))
    old, new = collection.history("p1", 4)
    assert old["submission"] < new["submission"] and old["drawn"] == ["Liver"]
    assert np.array_equal(collection.shot(old["shot_id"]).masks["Liver"], blob(2))


def test_the_same_label_again_is_stored_once(collection: Collection, volume: Volume) -> None:
    first = collection.submit(volume, "p1", label(Liver={3: 1}), source="rest:final")
    again = collection.submit(volume, "p1", label(Liver={3: 1}), source="found at start")
    assert again.duplicate and again.submission == first.submission and not again.changed
    assert fates(again) == {"unchanged": (3,)}
    assert collection.version == first.submission
    assert len(collection.history("p1", 3)) == 1


def test_a_shot_is_kept_where_the_label_is_silent(collection: Collection, volume: Volume) -> None:
    collection.submit(volume, "p1", label(Liver={3: 1}, spleen={3: 2}))
    submission = collection.submit(volume, "p1", label(Liver={9: 4}, spleen={}))
    assert fates(submission) == {"added": (9,), "kept": (3,)}
    assert collection.labelled_slices("p1") == [3, 9]


def test_a_slice_declared_complete_and_empty_clears_its_shot(collection: Collection, volume: Volume) -> None:
    collection.submit(volume, "p1", label(Liver={3: 1}))
    submission = collection.submit(volume, "p1", label(Liver={9: 4}), complete_slices={3, 20})
    assert fates(submission) == {"added": (9, 20), "cleared": (3,)}
    shots = {shot.slice: shot for shot in collection.shots()}
    assert shots[3].masks == {} and shots[3].known == set(LABELS)
    assert shots[20].masks == {} and shots[20].known == set(LABELS)
    assert [entry["drawn"] for entry in collection.history("p1", 3)] == [["Liver"], []]


def test_one_class_erased_from_a_shot_becomes_background_there(collection: Collection, volume: Volume) -> None:
    collection.submit(volume, "p1", label(Liver={3: 1}, spleen={3: 2}))
    submission = collection.submit(volume, "p1", label(Liver={3: 1}, spleen={}))
    assert submission.superseded == (3,)
    (shot,) = collection.shots()
    assert set(shot.masks) == {"Liver"} and shot.known == {"Liver", "spleen"}


def test_a_class_the_label_does_not_name_is_carried_over(collection: Collection, volume: Volume) -> None:
    collection.submit(volume, "p1", label(Liver={3: 1}, spleen={3: 2}))
    submission = collection.submit(volume, "p1", label(spleen={3: 5}))
    assert submission.superseded == (3,)
    (shot,) = collection.shots()
    assert np.array_equal(shot.masks["Liver"], blob(1)) and np.array_equal(shot.masks["spleen"], blob(5))


def test_an_old_copy_of_another_annotators_slice_does_not_win(collection: Collection, volume: Volume) -> None:
    collection.submit(volume, "p1", label(Liver={3: 1}), annotator="ann")
    collection.submit(volume, "p1", label(Liver={3: 2}), annotator="bob")
    stale = collection.submit(volume, "p1", label(Liver={3: 1, 4: 4}), annotator="ann")
    assert fates(stale) == {"added": (4,), "kept": (3,)}
    assert np.array_equal(collection.shots("p1")[0].masks["Liver"], blob(2))
    back = collection.submit(volume, "p1", label(Liver={3: 1}), annotator="bob")
    assert back.superseded == (3,)  # bob himself goes back to it


@pytest.mark.parametrize(
    ("absent_classes", "known"),
    [("complete", {"Liver", "spleen", "aorta"}), ("partial", {"Liver"}), ("auto", {"Liver", "spleen"})],
)
def test_what_an_absent_class_means(tmp_path: Path, volume: Volume, absent_classes: str, known: set[str]) -> None:
    masks = label(Liver={3: 1, 4: 2}, spleen={4: 3})
    by_setting = Collection(tmp_path / "a", LABELS, absent_classes=absent_classes)
    by_setting.submit(volume, "p1", masks)
    by_call = Collection(tmp_path / "b", LABELS, absent_classes="partial")
    by_call.submit(volume, "p1", masks, absent_classes=absent_classes)
    for collection in (by_setting, by_call):
        assert collection.shots()[0].known == known


def test_auto_counts_classes_of_earlier_shots(collection: Collection, volume: Volume) -> None:
    collection.submit(volume, "p1", label(spleen={3: 1}))
    collection.submit(volume, "p1", label(Liver={9: 2}))
    assert {shot.slice: shot.known for shot in collection.shots()} == {3: {"spleen"}, 9: {"Liver", "spleen"}}


def test_a_slice_once_complete_stays_so_when_corrected(collection: Collection, volume: Volume) -> None:
    collection.submit(volume, "p1", label(Liver={3: 1}), complete_slices={3})
    collection.submit(volume, "p1", label(Liver={3: 2}), absent_classes="partial")
    (shot,) = collection.shots()
    assert np.array_equal(shot.masks["Liver"], blob(2)) and shot.known == set(LABELS)


@pytest.mark.parametrize("how", [{"absent_classes": "complete"}, {"complete_slices": {3}}])
def test_an_unchanged_slice_can_be_declared_complete(collection: Collection, volume: Volume, how: dict) -> None:
    collection.submit(volume, "p1", label(Liver={3: 1}))
    submission = collection.submit(volume, "p1", label(Liver={3: 1}), **how)
    assert submission.superseded == (3,)
    assert collection.shots()[0].known == set(LABELS)


def test_a_class_accepted_later_is_not_declared_absent_in_silence(tmp_path: Path, volume: Volume) -> None:
    collection = Collection(tmp_path, LABELS, accept_new=True, absent_classes="complete")
    collection.submit(volume, "p1", label(Liver={3: 1}))
    submission = collection.submit(volume, "p1", label(Liver={3: 1}, cyst={9: 2}))
    assert fates(submission) == {"added": (9,), "unchanged": (3,)}
    assert {shot.slice: "cyst" in shot.known for shot in collection.shots()} == {3: False, 9: True}


def test_classes_match_by_name_whatever_case_order_or_absence(collection: Collection, volume: Volume) -> None:
    collection.submit(volume, "p1", label(SPLEEN={3: 1}, liver={3: 2}))
    (shot,) = collection.shots()
    assert np.array_equal(shot.masks["Liver"], blob(2)) and np.array_equal(shot.masks["spleen"], blob(1))
    assert collection.classes == LABELS


def test_two_segments_of_one_name_are_one_class(collection: Collection, volume: Volume) -> None:
    collection.submit(volume, "p1", label(liver={3: 1}, LIVER={3: 2}))
    assert np.array_equal(collection.shots()[0].masks["Liver"], blob(1) | blob(2))


def test_an_unknown_class_is_refused_whole(collection: Collection, volume: Volume) -> None:
    with pytest.raises(UnknownClassError, match=r"'splen'.*did you mean 'spleen'.*new_labels"):
        collection.submit(volume, "p1", label(Liver={3: 1}, splen={4: 2}))
    assert collection.version == 0 and collection.shots() == [] and collection.classes == LABELS


def test_an_unknown_name_without_a_voxel_is_ignored(collection: Collection, volume: Volume) -> None:
    submission = collection.submit(volume, "p1", label(Liver={3: 1}, Segment_2={}))
    assert submission.unknown_names == ("Segment_2",)
    assert collection.shots()[0].known == {"Liver"}


def test_a_new_class_is_accepted_on_request_and_stays(tmp_path: Path, volume: Volume) -> None:
    collection = Collection(tmp_path, LABELS, accept_new=True)
    submission = collection.submit(volume, "p1", label(Kidney={3: 1}, pancreas={4: 2}))
    assert submission.new_classes == ("Kidney", "pancreas")
    assert collection.classes == (*LABELS, "Kidney", "pancreas")
    closed = Collection(tmp_path, ("aorta", "Liver"))
    assert closed.classes == ("aorta", "Liver", "Kidney", "pancreas")
    closed.submit(volume, "p1", label(KIDNEY={5: 1}))
    assert closed.counts()["Kidney"] == 2


@pytest.mark.parametrize(
    ("masks", "options", "error", "words"),
    [
        ({}, {}, LabelError, "empty"),
        (label(Liver={}), {}, LabelError, "empty"),
        ({"Liver": np.ones((Z, W, H), bool)}, {}, LabelError, r"\(30, 20, 16\).*\(30, 16, 20\)"),
        ({" ": np.ones((Z, H, W), bool)}, {}, LabelError, "printable"),
        (label(Liver={3: 1}), {"complete_slices": {30}}, LabelError, r"\[30\].*30 slices"),
        (label(Liver={3: 1}), {"absent_classes": "some"}, ConfigError, "'some'.*auto"),
    ],
)
def test_refusals_say_why_and_store_nothing(
    collection: Collection, volume: Volume, masks: dict, options: dict, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        collection.submit(volume, "p1", masks, **options)
    assert collection.version == 0


def test_other_pixels_under_the_same_id_start_anew_and_lose_nothing(collection: Collection, volume: Volume) -> None:
    other = make_volume(5)
    collection.submit(volume, "p1", label(Liver={3: 1, 4: 1}))
    submission = collection.submit(other, "p1", label(Liver={3: 1}))
    assert submission.added == (3,) and submission.kept == ()
    assert collection.labelled_slices("p1") == [3]
    assert len(collection.shots("p1")) == 3
    (shot,) = collection.shots("p1", content_hash=other.content_hash)
    assert np.array_equal(shot.pixels, other.raw_slice(3))


def test_split_is_by_image_and_never_moves(collection: Collection) -> None:
    volumes = [make_volume(seed) for seed in range(9)]
    for number, volume in enumerate(volumes):
        collection.submit(volume, f"p{number}", label(Liver={3: number}))
    splits = [record.split for record in collection.images()]
    assert splits == ["train", "train", "train", "val", "train", "train", "train", "val", "train"]
    assert {shot.image_id for shot in collection.shots(split="val")} == {"p3", "p7"}
    collection.submit(volumes[3], "copy of p3", label(Liver={8: 1}))  # the same pixels would leak
    collection.submit(make_volume(99), "p7", label(Liver={8: 1}))
    assert {shot.split for shot in collection.shots("copy of p3")} == {"val"}
    assert {shot.split for shot in collection.shots("p7")} == {"val"}


def test_order_does_not_hang_on_the_clock(
    collection: Collection, volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    from datetime import datetime, timezone

    class Clock(datetime):
        year_ = 2030

        @classmethod
        def now(cls, tz: timezone | None = None) -> Clock:  # type: ignore[override]
            return cls(cls.year_, 1, 1, tzinfo=tz)

    monkeypatch.setattr("fewsam.collection.writing.datetime", Clock)
    collection.submit(volume, "p1", label(Liver={3: 1}))
    Clock.year_ = 2020
    collection.submit(volume, "p1", label(Liver={3: 2}))
    assert [entry["time"][:4] for entry in collection.history("p1", 3)] == ["2030", "2020"]
    assert np.array_equal(collection.shots()[0].masks["Liver"], blob(2))


def _submit_many(folder: Path, worker: int, count: int) -> None:
    collection = Collection(folder, LABELS, accept_new=True)
    volume = make_volume(worker % 2)
    for number in range(count):
        collection.submit(volume, f"p{worker % 2}", label(**{f"own{worker}": {number: worker * 100 + number}}))


@pytest.mark.slow
def test_processes_and_threads_submit_at_once(tmp_path: Path) -> None:
    count = 6
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_submit_many, args=(tmp_path, n, count)) for n in range(2)]
    workers += [threading.Thread(target=_submit_many, args=(tmp_path, n, count)) for n in range(2, 4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    collection = Collection(tmp_path)
    assert collection.version == 4 * count
    for number in range(count):
        for image in range(2):
            (shot,) = [shot for shot in collection.shots(f"p{image}") if shot.slice == number]
            for worker in (image, image + 2):  # the other one's class was carried over
                assert np.array_equal(shot.masks[f"own{worker}"], blob(worker * 100 + number))


def test_known_takes_the_known_classes_and_names_the_others(tmp_path: Path, volume: Volume) -> None:
    collection = Collection(tmp_path / "known", LABELS, accept_new="known")
    masks = label(Liver={3: 1}, tumour={3: 2, 5: 3})
    collection.check(volume, "p1", masks)
    submission = collection.submit(volume, "p1", masks)
    assert fates(submission) == {"added": (3,)}
    assert submission.unknown_names == ("tumour",)
    (shot,) = collection.shots("p1")
    assert set(shot.masks) == {"Liver"} and np.array_equal(shot.masks["Liver"], blob(1))
    assert "tumour" not in collection.classes
    with pytest.raises(UnknownClassError, match="tumour"):  # nothing of it could be taken
        collection.submit(volume, "p1", label(tumour={3: 2}))

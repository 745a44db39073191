"""Prediction: empty, cold, trained; drawn slices stay; what is told is true."""

import json
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from fewsam.collection import Collection
from fewsam.core.errors import NotEncodedError
from fewsam.fewshot.inference.clicks import Clicks
from fewsam.fewshot.inference.frozen import drawn_for, freeze, segment_frozen
from fewsam.fewshot.inference.postprocess import class_indices
from fewsam.fewshot.inference.predictor import Predictor
from fewsam.fewshot.inference.task import make_ready
from fewsam.fewshot.model.decoder import FewShotMaskDecoder
from fewsam.fewshot.model.store import ModelStore
from fewsam.fewshot.training.train import train
from fewsam.images.frame import make_frame
from fewsam.images.volume import Geometry, Volume, geometry_for, load_volume
from helpers import tiny_volume as tiny


def predictor(folder, collection, **overrides) -> Predictor:
    given = tiny.settings(**overrides)
    return Predictor(given, tiny.embedder(folder, given), collection, ModelStore(folder))


def labelmap_of(masks: dict[str, np.ndarray]) -> np.ndarray:
    return sum(value * mask.astype(np.uint8) for value, mask in enumerate(masks.values(), 1))


def test_with_no_label_it_is_empty_and_says_why(tmp_path):
    volume, _ = tiny.scan(tmp_path)
    found = predictor(tmp_path, Collection(tmp_path, tiny.CLASSES)).predict(volume, "scan")
    assert not found.labelmap.any() and found.labelmap.shape == volume.slices.shape
    assert not found.trained and found.model_version == 0 and found.shots == 0
    assert "no labelled slice" in found.notes[0]


def test_with_one_slice_it_segments_and_says_untrained(tmp_path):
    collection, volume, masks = tiny.labelled(tmp_path, [6])
    found = predictor(tmp_path, collection).predict(volume, "scan")
    assert not found.trained and "untrained" in " ".join(found.notes)
    rest = [z for z in range(volume.depth) if z != 6]
    assert tiny.mean_iou(found.labelmap[rest], labelmap_of(masks)[rest]) > 0.4
    assert np.array_equal(found.labelmap[6], labelmap_of(masks)[6]) and found.pasted == [6]
    assert (found.uncertainty[6] == 0).all()


def test_a_slice_asked_for_alone_is_not_cleared_for_what_lies_between(tmp_path):
    """Slices that are not asked for are blank, so that a structure beyond the drawn ones would touch nothing."""
    collection, volume, _ = tiny.labelled(tmp_path, [4, 6])
    made = predictor(tmp_path, collection)
    whole = made.predict(volume, "scan").labelmap[8]
    assert whole.any()
    for slices in ([8], [5, 8], [4, 6, 8]):
        part = made.predict(volume, "scan", slices=slices).labelmap[8]
        assert np.count_nonzero(part) > 0.8 * np.count_nonzero(whole), slices


def test_another_patient_gets_a_mask_and_nothing_pasted(tmp_path):
    collection, _, _ = tiny.labelled(tmp_path, [4, 6, 8])
    other, masks = tiny.scan(tmp_path, "other", seed=5)
    found = predictor(tmp_path, collection).predict(other, "other")
    assert found.pasted == []
    assert tiny.mean_iou(found.labelmap, labelmap_of(masks)) > 0.3


def test_trained_it_serves_the_new_version_without_a_restart(tmp_path):
    collection, volume, _ = tiny.labelled(tmp_path, [4, 6])  # too few to hold one back: published in any case
    made = predictor(tmp_path, collection)
    assert made.predict(volume, "scan").model_version == 0
    train(
        tiny.settings(),
        collection,
        tiny.embedder(tmp_path, tiny.settings()),
        ModelStore(tmp_path),
        folder=tmp_path / "r",
    )
    found = made.predict(volume, "scan")
    assert found.trained and found.model_version == 1 and found.shots == 2
    assert "untrained" not in " ".join(found.notes)


def test_a_damaged_decoder_answers_untrained_and_says_so(tmp_path):
    collection, volume, _ = tiny.labelled(tmp_path, [4, 6])
    train(
        tiny.settings(),
        collection,
        tiny.embedder(tmp_path, tiny.settings()),
        ModelStore(tmp_path),
        folder=tmp_path / "r",
    )
    next((tmp_path / "versions").iterdir()).write_bytes(b"junk")
    found = predictor(tmp_path, collection).predict(volume, "scan")
    assert not found.trained and found.labelmap.any()
    assert "answering untrained" in found.notes[0]


def test_a_drawing_that_cannot_be_read_is_left_out_and_named(tmp_path):
    collection, volume, _ = tiny.labelled(tmp_path, [4, 5, 6, 7])
    whole = predictor(tmp_path, collection).predict(volume, "scan")
    assert "cannot be read" not in " ".join(whole.notes)
    tiny.damage_drawing(tmp_path, collection, 6)
    found = predictor(tmp_path, collection).predict(volume, "scan")
    assert found.shots == 3 and found.labelmap.any()
    assert "labelled slices that cannot be read are left out: slice 6 of scan" in " ".join(found.notes)


def test_a_time_limit_returns_what_is_done_and_names_the_rest(tmp_path):
    collection, volume, _ = tiny.labelled(tmp_path, [6])
    found = predictor(tmp_path, collection).predict(volume, "scan", time_limit=1e-9)
    assert found.remaining and found.remaining[-1] == volume.depth - 1
    assert not found.labelmap[[z for z in found.remaining if z != 6]].any()


def test_slices_that_are_not_encoded_yet_are_answered_by_registration_and_marked(tmp_path):
    collection, volume, masks = tiny.labelled(tmp_path, [4, 8])
    made = predictor(tmp_path, collection, smooth_z=False)
    whole = made.predict(volume, "scan", slices=[4, 5, 6])  # from here on these are encoded, and no others
    assert not whole.unencoded
    made.embedder.cached_only = True
    rest = [z for z in range(volume.depth) if z not in (4, 5, 6, 8)]
    found = made.predict(volume, "scan", unencoded=[*rest, 8])
    assert found.unencoded == rest and not found.remaining  # what is drawn needs no encoder
    assert np.array_equal(found.labelmap[[4, 5, 6]], whole.labelmap[[4, 5, 6]])  # those encoded are as ever
    assert np.array_equal(found.uncertainty[[4, 5, 6]], whole.uncertainty[[4, 5, 6]])
    assert tiny.mean_iou(found.labelmap[rest], labelmap_of(masks)[rest]) > 0.5
    assert f"{len(rest)} of {volume.depth} slices are not encoded yet" in " ".join(found.notes)
    assert found.as_json()["unencoded"] == rest
    with pytest.raises(NotEncodedError):  # the others were not encoded on the way
        made.predict(volume, "scan")


def test_without_a_slice_to_register_what_is_not_encoded_remains(tmp_path):
    collection, volume, _ = tiny.labelled(tmp_path, [6])
    made = predictor(tmp_path, collection, propagate=False)
    found = made.predict(volume, "scan", unencoded=[0, 1, 2])  # no other image is labelled
    assert found.remaining == found.unencoded == [0, 1, 2] and not found.labelmap[:3].any()
    assert "3 of 12 slices are not encoded yet and are not answered" in " ".join(found.notes)
    other, masks = tiny.scan(tmp_path, "other", seed=5)
    found = made.predict(other, "other", unencoded=list(range(12)))  # another image, whose labelled slice is registered
    assert not found.remaining and tiny.mean_iou(found.labelmap[5:8], labelmap_of(masks)[5:8]) > 0.3


def test_only_the_slices_asked_for(tmp_path):
    collection, volume, _ = tiny.labelled(tmp_path, [6])
    found = predictor(tmp_path, collection).predict(volume, "scan", slices=[5])
    assert found.labelmap[5].any()
    assert not found.labelmap[[z for z in range(volume.depth) if z not in (5, 6)]].any()


def test_progress_and_json(tmp_path):
    collection, volume, _ = tiny.labelled(tmp_path, [6])
    seen: list[tuple[int, int]] = []
    found = predictor(tmp_path, collection).predict(volume, "scan", progress=lambda *at: seen.append(at))
    assert seen[-1] == (volume.depth, volume.depth)
    told = json.loads(json.dumps(found.as_json()))
    assert told["voxels"]["left"] == int((found.labelmap == 1).sum())
    assert len(told["uncertainty"]) == volume.depth
    assert told["encoder"]["trained"] is False
    assert set(told["latencies"]) >= {"encode", "decode", "total"}


def test_a_class_without_a_slice_is_named(tmp_path):
    volume, masks = tiny.scan(tmp_path)
    collection = Collection(tmp_path, tiny.CLASSES)
    collection.submit(volume, "scan", {"left": tiny.on_slices(masks, [6])["left"]})
    found = predictor(tmp_path, collection).predict(volume, "scan")
    assert any("right, small" in note for note in found.notes)
    assert found.labelmap.max() == 1


def test_a_class_deleted_meanwhile_moves_no_other(tmp_path):
    """The answer is that of the classes of when it began."""
    collection, volume, masks = tiny.labelled(tmp_path, [6])
    first = next(iter(collection.names.present))
    found = predictor(tmp_path, collection).predict(
        volume, "scan", slices=[5, 6], progress=lambda done, total: collection.delete_structure(first)
    )
    assert collection.classes == tuple(tiny.CLASSES[1:]) and found.classes == tuple(tiny.CLASSES)
    assert np.array_equal(found.labelmap[6], labelmap_of(masks)[6]) and found.foreground.shape[1] == len(tiny.CLASSES)


@pytest.mark.slow
def test_pictures_and_slices_of_volumes_are_told_apart(tmp_path, monkeypatch):
    """By all who ask a trained decoder: predictions, clicks and the measure on slices held back."""
    volume, masks = tiny.scan(tmp_path)
    drawn_on = (4, 5, 6, 8)  # enough for one to be held back
    pictures = [replace(volume, slices=volume.slices[z : z + 1], geometry=flat(volume)) for z in drawn_on]
    asked: list[bool] = []
    answer = FewShotMaskDecoder.answer
    monkeypatch.setattr(
        FewShotMaskDecoder,
        "answer",
        lambda self, *args, is_2d_image=False, **more: (
            asked.append(is_2d_image) or answer(self, *args, is_2d_image=is_2d_image, **more)
        ),
    )
    for kind in ("volume", "picture"):
        collection, folder = Collection(tmp_path / kind, tiny.CLASSES), tmp_path / kind
        for z, picture in zip(drawn_on, pictures, strict=True):
            if kind == "picture":
                drawn = {name: mask[z : z + 1] for name, mask in masks.items()}
                collection.submit(picture, f"picture{z}", drawn, absent_classes="complete", complete_slices={0})
            else:
                collection.submit(
                    volume, "scan", tiny.on_slices(masks, [z]), absent_classes="complete", complete_slices={z}
                )
        given = tiny.settings(keep_better=False)
        made = Predictor(given, tiny.embedder(folder, given), collection, ModelStore(folder))
        shown = volume if kind == "volume" else pictures[0]
        train(given, collection, made.embedder, ModelStore(folder), folder=folder / "run")
        measured = len(asked)
        assert made.predict(shown, "other", slices=[0]).trained
        predicted = len(asked)
        Clicks(made).correct(shown, 0, "left", [(20, 14)], [])
        assert 0 < measured < predicted < len(asked)
        assert set(asked) == {kind == "picture"}
        asked.clear()


def flat(volume: Volume) -> Geometry:
    """The geometry of one slice of ``volume`` as an image of its own."""
    i, j, _ = tiny.SHAPE
    return geometry_for((i, j, 1), volume.geometry.affine, "2")


def test_answers_are_laid_on_the_slice_by_the_frame_that_masks_were_made_on(tmp_path, monkeypatch):
    """Of 91 x 117 pixels the encoder's square of 256 holds another share than the decoder's of 128."""
    voxels = np.zeros((117, 91, 4), np.int16)
    voxels[30:110, 20:88, :] = 200
    nib.save(nib.Nifti1Image(voxels, np.diag([1.0, 1.0, 4.0, 1.0])), tmp_path / "wide.nii.gz")
    volume = load_volume(tmp_path / "wide.nii.gz", "2")
    collection = Collection(tmp_path, ("ball",))
    mask = volume.geometry.to_slices(voxels > 0)
    collection.submit(volume, "wide", {"ball": mask & (np.arange(4) == 1)[:, None, None]})
    frames = []

    def spied(probabilities, frame, **options):
        frames.append((frame, probabilities.shape[-1]))
        return class_indices(probabilities, frame, **options)

    monkeypatch.setattr("fewsam.fewshot.inference.predictor.class_indices", spied)
    predictor(tmp_path, collection, detail_size=128).predict(volume, "other")
    ((frame, side),) = frames
    assert frame == make_frame(volume.geometry.slices_shape, volume.geometry.spacing, side) and side == 128
    wrong = make_frame(volume.geometry.slices_shape, volume.geometry.spacing, 256)
    assert frame.content[0] / 128 != wrong.content[0] / 256


def test_a_structure_that_was_renamed_or_deleted_since_the_training_holds_up_no_answer(tmp_path):
    collection, volume, _ = tiny.labelled(tmp_path, [4, 6])
    given = tiny.settings()
    train(given, collection, tiny.embedder(tmp_path, given), ModelStore(tmp_path), folder=tmp_path / "r")
    made = predictor(tmp_path, collection)
    card = made.ready().model.card
    object.__setattr__(card, "largest_component", (tiny.CLASSES[0], "as it was called"))
    assert made.predict(volume, "scan").labelmap.any()


def swapped_names(collection: Collection) -> None:
    """ "left" gets another name, and "right" gets its former one."""
    left, right = (collection.names.called(name) for name in ("left", "right"))
    collection.rename_structure(left, "sinister")
    collection.rename_structure(right, "left")


def test_what_prompts_holds_no_slices(tmp_path):
    """They take megabytes each, and the answers come from what was pooled of them."""
    collection, volume, _ = tiny.labelled(tmp_path, [4, 6, 8])
    made = predictor(tmp_path, collection)
    assert made.predict(volume, "scan").labelmap.any()
    assert made.ready().supports.slices == [] and not made.ready().supports._views


def test_a_structure_renamed_while_the_task_is_made_ready_keeps_its_answer(tmp_path, monkeypatch):
    collection, volume, masks = tiny.labelled(tmp_path, [4, 6, 8])
    calls = []

    def late(*given):
        task = make_ready(*given)
        if not calls:
            swapped_names(collection)
        return calls.append(1) or task

    monkeypatch.setattr("fewsam.fewshot.inference.predictor.make_ready", late)
    found = predictor(tmp_path, collection).predict(volume, "scan")
    assert len(calls) == 2 and found.classes == collection.classes == ("sinister", "left", "small")
    assert np.array_equal(found.labelmap[6], labelmap_of(masks)[6])


def test_a_structure_renamed_while_slices_are_segmented_keeps_its_answer(tmp_path):
    collection, volume, _ = tiny.labelled(tmp_path, [4, 6, 8])
    found = predictor(tmp_path, collection).predict(
        volume, "scan", progress=lambda done, total: done < total or swapped_names(collection)
    )
    assert found.classes == tiny.CLASSES
    assert found.called_as(collection.names).classes == ("sinister", "left", "small")
    collection.remember_served("scan", found.labelmap, found.classes, 0, found.keys)
    assert collection.served("scan")[1] == ("sinister", "left", "small")


def test_a_worker_pastes_what_was_drawn_under_the_names_of_its_task(tmp_path):
    collection, volume, masks = tiny.labelled(tmp_path, [4, 6, 8])
    made = predictor(tmp_path, collection)
    frozen = freeze(made)
    swapped_names(collection)
    drawn = drawn_for(frozen, made, volume, "scan")
    assert np.array_equal(drawn[6].masks["left"], masks["left"][6]) and drawn[6].known == set(tiny.CLASSES)
    found, _ = segment_frozen(frozen, volume, drawn, {}, slices=[6])
    assert np.array_equal(found.labelmap[6], labelmap_of(masks)[6])

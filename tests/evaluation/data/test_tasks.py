"""Task lists, and data in the layouts they come in."""

import json
import os
from pathlib import Path

import h5py
import nibabel as nib
import numpy as np
import pydicom
import pytest
import yaml
from PIL import Image

from fewsam.cli.tasklist import choose_tasks
from fewsam.core.errors import ConfigError, FewSAMError, LabelError
from fewsam.evaluation.data.cases import load_cases
from fewsam.evaluation.data.tasks import Task, folder_task, load_tasks, read_tasks
from fewsam.images.native import LPS
from fewsam.images.volume import load_volume, save_labelmap
from helpers import tiny_volume as tiny

LISTS = Path(__file__).parents[3] / "configs" / "evaluate"
SHARED = Path(os.environ.get("FEWSAM_SHARED_DATA", Path(__file__).parents[4] / "shared" / "data"))


def scans(folder: Path, truths: Path, names: list[str], label: str = "{}.nii.gz") -> np.ndarray:
    """Three-ellipsoid scans ``NAME.nii.gz`` and their truths; the last truth (i, j, k)."""
    truths.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        path, truth = tiny.write_scan(folder, name, seed=number)
        nib.save(nib.Nifti1Image(truth, nib.load(path).affine), truths / label.format(name))
    return truth


def test_a_folder_with_images_and_labels(tmp_path):
    scans(tmp_path / "images", tmp_path / "labels", ["a", "b"])
    (tmp_path / "labels" / "labels.json").write_text(json.dumps({"1": "left", "2": "right", "3": "small"}))
    task, root = folder_task(tmp_path, classes=["left", "small"])
    cases = load_cases(task, root)
    assert [case.name for case in cases] == ["a", "b"] and list(cases[0].truth) == ["left", "small"]
    assert cases[0].truth["left"].any() and cases[0].truth["left"].shape == cases[0].volume.slices.shape
    with pytest.raises(ConfigError, match="'bone' is none of left, right, small"):
        load_cases(task.model_copy(update={"classes": ["bone"]}), root)


def test_values_without_names_are_refused(tmp_path):
    scans(tmp_path / "images", tmp_path / "labels", ["a"])
    with pytest.raises(ConfigError, match="names"):
        load_cases(*folder_task(tmp_path))


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_pictures_with_black_and_white_masks(tmp_path, suffix):
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    rng = np.random.default_rng(0)
    for number in range(3):
        mask = np.zeros((32, 40), np.uint8)
        mask[8:20, 10 + number : 30] = 255
        image = (mask // 2 + rng.integers(0, 40, mask.shape)).astype(np.uint8)
        Image.fromarray(image).save(tmp_path / "images" / f"p{number // 2}_{number}.{suffix}")
        Image.fromarray(mask).save(tmp_path / "masks" / f"p{number // 2}_{number}.{suffix}")
    cases = load_cases(Task(name="t", folder=".", names={255: "lungs"}, patient=r"^(p\d)_"), tmp_path)
    assert [case.patient for case in cases] == ["p0", "p0", "p1"]
    assert cases[0].truth["lungs"].shape == (1, 32, 40) and cases[0].truth["lungs"].sum() == 12 * 20
    with pytest.raises(ConfigError, match="finds nothing"):
        load_cases(Task(name="t", folder=".", names={255: "lungs"}, patient="^q"), tmp_path)


def test_a_data_set_of_nnunet(tmp_path):
    scans(tmp_path / "imagesTr", tmp_path / "labelsTr", ["a", "b"])
    for name in ("a", "b"):
        (tmp_path / "imagesTr" / f"{name}.nii.gz").rename(tmp_path / "imagesTr" / f"{name}_0000.nii.gz")
    labels = {"background": 0, "left": 1, "right": 2, "small": 3, "ignore": 4}
    description = {"channel_names": {"0": "CT"}, "labels": labels, "numTraining": 2, "file_ending": ".nii.gz"}
    (tmp_path / "dataset.json").write_text(json.dumps(description))
    cases = load_cases(*folder_task(tmp_path / "dataset.json"))
    assert len(cases) == 2 and list(cases[0].truth) == ["left", "right", "small"]
    description["labels"] = {"background": 0, "whole": [1, 2]}
    (tmp_path / "dataset.json").write_text(json.dumps(description))
    with pytest.raises(ConfigError, match="region"):
        load_cases(*folder_task(tmp_path))


def test_a_data_set_of_the_decathlon(tmp_path):
    scans(tmp_path / "imagesTr", tmp_path / "labelsTr", ["a", "b"])
    labels = {"0": "background", "1": "left", "2": "right", "3": "small"}
    pairs = [{"image": f"./imagesTr/{n}.nii.gz", "label": f"./labelsTr/{n}.nii.gz"} for n in "ab"]
    description = {"modality": {"0": "CT"}, "labels": labels, "training": pairs, "test": ["./imagesTs/c.nii.gz"]}
    (tmp_path / "dataset.json").write_text(json.dumps(description))
    task = Task(name="t", dataset="dataset.json", names={1: "L"}, cases=1)
    cases = load_cases(task, tmp_path)
    assert [case.name for case in cases] == ["a"] and list(cases[0].truth) == ["L"]
    (tmp_path / "labelsTr" / "b.nii.gz").unlink()
    with pytest.raises(ConfigError, match=r"b\.nii\.gz is missing"):
        load_cases(task, tmp_path)
    (tmp_path / "dataset.json").write_text("{}")
    with pytest.raises(ConfigError, match="labels"):
        load_cases(task, tmp_path)


def test_a_channel_of_the_decathlon_s_files_with_four_axes(tmp_path):
    truth = np.zeros((9, 8, 6), np.uint8)
    truth[2:5, 3:6, 2] = 1
    (tmp_path / "imagesTr").mkdir()
    (tmp_path / "labelsTr").mkdir()
    voxels = np.stack([np.full(truth.shape, 7.0), truth * 100.0 + np.arange(6)], axis=-1).astype(np.float32)
    nib.save(nib.Nifti1Image(voxels, np.diag([1, 1, 3, 1])), tmp_path / "imagesTr" / "a.nii.gz")
    nib.save(nib.Nifti1Image(truth, np.diag([1, 1, 3, 1])), tmp_path / "labelsTr" / "a.nii.gz")
    pairs = [{"image": "./imagesTr/a.nii.gz", "label": "./labelsTr/a.nii.gz"}]
    modality = {"0": "T2", "1": "ADC"}
    description = {"modality": modality, "labels": {"0": "background", "1": "gland"}, "training": pairs}
    (tmp_path / "dataset.json").write_text(json.dumps(description))
    flat, told = (
        load_cases(Task(name="t", dataset="dataset.json", channel=channel), tmp_path)[0] for channel in (0, 1)
    )
    assert (flat.volume.slices == 7).all() and flat.volume.depth == 6
    assert (told.volume.slices[told.truth["gland"]] > 100).all() and told.truth["gland"].sum() == 9
    assert (told.volume.slices[~told.truth["gland"]] < 100).all()
    with pytest.raises(ConfigError, match="has 2 channels"):
        load_cases(Task(name="t", dataset="dataset.json", channel=2), tmp_path)
    (tmp_path / "imagesTr" / "a.nii.gz").write_bytes(b"no gzip")
    with pytest.raises(FewSAMError, match=r"a\.nii\.gz"):
        load_cases(Task(name="t", dataset="dataset.json"), tmp_path)


def test_patterns_pair_what_their_wildcards_agree_on(tmp_path):
    for patient in ("p1", "p2", "p3"):
        folder = tmp_path / "training" / patient
        scans(folder, folder, [f"{patient}_frame01"], "{}_gt.nii.gz")
    (tmp_path / "training" / "p2" / "p2_frame01_gt.nii.gz").unlink()
    patterns = {"images": "training/p*/p*_frame??.nii.gz", "labels": "training/p*/p*_frame??_gt.nii.gz"}
    task = Task(name="t", glob=patterns, names={1: "left"}, patient="^(p.)")  # type: ignore[arg-type]
    assert [case.patient for case in load_cases(task, tmp_path)] == ["p1", "p3"]
    with pytest.raises(ConfigError, match="no image"):
        load_cases(task, tmp_path / "training")


def test_hdf5_volumes_get_the_spacing_of_the_task(tmp_path):
    label = np.zeros((6, 8, 9), np.uint8)
    label[2, 1, 3] = 2
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["image"], file["label"] = np.random.default_rng(0).random((6, 8, 9), np.float32), label
    task = Task(name="t", images=["x.h5"], labels=["x.h5"], names={2: "spot"}, spacing=(8, 1.5, 1.4))
    (case,) = load_cases(task, tmp_path)
    assert case.volume.geometry.spacing == pytest.approx((8, 1.5, 1.4))
    assert np.argwhere(case.truth["spot"]).tolist() == [[2, 1, 3]]
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["image"], file["label"] = np.zeros((8, 9), np.float32), label[0]
    with pytest.raises(ConfigError, match=r"both need \(slices, rows, columns\)"):
        load_cases(task, tmp_path)
    (tmp_path / "x.h5").write_bytes(b"no")
    with pytest.raises(ConfigError, match=r"x\.h5"):
        load_cases(task, tmp_path)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("tasks: 3", "bad.yaml"),
        ("tasks: [{name: x}]", "give one of"),
        ("{", "bad.yaml"),
        ("tasks: [{name: x, folder: y, typo: 1}]", "typo"),
        ("tasks: [{name: x, folder: y, dataset: z}]", "folder and dataset"),
        ("tasks: [{name: x, images: [a], labels: []}]", "1 images for 0 labels"),
        ("tasks: [{name: x, folder: y}, {name: x, folder: z}]", "twice"),
    ],
)
def test_a_malformed_list_is_refused(tmp_path, text, why):
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(ConfigError, match=why):
        load_tasks(tmp_path / "bad.yaml", tmp_path)


def test_tasks_whose_files_are_absent_are_left_out(tmp_path):
    scans(tmp_path / "set" / "images", tmp_path / "set" / "labels", ["a"])
    entries = [{"name": "here", "folder": "set"}, {"name": "there", "folder": "gone"}]
    path = tmp_path / "tasks.yaml"
    path.write_text(yaml.safe_dump({"tasks": entries}))
    assert [task.name for task, _ in load_tasks(path, tmp_path)] == ["here"]


def test_the_earlier_name_of_a_protocol_is_known():
    task = Task(name="t", folder="x", protocol="volume")  # type: ignore[arg-type]
    assert task.protocol == "slices"


@pytest.mark.parametrize("path", sorted(LISTS.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_shipped_lists_are_whole(path):
    tasks = read_tasks(path)
    assert len({task.name for task in tasks}) == len(tasks)
    if path.stem == "paper":
        assert len(tasks) == 6 and {task.modality for task in tasks} == {"CT", "MR"}


def test_options_that_do_not_go_together_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="not both"):
        choose_tasks(None, tmp_path, tmp_path, None, None)
    with pytest.raises(ConfigError, match="volumes"):
        choose_tasks(None, None, tmp_path, None, "volumes")
    with pytest.raises(FewSAMError):
        choose_tasks(None, None, tmp_path, None, None)


def write_series(folder: Path, voxels: np.ndarray, uid: str) -> None:
    """A CT series (Z, H, W) int16, 2 mm apart, 1.5 mm pixels."""
    folder.mkdir(parents=True)
    for z, pixels in enumerate(voxels):
        meta = pydicom.dataset.FileMetaDataset()
        meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
        meta.MediaStorageSOPInstanceUID = f"{uid}.{z + 1}"
        ds = pydicom.dataset.FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        ds.SOPClassUID, ds.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
        ds.Modality, ds.StudyInstanceUID, ds.SeriesInstanceUID = "CT", "1.2.3", uid
        ds.PatientID = ds.PatientName = "x"
        ds.StudyDate, ds.StudyTime, ds.AccessionNumber, ds.StudyID = "20200101", "000000", "", ""
        ds.PatientBirthDate = ds.PatientSex = ds.ReferringPhysicianName = ""
        ds.FrameOfReferenceUID = f"{uid}.99"
        ds.InstanceNumber, ds.Rows, ds.Columns = z + 1, *pixels.shape
        ds.ImagePositionPatient, ds.ImageOrientationPatient = [-10.0, -20.0, 2.0 * z], [1, 0, 0, 0, 1, 0]
        ds.PixelSpacing, ds.SliceThickness = [1.5, 1.5], 2.0
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        ds.RescaleSlope, ds.RescaleIntercept = 1, 0
        ds.PixelData = pixels.astype("<i2").tobytes()
        ds.save_as(folder / f"{z:03d}.dcm", write_like_original=False)


def write_seg(path: Path, series: Path, labelmap: np.ndarray, names: list[str]) -> None:
    """A DICOM SEG of a labelmap (Z, H, W) through pydicom-seg's writer."""
    import pydicom_seg
    import SimpleITK as sitk

    attributes = []
    for number, name in enumerate(names, 1):
        code = {"CodeValue": "123037004", "CodingSchemeDesignator": "SCT", "CodeMeaning": "Anatomical Structure"}
        attributes.append(
            {"labelID": number, "SegmentLabel": name, "SegmentDescription": name, "SegmentAlgorithmType": "MANUAL",
             "SegmentedPropertyCategoryCodeSequence": code, "SegmentedPropertyTypeCodeSequence": code}
        )  # fmt: skip
    template = pydicom_seg.template.from_dcmqi_metainfo(
        {"segmentAttributes": [attributes], "ContentCreatorName": "x", "SeriesDescription": "x", "SeriesNumber": "2",
         "InstanceNumber": "1", "BodyPartExamined": "", "ClinicalTrialSeriesID": "", "ClinicalTrialTimePointID": "",
         "ContentLabel": "SEG", "ContentDescription": "x", "ClinicalTrialCoordinatingCenterName": ""}
    )  # fmt: skip
    image = sitk.GetImageFromArray(labelmap.astype(np.uint8))
    image.SetSpacing((1.5, 1.5, 2.0))
    image.SetOrigin((-10.0, -20.0, 0.0))
    sources = [pydicom.dcmread(file) for file in sorted(series.glob("*.dcm"))]
    pydicom_seg.MultiClassWriter(template=template).write(image, sources).save_as(path, write_like_original=False)


def test_dicom_with_a_segmentation(tmp_path):
    labelmap = np.zeros((4, 12, 10), np.uint8)
    labelmap[1, 2:6, 3:5], labelmap[2:4, 7, 8] = 1, 2
    write_series(tmp_path / "one", labelmap.astype(np.int16) * 100 - 50, "1.2.3.4")
    (tmp_path / "segs").mkdir()
    write_seg(tmp_path / "segs" / "seg.dcm", tmp_path / "one", labelmap, ["liver", "spot"])
    (case,) = load_cases(*folder_task(tmp_path))
    assert {name: int(mask.sum()) for name, mask in case.truth.items()} == {"liver": 8, "spot": 2}
    assert np.array_equal(case.truth["liver"], labelmap == 1) and np.array_equal(case.truth["spot"], labelmap == 2)
    write_seg(tmp_path / "segs" / "again.dcm", tmp_path / "one", labelmap, ["liver", "spot"])
    with pytest.raises(LabelError, match="segment one series"):
        load_cases(*folder_task(tmp_path))
    for file in (tmp_path / "segs").iterdir():
        file.unlink()
    with pytest.raises(ConfigError, match="no DICOM SEG"):
        load_cases(*folder_task(tmp_path))


def test_series_of_one_patient_are_one_patient_s_and_names_are_told_apart(tmp_path):
    labelmap = np.zeros((3, 12, 10), np.uint8)
    labelmap[1, 2:6, 3:5] = 1
    for number, place in enumerate(("A/CT", "B/CT", "C/CT")):
        write_series(tmp_path / place, labelmap.astype(np.int16) * 100, f"1.2.3.{number}")
        if place[0] == "C":
            for file in (tmp_path / place).iterdir():
                content = pydicom.dcmread(file)
                content.PatientID = "y"
                content.save_as(file)
        save_labelmap(
            tmp_path / place[0] / "truth.nii.gz", labelmap, load_volume(tmp_path / place).geometry, {1: "liver"}
        )
    places = [f"{letter}/CT" for letter in "ABC"]
    task = Task(name="t", images=places, labels=[f"{letter}/truth.nii.gz" for letter in "ABC"], names={1: "liver"})
    cases = load_cases(task, tmp_path)
    assert [case.name for case in cases] == ["A-CT", "B-CT", "C-CT"]
    first, second, third = (case.patient for case in cases)
    assert first == second != third and "x" not in first  # nobody is named
    single = next((tmp_path / "C" / "CT").iterdir())
    save_labelmap(tmp_path / "one.nii.gz", labelmap[1:2], load_volume(single).geometry, {1: "liver"})
    twice = [f"{letter}/CT" for letter in "C"] + [str(single.relative_to(tmp_path))]
    alone = Task(name="t", images=twice, labels=["C/truth.nii.gz", "one.nii.gz"], names={1: "liver"})
    assert len({case.patient for case in load_cases(alone, tmp_path)}) == 1  # a file of one slice tells it too
    again = task.model_copy(update={"images": places[:1] * 2, "labels": ["A/truth.nii.gz"] * 2})
    assert len(load_cases(again, tmp_path)) == 2  # one image listed twice has no name of its own, and loads
    by_name = load_cases(task.model_copy(update={"patient": "^(.)"}), tmp_path)
    assert [case.patient for case in by_name] == ["A", "B", "C"]


@pytest.mark.skipif(not (SHARED / "msd_hippocampus").is_dir(), reason="real scans are not beside the repository")
def test_every_set_beside_the_repository_loads_with_all_its_classes():
    loaded = load_tasks(LISTS / "shared-all.yaml", SHARED)
    assert len(loaded) == 10
    for task, root in loaded:
        cases = load_cases(task.model_copy(update={"cases": 2}), root, task.settings.get("axis", "auto"))
        assert all(mask.any() for mask in cases[0].truth.values()), task.name


def test_labels_in_nrrd_and_mha_are_found_too(tmp_path):
    import SimpleITK as sitk

    truth = scans(tmp_path / "images", tmp_path / "raw", ["a", "b"])
    (case, _) = load_cases(Task(name="t", glob={"images": "images/*.nii.gz", "labels": "raw/*.nii.gz"},
                                names={1: "left"}), tmp_path)  # fmt: skip
    (tmp_path / "labels").mkdir()
    save_labelmap(tmp_path / "labels" / "a.nrrd", case.truth["left"].astype(np.uint8), case.volume.geometry, {})
    image = sitk.GetImageFromArray((truth == 1).astype(np.uint8).transpose(2, 1, 0))
    image.SetSpacing((1.0, 1.0, 3.0))
    image.SetDirection((LPS[:3, :3] @ np.eye(3)).ravel().tolist())
    sitk.WriteImage(image, str(tmp_path / "labels" / "b.mha"))
    cases = load_cases(Task(name="t", folder=".", names={1: "left"}), tmp_path)
    assert np.array_equal(cases[0].truth["left"], case.truth["left"])
    assert cases[1].truth["left"].sum() == (truth == 1).sum()

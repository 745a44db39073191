"""The generated sample data: anatomy in its place, plausible intensities, and files that others can read."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from scipy.ndimage import binary_dilation, label

from fewsam.core.errors import ConfigError, StorageError
from fewsam.synthetic.phantom import (
    LABELS,
    PatientAnatomy,
    Tissue,
    generate_patient,
    render_ct,
    render_mr,
    write_dataset,
)

SMALL = (80, 64, 22)
PATIENTS = range(1, 7)
VALUE = {name: value for value, name in LABELS.items()}


@lru_cache
def patient(number: int) -> PatientAnatomy:
    return generate_patient(seed=0, patient=number, shape=SMALL)


@lru_cache
def ct(number: int) -> np.ndarray:
    return render_ct(patient(number), np.random.default_rng([0, number, 1]))


@lru_cache
def mr(number: int) -> np.ndarray:
    return render_mr(patient(number), np.random.default_rng([0, number, 2]))


def pure(anatomy: PatientAnatomy, *tissues: Tissue) -> np.ndarray:
    """Voxels that consist of these tissues alone."""
    n = anatomy.supersampling
    i, j, k = anatomy.labels.shape
    return np.isin(anatomy.tissue, tissues).reshape(i, n, j, n, k, n).all(axis=(1, 3, 5))


def center(anatomy: PatientAnatomy, name: str) -> np.ndarray:
    """World position (right, anterior, superior; mm) of a class's centre."""
    index = np.argwhere(anatomy.labels == VALUE[name]).mean(axis=0)
    return anatomy.affine[:3, :3] @ index + anatomy.affine[:3, 3]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two small patients written to disk, beside a file that was there before."""
    folder = tmp_path_factory.mktemp("sample-data")
    (folder / "README.md").write_text("mine")
    write_dataset(folder, patients=2, seed=3, shape=SMALL)
    return folder


@pytest.mark.slow
def test_same_seed_gives_the_same_voxels_and_another_seed_does_not() -> None:
    again = generate_patient(seed=0, patient=1, shape=SMALL)
    assert np.array_equal(again.tissue, patient(1).tissue)
    assert np.array_equal(again.labels, patient(1).labels)
    assert np.array_equal(render_ct(again, np.random.default_rng([0, 1, 1])), ct(1))
    assert np.array_equal(render_mr(again, np.random.default_rng([0, 1, 2])), mr(1))
    other = generate_patient(seed=1, patient=1, shape=SMALL)
    assert np.mean(other.labels != again.labels) > 0.01


@pytest.mark.parametrize("number", PATIENTS)
def test_every_class_is_there_with_a_plausible_volume(number: int) -> None:
    anatomy = patient(number)
    assert anatomy.labels.shape == SMALL and anatomy.labels.dtype == np.uint8
    assert anatomy.names == LABELS
    assert set(np.unique(anatomy.labels)) == {0, *LABELS}
    millilitres = float(np.prod(anatomy.spacing)) / 1000.0
    volume = {name: millilitres * np.sum(anatomy.labels == value) for name, value in VALUE.items()}
    low_high = {
        "liver": (700, 2300), "spleen": (50, 400), "kidney_right": (70, 280), "kidney_left": (70, 280),
        "stomach": (80, 800), "aorta": (25, 150), "vertebrae": (150, 500), "lungs": (200, 2000),
    }  # fmt: skip
    outside = {name: volume[name] for name, (low, high) in low_high.items() if not low <= volume[name] <= high}
    assert not outside


@pytest.mark.parametrize("number", PATIENTS)
def test_organs_lie_where_they_belong(number: int) -> None:
    anatomy = patient(number)
    at = {name: center(anatomy, name) for name in VALUE}
    right, front, up = 0, 1, 2
    assert at["liver"][right] > at["vertebrae"][right] + 30 > at["spleen"][right] + 90
    assert at["kidney_right"][right] > at["vertebrae"][right] + 30
    assert at["kidney_left"][right] < at["vertebrae"][right] - 30
    assert at["kidney_right"][up] < at["kidney_left"][up]  # the liver pushes it down
    assert at["spleen"][front] < at["stomach"][front] and at["stomach"][right] < at["vertebrae"][right]
    assert all(at["lungs"][up] > at[name][up] + 20 for name in VALUE if name not in ("lungs", "vertebrae"))
    assert at["aorta"][front] > at["vertebrae"][front] + 20
    x, y, _ = np.indices(SMALL)
    spine = np.argwhere(anatomy.labels == VALUE["vertebrae"]).mean(axis=0)
    behind_spine = (np.abs(x - spine[0]) * anatomy.spacing[0] < 8) & (y < spine[1])
    assert not (behind_spine & (anatomy.labels == VALUE["lungs"])).any()
    near = binary_dilation(anatomy.labels == VALUE["aorta"], np.ones((5, 5, 1)))
    beside = (near & (anatomy.labels == VALUE["vertebrae"])).any(axis=(0, 1))
    assert beside.mean() > 0.4  # the aorta runs along the bodies; at the discs and behind the crura it does not touch
    gas = (anatomy.labels == VALUE["stomach"]) & (ct(number) < -500)
    fluid = (anatomy.labels == VALUE["stomach"]) & (ct(number) > -50)
    assert np.argwhere(gas).mean(axis=0)[1] > np.argwhere(fluid).mean(axis=0)[1]  # it rises to the front, supine


@pytest.mark.parametrize("name", ["liver", "spleen", "kidney_right", "kidney_left", "stomach", "aorta"])
def test_organs_are_of_one_piece(name: str) -> None:
    for number in PATIENTS:
        pieces, count = label(patient(number).labels == VALUE[name], np.ones((3, 3, 3)))
        sizes = np.bincount(pieces.ravel())[1:]
        assert sizes.max() > 0.97 * sizes.sum(), (number, count)


@pytest.mark.parametrize(
    ("number", "phase", "aorta", "liver"),
    [(1, "portal", (120, 200), (80, 135)), (2, "native", (25, 60), (40, 75)), (5, "arterial", (230, 400), (50, 95))],
)
def test_hounsfield_units_by_tissue_and_phase(
    number: int, phase: str, aorta: tuple[int, int], liver: tuple[int, int]
) -> None:
    anatomy, volume = patient(number), ct(number)
    assert volume.dtype == np.int16 and volume.shape == SMALL
    assert anatomy.traits.phase == phase
    ranges = {
        (Tissue.AORTA,): aorta,
        (Tissue.LIVER,): liver,
        (Tissue.FAT, Tissue.VISCERAL_FAT): (-120, -85),
        (Tissue.MUSCLE,): (35, 75),
        (Tissue.LUNG,): (-930, -750),
        (Tissue.GAS,): (-1024, -850),
        (Tissue.STOMACH_FLUID,): (-10, 40),
        (Tissue.SPONGY_BONE,): (90, 330),
    }
    for tissues, (low, high) in ranges.items():
        inside = pure(anatomy, *tissues)
        assert inside.sum() >= 30, tissues
        assert low < np.median(volume[inside]) < high, (tissues, np.median(volume[inside]))
    assert volume.max() > 350  # dense bone survives partial volume
    assert np.median(volume[:, -2:, :]) < -950  # air before the patient
    noise = np.diff(volume[pure(anatomy, Tissue.LIVER)].astype(float)).std()
    assert 5 < noise < 35


def test_contrast_agent_reaches_the_kidneys_cortex_before_the_medulla() -> None:
    anatomy, volume = patient(5), ct(5)
    cortex = np.median(volume[pure(anatomy, Tissue.CORTEX)])
    kidneys = np.isin(anatomy.labels, [VALUE["kidney_left"], VALUE["kidney_right"]])
    assert cortex > np.median(volume[kidneys & ~pure(anatomy, Tissue.CORTEX)]) + 15


def test_patients_differ_in_size_shape_and_contrast() -> None:
    bodies = [patient(n).tissue > 0 for n in PATIENTS]
    volumes = [body.mean() * np.prod(patient(n).spacing) for n, body in zip(PATIENTS, bodies, strict=True)]
    assert max(volumes) / min(volumes) > 1.3
    fat = [np.mean(patient(n).tissue[body] == Tissue.FAT) for n, body in zip(PATIENTS, bodies, strict=True)]
    assert max(fat) / min(fat) > 1.6
    assert {patient(n).traits.phase for n in PATIENTS} == {"native", "arterial", "portal"}
    assert {patient(n).traits.sequence for n in PATIENTS} == {"t1", "t2"}
    for a in PATIENTS:
        for b in range(a + 1, 7):
            first, second = patient(a).labels > 0, patient(b).labels > 0
            assert (first & second).sum() / (first | second).sum() < 0.85, (a, b)


def test_a_seventh_patient_is_not_the_first_again() -> None:
    seventh = generate_patient(seed=0, patient=7, shape=SMALL)
    assert seventh.traits.phase == patient(1).traits.phase
    assert np.mean(seventh.labels != patient(1).labels) > 0.01


def test_mr_is_not_a_function_of_ct() -> None:
    anatomy, grey, hounsfield = patient(2), mr(2), ct(2)
    assert grey.dtype == np.int16 and grey.min() >= 0
    liver, muscle = pure(anatomy, Tissue.LIVER), pure(anatomy, Tissue.MUSCLE)
    assert abs(np.median(hounsfield[liver]) - np.median(hounsfield[muscle])) < 15
    assert np.median(grey[liver]) > 1.25 * np.median(grey[muscle])
    # Bone is CT's brightest and MR's darkest; fluid is the other way round.
    fluid, fat = pure(anatomy, Tissue.STOMACH_FLUID), pure(anatomy, Tissue.FAT)
    assert np.median(grey[fluid]) > 2 * np.median(grey[liver])
    assert np.median(grey[fat]) > np.median(grey[liver])
    assert np.median(grey[anatomy.tissue[::2, ::2, ::2] == Tissue.CORTICAL_BONE]) < np.median(grey[fat]) / 2


def test_mr_is_shaded_by_its_coils() -> None:
    anatomy = patient(3)
    fat = pure(anatomy, Tissue.VISCERAL_FAT, Tissue.FAT)
    along = [np.median(mr(3)[i][fat[i]]) for i in range(SMALL[0]) if fat[i].sum() > 30]
    assert max(along) / min(along) > 1.15


@pytest.mark.slow
def test_layout_and_headers(dataset: Path) -> None:
    names = ["patient01.nii.gz", "patient02.nii.gz"]
    for folder in ("ct", "mr", "truth/ct", "truth/mr"):
        settings = [] if "truth" in folder else ["fewsam.yaml"]  # nothing else lies in a studies folder
        assert sorted(p.name for p in (dataset / folder).iterdir()) == settings + names
    assert (dataset / "README.md").read_text() == "mine"
    stored = json.loads((dataset / "truth" / "labels.json").read_text())
    assert {int(value): name for value, name in stored.items()} == LABELS
    for name in names:
        image, truth = nib.load(dataset / "ct" / name), nib.load(dataset / "truth" / "ct" / name)
        assert nib.aff2axcodes(image.affine) == ("R", "A", "S")
        assert image.get_data_dtype() == np.int16 and truth.get_data_dtype() == np.uint8
        assert np.array_equal(image.affine, truth.affine) and image.shape == truth.shape == SMALL
        assert np.argmax(image.header.get_zooms()) == 2  # axial slices are the coarsest
        assert set(np.unique(np.asarray(truth.dataobj))) == {0, *LABELS}
        assert (dataset / "truth" / "mr" / name).read_bytes() == (dataset / "truth" / "ct" / name).read_bytes()


def test_written_twice_the_files_are_equal_and_progress_is_told(dataset: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    write_dataset(tmp_path, patients=1, seed=3, shape=SMALL, progress=lambda done, total: told.append((done, total)))
    assert told == [(0, 1), (1, 1)]
    for part in (
        "ct/patient01.nii.gz",
        "mr/patient01.nii.gz",
        "truth/ct/patient01.nii.gz",
        "dicom/ct-patient01/slice007.dcm",
    ):
        assert (tmp_path / part).read_bytes() == (dataset / part).read_bytes()


@pytest.mark.parametrize(
    ("scan", "modality", "patient"), [("ct-patient01", "ct", 1), ("ct-patient02", "ct", 2), ("mr-patient01", "mr", 1)]
)
def test_dicom_series_reads_back_as_the_nifti(dataset: Path, scan: str, modality: str, patient: int) -> None:
    reader = sitk.ImageSeriesReader()
    folder = str(dataset / "dicom" / scan)
    series = reader.GetGDCMSeriesIDs(folder)
    assert len(series) == 1
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(folder, series[0]))
    image = reader.Execute()
    voxels = sitk.GetArrayFromImage(image).transpose(2, 1, 0)  # (x, y, z), axes to the left, back, top
    nifti = nib.load(dataset / modality / f"patient{patient:02d}.nii.gz")
    assert np.array_equal(voxels[::-1, ::-1], np.asarray(nifti.dataobj))
    assert image.GetDirection() == (1, 0, 0, 0, 1, 0, 0, 0, 1)
    corner = image.TransformIndexToPhysicalPoint([SMALL[0] - 1, SMALL[1] - 1, 0])
    assert np.allclose([-corner[0], -corner[1], corner[2]], nifti.affine[:3, 3], atol=1e-3)
    assert np.allclose(image.GetSpacing(), nifti.header.get_zooms(), atol=1e-4)


def test_dicom_files_are_whole_and_distinct(dataset: Path) -> None:
    files = [pydicom.dcmread(path) for path in sorted((dataset / "dicom" / "ct-patient01").glob("*.dcm"))]
    assert len(files) == SMALL[2]
    assert len({f.SOPInstanceUID for f in files}) == len(files)
    assert len({(f.StudyInstanceUID, f.SeriesInstanceUID, f.FrameOfReferenceUID) for f in files}) == 1
    for f in files:
        assert f.file_meta.MediaStorageSOPInstanceUID == f.SOPInstanceUID
        assert f.PatientName == "Phantom^One" and f.Modality == "CT"
        assert all(uid.is_valid for uid in (f.StudyInstanceUID, f.SeriesInstanceUID, f.SOPInstanceUID))
    heights = [float(f.ImagePositionPatient[2]) for f in files]
    assert np.allclose(np.diff(heights), float(files[0].SpacingBetweenSlices))


def test_dicom_studies_are_told_apart(dataset: Path) -> None:
    first = [pydicom.dcmread(path / "slice001.dcm") for path in sorted((dataset / "dicom").iterdir())]
    assert [(str(f.PatientName), f.Modality) for f in first] == [
        ("Phantom^One", "CT"), ("Phantom^Two", "CT"), ("Phantom^One", "MR")]  # fmt: skip
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID"):
        assert len({f[keyword].value for f in first}) == 3
    assert first[0].PatientID == first[2].PatientID != first[1].PatientID


@pytest.mark.slow
def test_a_shorter_series_leaves_no_slices_of_a_longer_one(tmp_path: Path) -> None:
    write_dataset(tmp_path, patients=1, shape=SMALL)
    write_dataset(tmp_path, patients=1, shape=(32, 26, 16))
    assert len(list((tmp_path / "dicom" / "ct-patient01").iterdir())) == 16


@pytest.mark.slow
def test_six_patients_of_full_size_stay_under_20_megabytes(tmp_path: Path) -> None:
    write_dataset(tmp_path, patients=1)
    size = {part: sum(f.stat().st_size for f in (tmp_path / part).rglob("*") if f.is_file()) for part in
            ("ct", "mr", "truth", "dicom")}  # fmt: skip
    # a second patient has the CT alone as DICOM
    assert 1.5 * size["dicom"] + 6 * (size["ct"] + size["mr"] + size["truth"]) < 20e6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"patient": 0}, "patient 0"), ({"patient": 1, "shape": (8, 8, 8)}, r"\(8, 8, 8\)")],
)
def test_impossible_patients_are_refused(arguments: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        generate_patient(seed=0, **arguments)


def test_no_patients_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="0 patients"):
        write_dataset(tmp_path, patients=0)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "occupied").write_text("a file, not a folder")
    with pytest.raises(StorageError, match="occupied"):
        write_dataset(tmp_path / "occupied", patients=1, shape=(32, 26, 16))


def test_contact_sheet_is_small_and_shows_the_overlay(dataset: Path, tmp_path: Path) -> None:
    picture = pytest.importorskip("fewsam.synthetic.phantom.picture")
    target = tmp_path / "docs" / "phantom.png"
    picture.contact_sheet(dataset, target, patients=2)
    assert target.stat().st_size < 1_000_000
    from PIL import Image

    pixels = np.asarray(Image.open(target).convert("RGB")).astype(int)
    assert np.mean(np.ptp(pixels, axis=2) > 40) > 0.005  # colour: the overlay
    assert pixels.std() > 30

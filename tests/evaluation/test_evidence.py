"""`make evidence` in small: its own recipe, on tiny scans."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from helpers import tiny_task

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.timeout(600)
def test_make_evidence_ends_in_a_text_and_a_picture(tmp_path):
    image, label = tiny_task.write_case(tmp_path, "p1")
    names = dict(enumerate(tiny_task.NAMES, 1))
    one = {"name": "tiny", "images": [str(image.relative_to(tmp_path))], "labels": [str(label.relative_to(tmp_path))]}
    listed = tmp_path / "tasks.yaml"
    listed.write_text(yaml.safe_dump({"root": ".", "tasks": [{**one, "names": names}]}))
    conf = [f"--conf {key}={value}" for key, value in tiny_task.QUICK.items() if key != "labels"]
    given = {
        "VENV": sys.prefix,
        "EVIDENCE": tmp_path / "evidence",
        "SAMPLE_TASKS": listed,
        "SAMPLE_ONLY": "tiny",
        "SAMPLE_K": "2,3",
        "EVIDENCE_METHODS": "fewsam,fewsam-cold,probe",
        "EVIDENCE_CONF": " ".join(conf),
        "LOOP_BUDGET": 3,
        "LOOP_CONF": "--conf auto_train=off",
        "SHARED": tmp_path / "none",
    }
    # what is there already is not to be made here: the environment and the sample data
    done = ["-o", f"{sys.prefix}/ready", "-o", "sample-data/truth/labels.json"]
    command = ["make", "evidence", *done, *(f"{key}={value}" for key, value in given.items())]
    lib = {"PYTHONPATH": os.pathsep.join([str(ROOT / "lib"), os.environ.get("PYTHONPATH", "")])}
    ran = subprocess.run(command, cwd=ROOT, env={**os.environ, **lib}, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout[-2000:] + ran.stderr[-2000:]
    assert "real scans are left out" in ran.stdout
    text = (tmp_path / "evidence" / "results.md").read_text()
    for expected in ("| tiny | 2 |", "| tiny | 3 |", "**tiny, 3 slices.** Full supervision: IoU", "| informative |"):
        assert expected in text
    assert "slices to 90% of full" in text and "Is the uncertainty shown true?" in text and "Failed" not in text
    assert (tmp_path / "evidence" / "results.png").stat().st_size > 10_000

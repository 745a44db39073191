"""The benchmark's requests to a server: a real one answers all of them. How fast is not looked at."""

from __future__ import annotations

from pathlib import Path

import pytest

from fewsam.core.processes import ProcessError
from fewsam.evaluation.responses import measure_responses
from fewsam.images.volume import load_volume
from fewsam.synthetic.phantom import write_dataset

SHAPE = (48, 40, 16)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_server_answers_every_request_of_the_benchmark(tmp_path: Path) -> None:
    write_dataset(tmp_path, patients=1, shape=SHAPE)
    image = tmp_path / "ct" / "patient01.nii.gz"
    volume = load_volume(image)
    labels = load_volume(tmp_path / "truth" / "ct" / "patient01.nii.gz").slices
    masks = {"liver": labels == 1, "spleen": labels == 2}
    found = measure_responses(image, volume, masks, 2, {"encoder": "compact", "steps": 2})
    assert [(one.request.split(",")[0], len(one.seconds)) for one in found] == [
        ("Segment", 1), ("Segment", 2), ("a click", 2), ("a scribble", 2), ("Next slice", 2)]  # fmt: skip
    assert all(one.median <= one.slowest for one in found)
    with pytest.raises(ProcessError, match="aorta"):  # a server that refuses is no measurement
        measure_responses(image, volume, {"liver": masks["liver"]}, 1, {"encoder": "compact", "labels": "aorta"})

"""What measures growth: the cache's figures, the peak of a process, drawings of many classes, and the page."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from fewsam.core.pool import ProcessPool
from fewsam.encoders import cache as cache_module
from fewsam.evaluation.scaling import growth
from fewsam.evaluation.scaling.report import write_page
from fewsam.evaluation.scaling.storage import SAMPLES, SMALL, measure_cache


def test_a_cache_is_measured_at_each_number_and_is_as_full_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_module, "EMBEDDING_SHAPE", cache_module.EMBEDDING_SHAPE)
    monkeypatch.setattr(cache_module, "EMBEDDING_BYTES", cache_module.EMBEDDING_BYTES)
    counts = (SAMPLES, SAMPLES + 50)
    rows = measure_cache(tmp_path, counts, SMALL)
    assert [row["entries"] for row in rows] == list(counts)
    assert all(row[name] > 0 for row in rows for name in ("start", "checked_start", "get", "put", "worst_put"))
    with cache_module.EmbeddingCache(tmp_path, 1 << 30) as cache:
        assert cache.stats()["entries"] >= counts[-1]


@pytest.mark.slow
def test_the_peak_is_that_of_the_process_which_is_asked_about() -> None:
    with ProcessPool(1) as pool:
        before = pool.submit(growth.peak_mb).result()
        pool.submit(np.ones, 20_000_000).result()  # 160 MB there
        after, process = pool.submit(growth.peak_mb).result(), pool.submit(os.getpid).result()
        assert growth.peak_mb(process) == after >= before + 150


@pytest.mark.parametrize("classes", [1, 4, 16, 64])
def test_every_class_is_drawn_and_half_of_the_image_is_left(classes: int) -> None:
    labels = growth._blocks(classes)
    assert np.unique(labels).tolist() == list(range(classes + 1))
    assert 0.2 < (labels > 0).mean() <= 0.5


def test_the_page_has_a_table_and_a_plot_for_each_part_that_was_measured(tmp_path: Path) -> None:
    about = {"load": 2.0, "cores": 2, "when": "2030-01-02"}
    shared = [{"workers": n, "slices": 12, "wall": 9.0, "steady": 0.5 / max(n, 1)} for n in (0, 1, 2)]
    timed = {"start": 1.0, "list": 0.1, "next": 0.2, "next_labelled": 0.3, "submit": 0.4, "segment": 0.5}
    volumes = [{"size": size, **timed, "peak_mb": 900.0} for size in (10, 1_000)]
    task = {"submit": 0.1, "prepare": 0.2, "train": 12.345, "segment": 0.3, "steps": 20, "peak_mb": 800.0}
    classes = [{"size": size, **task} for size in (1, 64)]
    found = {
        "workers": {"volumes": 2, "encode": shared, "segment": shared, **about},
        "volumes": {"rows": volumes, **about},
        "classes": {"rows": classes, **about},
    }
    write_page(found, tmp_path / "page.md", tmp_path)
    text = (tmp_path / "page.md").read_text()
    assert "| segment | workers: 2 | 12 | 9 | 0.25 | 1.00 |" in text
    assert "| 1,000 | 1.000 | 0.100 | 0.200 | 0.300 | 0.400 | 0.500 | 900 |" in text
    assert "12.345" in text and "Labelled slices" not in text and "other work" not in text
    assert {path.stem for path in tmp_path.glob("*.png")} == {"scaling-workers", "scaling-volumes", "scaling-classes"}
    found["classes"]["load"] = 12.0
    write_page(found, tmp_path / "page.md", tmp_path)
    assert "The machine had other work meanwhile" in (tmp_path / "page.md").read_text()

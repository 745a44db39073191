"""The tables of results: computed from draws, copied from folders of `fewsam evaluate`, and as the pages show them."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from helpers.server_harness import REPOSITORY

_spec = importlib.util.spec_from_file_location("results_table", REPOSITORY / "tools/results_table.py")
assert _spec is not None
assert _spec.loader is not None
results_table: Any = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(results_table)


def cell(method: str, k: int, seed: int, iou: dict[str, float], **other: str) -> dict[str, Any]:
    draw = {"task": "acdc-heart", "protocol": "patients", "choice": "random", "method": method, "k": k, "seed": seed}
    rest = {"fit_seconds": 1.23, "predict_seconds": 4.56, "tested_slices": 7, "code": "abc", "scores": ["left out"]}
    return {**draw, **rest, "iou": iou, "error": "", **other}


def write_folder(folder: Path, cells: list[dict[str, Any]], steps: int = 120) -> Path:
    folder.mkdir()
    (folder / "cells.jsonl").write_text("\n".join(map(json.dumps, cells)) + "\n")
    settings = {"steps": steps, "train_seconds": 900.0, "seed": 0}
    (folder / "configuration.json").write_text(json.dumps({"settings": settings, "encoder_info": {"name": "compact"}}))
    return folder


def collect(*folders: Path) -> dict[str, Any]:
    return results_table.collect(folders, "abc1234", "2026-01-02", "fewsam evaluate", "two cores")


def test_mean_and_spread_over_draws(tmp_path: Path) -> None:
    cells = [
        cell("unet", 5, 0, {"a": 0.2, "b": 0.4}),  # 0.3
        cell("fewsam", 5, 0, {"a": 0.5, "b": 0.7}),  # 0.6
        cell("fewsam", 5, 1, {"a": 0.7, "b": 0.9}),  # 0.8: mean 0.7, standard deviation 0.1
        cell("fewsam", 3, 0, {}, error="out of memory"),
    ]
    results = collect(write_folder(tmp_path / "run", cells))
    assert results_table.table(results).splitlines() == [
        "| data | K | fewsam | U-Net |",
        "| --- | --- | --- | --- |",
        "| heart MR, other patients, 3 structures | 3 | (1 failed) | - |",
        "|  | 5 | 0.700 ± 0.100 | 0.300 (1 of 2 draws) |",
    ]
    assert results_table.table(results, 5).splitlines()[2:] == [
        "| heart MR, other patients, 3 structures | 0.700 ± 0.100 | 0.300 (1 of 2 draws) |"
    ]
    assert "scores" not in json.dumps(results)


def test_caption_says_what_was_tuned(tmp_path: Path) -> None:
    tuned = collect(write_folder(tmp_path / "tuned", [cell("fewsam", 5, 0, {"a": 0.5})]))
    assert "These sets also chose" in results_table.caption(tuned, 5)
    assert "One random draw" in results_table.caption(tuned, 5)
    judge = [cell("fewsam", 5, seed, {"a": 0.5}, task="new-set") for seed in range(2)]
    both = collect(tmp_path / "tuned", write_folder(tmp_path / "judge", judge))
    assert "marked ‡ judge" in results_table.caption(both)
    assert "Up to 2 random draws (mean ± standard deviation; without one: one draw)" in results_table.caption(both)
    assert "| new-set ‡ | 5 | 0.500 ± 0.000 |" in results_table.table(both)
    assert "may have seen" not in results_table.caption(both)


def test_folders_that_do_not_fit_together(tmp_path: Path) -> None:
    first = write_folder(tmp_path / "first", [cell("fewsam", 5, 0, {"a": 0.5})])
    again = write_folder(tmp_path / "again", [cell("fewsam", 5, 0, {"a": 0.6})])
    other = write_folder(tmp_path / "other", [cell("fewsam", 5, 1, {"a": 0.6})], steps=260)
    with pytest.raises(results_table.ResultsError, match="repeats a draw"):
        collect(first, again)
    with pytest.raises(results_table.ResultsError, match="other settings"):
        collect(first, other)
    baseline = write_folder(tmp_path / "baseline", [cell("unet", 5, 0, {"a": 0.6})], steps=260)  # has steps of its own
    untrained = write_folder(tmp_path / "untrained", [cell("fewsam-cold", 5, 0, {"a": 0.6})], steps=260)
    assert len(collect(untrained, first)["cells"]) == 2
    assert collect(baseline, first)["made_with"]["settings"]["steps"] == 120
    assert "with the encoder `compact`." in results_table.caption(collect(baseline))
    with pytest.raises(results_table.ResultsError, match="holds no results"):
        collect(tmp_path / "none")


def test_add_writes_the_file_and_the_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "README.md"
    page.write_text("before\n<!-- results: main, K = 5 -->\nold\n<!-- end of results -->\nafter\n")
    monkeypatch.setattr(results_table, "RESULTS", tmp_path)
    monkeypatch.setattr(results_table, "pages", lambda: [page])
    folder = write_folder(tmp_path / "run", [cell("fewsam", 5, 0, {"a": 0.5}), cell("fewsam", 3, 0, {"a": 0.4})])
    told = ["--commit", "abc", "--date", "2026-01-02", "--command", "x"]
    assert results_table.main(["add", str(folder), "-o", str(tmp_path / "main.json"), *told]) == 0
    text = page.read_text()
    assert text.startswith("before\n<!-- results: main, K = 5 -->\n| data | fewsam |")
    assert "0.500" in text
    assert "0.400" not in text
    assert "old" not in text
    assert text.endswith("<!-- end of results -->\nafter\n")


@pytest.mark.parametrize("page", ["README.md", "docs/results/README.md"])
def test_pages_show_what_the_files_say(page: str) -> None:
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    assert results_table.MARKED.search(text), "the markers are gone"
    assert text == results_table.filled(text), "run `python tools/results_table.py write`"


def test_every_file_of_results_is_shown() -> None:
    text = (REPOSITORY / "docs/results/README.md").read_text(encoding="utf-8")
    for file in (REPOSITORY / "docs/results").glob("*.json"):
        if isinstance(json.loads(file.read_text(encoding="utf-8")), dict):  # drawing.json has a page of its own
            assert f"<!-- results: {file.stem} -->" in text, file.name

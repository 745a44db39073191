"""How time and memory grow, measured on this machine: `make scaling` writes docs/results/scaling.md and its plots.

    python tools/scaling.py workers deaths page     # some of its parts

Each part writes its figures into scaling/PART.json at once, so that a run that was stopped goes on with the others.
Every figure stands beside the load that the machine had: other programs make times longer, and efficiencies worse.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
OUT = REPOSITORY / "scaling"
SMALL_COUNTS = (1_000, 10_000, 100_000)
RAM_DISK = Path("/dev/shm")  # without the waits for a disk, whose number is the same at any size
REAL_COUNTS = (500, 2_000)
VOLUMES = 20
ENCODER = "compact"


def storage() -> dict[str, Any]:
    from fewsam.evaluation.scaling.storage import SMALL, measure_cache

    with tempfile.TemporaryDirectory(dir=OUT) as name:
        real = measure_cache(Path(name) / "real", REAL_COUNTS)
        keep("storage", {"real": real})
    with tempfile.TemporaryDirectory(dir=RAM_DISK if RAM_DISK.is_dir() else OUT) as name:
        return {"real": real, "small": measure_cache(Path(name), SMALL_COUNTS, SMALL)}


def workers() -> dict[str, Any]:
    from fewsam.evaluation.scaling.workers import measure_workers

    with tempfile.TemporaryDirectory(dir=OUT) as name:
        return {"volumes": VOLUMES, "rows": measure_workers(Path(name), VOLUMES, ENCODER)}


def deaths() -> dict[str, Any]:
    from fewsam.evaluation.scaling.workers import measure_deaths

    with tempfile.TemporaryDirectory(dir=OUT) as name:
        return {"rows": measure_deaths(Path(name), VOLUMES, ENCODER)}


def writer() -> dict[str, Any]:
    from fewsam.evaluation.scaling.workers import measure_writer

    with tempfile.TemporaryDirectory(dir=OUT) as name:
        return measure_writer(Path(name), VOLUMES, ENCODER)


def keep(part: str, found: dict[str, Any]) -> None:
    load = os.getloadavg()[1]
    about = {"load": round(load, 1), "cores": os.cpu_count(), "when": time.strftime("%Y-%m-%d", time.gmtime())}
    OUT.mkdir(exist_ok=True)
    (OUT / f"{part}.json").write_text(json.dumps({**found, **about}, indent=1) + "\n", encoding="utf-8")


PARTS = {"writer": writer, "workers": workers, "deaths": deaths, "storage": storage}

if __name__ == "__main__":
    OUT.mkdir(exist_ok=True)
    for part in [name for name in sys.argv[1:] or PARTS if name != "page"]:
        keep(part, PARTS[part]())
    from fewsam.evaluation.scaling.report import write_page

    measured = {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in OUT.glob("*.json")}
    write_page(measured, REPOSITORY / "docs/results/scaling.md", REPOSITORY / "docs/images")

"""How time and memory grow, measured on this machine: `make scaling` writes docs/results/scaling.md and its plots.

    python tools/scaling.py workers deaths page     # some of its parts
    python tools/scaling.py --small volumes         # a try with small numbers, whose page is scaling/small/scaling.md

Each part writes its figures into scaling/PART.json at once, so that a run that was stopped goes on with the others.
Every figure stands beside the load that the machine had: other programs make times longer, and efficiencies worse.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
RAM_DISK = Path("/dev/shm")  # without the waits for a disk, whose number is the same at any size
ENCODER = "compact"


@dataclass(frozen=True)
class Sizes:
    """What is measured: generated volumes that workers share, and the numbers against which time is shown."""

    shared: int = 20
    volumes: tuple[int, ...] = (10, 100, 1_000)
    classes: tuple[int, ...] = (1, 4, 16, 64)
    slices: tuple[int, ...] = (5, 50, 200, 1_000)
    real_entries: tuple[int, ...] = (500, 2_000)
    small_entries: tuple[int, ...] = (1_000, 10_000, 100_000)


SMALL = Sizes(4, (5, 10), (1, 4), (5, 12), (210, 300), (300, 1_000))


def storage(sizes: Sizes, folder: Path) -> dict[str, Any]:
    from fewsam.evaluation.scaling.storage import SMALL as SHAPE
    from fewsam.evaluation.scaling.storage import measure_cache

    real = measure_cache(folder / "real", sizes.real_entries)
    with tempfile.TemporaryDirectory(dir=RAM_DISK if RAM_DISK.is_dir() else folder) as name:
        return {"real": real, "small": measure_cache(Path(name), sizes.small_entries, SHAPE)}


def workers(sizes: Sizes, folder: Path) -> dict[str, Any]:
    from fewsam.evaluation.scaling.segmenting import measure_segment
    from fewsam.evaluation.scaling.workers import measure_workers

    encoded = measure_workers(folder / "encode", sizes.shared, ENCODER)
    segmented = measure_segment(folder / "segment", sizes.shared, ENCODER)
    return {"volumes": sizes.shared, "encode": encoded, "segment": segmented}


def deaths(sizes: Sizes, folder: Path) -> dict[str, Any]:
    from fewsam.evaluation.scaling.workers import measure_deaths

    return {"rows": measure_deaths(folder, sizes.shared, ENCODER)}


def writer(sizes: Sizes, folder: Path) -> dict[str, Any]:
    from fewsam.evaluation.scaling.workers import measure_writer

    return measure_writer(folder, sizes.shared, ENCODER)


def volumes(sizes: Sizes, folder: Path) -> dict[str, Any]:
    from fewsam.evaluation.scaling.growth import grow, volumes_in_server

    return {"rows": grow(sizes.volumes, volumes_in_server, folder)}


def classes(sizes: Sizes, folder: Path) -> dict[str, Any]:
    from fewsam.evaluation.scaling.growth import classes_in_task, grow

    return {"rows": grow(sizes.classes, classes_in_task, folder)}


def slices(sizes: Sizes, folder: Path) -> dict[str, Any]:
    from fewsam.evaluation.scaling.growth import grow, slices_in_task

    return {"rows": grow(sizes.slices, slices_in_task, folder)}


PARTS: dict[str, Callable[[Sizes, Path], dict[str, Any]]] = {
    "writer": writer,
    "workers": workers,
    "deaths": deaths,
    "volumes": volumes,
    "classes": classes,
    "slices": slices,
    "storage": storage,
}


def measure(part: str, sizes: Sizes, out: Path) -> None:
    """Measure a part, and keep its figures."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(dir=out) as name:
        found = PARTS[part](sizes, Path(name))
    about = {"load": round(os.getloadavg()[1], 1), "cores": os.cpu_count()}
    about |= {"when": time.strftime("%Y-%m-%d", time.gmtime()), "seconds": round(time.monotonic() - began)}
    (out / f"{part}.json").write_text(json.dumps({**found, **about}, indent=1) + "\n", encoding="utf-8")
    print(f"{part}: {about['seconds']} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; page alone writes the page; all by default")
    parser.add_argument("--small", action="store_true", help="small numbers, for a try that changes no page")
    given = parser.parse_args()
    if unknown := set(given.parts) - {*PARTS, "page"}:
        parser.error(f"there is no part {sorted(unknown)[0]}; there are {', '.join(PARTS)}, page")
    out = REPOSITORY / "scaling" / ("small" if given.small else "")
    out.mkdir(parents=True, exist_ok=True)
    for part in [name for name in given.parts or PARTS if name != "page"]:
        measure(part, SMALL if given.small else Sizes(), out)
    from fewsam.evaluation.scaling.report import write_page

    measured = {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in out.glob("*.json")}
    page = out / "scaling.md" if given.small else REPOSITORY / "docs/results/scaling.md"
    write_page(measured, page, out if given.small else REPOSITORY / "docs/images")


if __name__ == "__main__":
    main()

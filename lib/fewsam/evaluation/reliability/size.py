"""A volume of a thousand slices and a folder of two thousand pictures: do they work, and in how much memory?"""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import requests
from PIL import Image

from fewsam.core.errors import FewSAMError
from fewsam.core.processes import MODEL, ServerProcess
from fewsam.evaluation.reliability.gauges import Gauges
from fewsam.evaluation.reliability.ledger import Ledger
from fewsam.evaluation.reliability.studies import TINY, draw, make_studies

SIDE = 128  # pixels


def long_volume(folder: Path, depth: int = 1000) -> tuple[dict[str, Any], Gauges]:
    """Label three slices of a volume of ``depth`` slices, segment it twice, and ask for the next slice."""
    shutil.rmtree(folder, ignore_errors=True)
    shape = (SIDE, SIDE, depth)
    make_studies(folder / "studies", ["long"], shape)
    site = ServerProcess(folder, folder / "studies", {**TINY, "precompute": "false"})
    gauges, ledger, problems = Gauges(site), Ledger(), list[str]()
    seconds: dict[str, float] = {}
    try:
        site.start()
        with gauges:
            slices = [depth // 10, depth // 2, depth - depth // 10]
            seconds["label"] = _timed(lambda: ledger.submit(site, "long", draw(1, slices, shape), folder, "ann"))
            query = {"image": "long", "output": "image"}
            for name in ("segment, nothing encoded", "segment, all encoded"):
                seconds[name] = _timed(lambda: requests.post(f"{site.url}/infer/{MODEL}", params=query, timeout=7200))
            seconds["next slice"] = _timed(
                lambda: requests.post(f"{site.url}/activelearning/informative", json={"client_id": "x"}, timeout=600)
            )
        problems += ledger.check_collection(site.data) + ledger.check_served(site, folder)
    except (requests.RequestException, FewSAMError) as error:
        problems.append(f"{type(error).__name__}: {error}")
    finally:
        site.stop()
    return {"slices": depth, "side": SIDE, "seconds": seconds, **gauges.summary(), "problems": problems}, gauges


def many_pictures(folder: Path, count: int = 2000) -> tuple[dict[str, Any], Gauges]:
    """Ask for the next of ``count`` pictures, label some, segment one, ask again."""
    shutil.rmtree(folder, ignore_errors=True)
    studies = folder / "studies"
    studies.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(count):
        Image.fromarray(rng.integers(0, 255, (SIDE, SIDE), np.uint8)).save(studies / f"x{number:04d}.png")
    site = ServerProcess(folder, studies, {**TINY, "precompute": "false"})
    gauges, problems = Gauges(site), list[str]()
    seconds: dict[str, float] = {}
    seen: set[str] = set()
    try:
        seconds["start"] = site.start()
        with gauges:
            label = np.zeros((SIDE, SIDE), np.uint8)
            label[20:60, 20:60], label[70:90, 70:90] = 1, 2
            Image.fromarray(label).save(folder / "label.png")
            for turn in range(10):
                began = time.monotonic()
                body = {"client_id": f"person {turn}"}
                offer = requests.post(f"{site.url}/activelearning/informative", json=body, timeout=900)
                offer.raise_for_status()
                image = str(offer.json()["id"])
                seconds["next picture, worst"] = max(
                    seconds.get("next picture, worst", 0), round(time.monotonic() - began, 2)
                )
                if image in seen:
                    problems.append(f"two people were sent to {image}")
                seen.add(image)
                site.put_label(image, folder / "label.png").raise_for_status()
            for image in (sorted(seen)[0], "x0000"):
                answer = requests.post(f"{site.url}/infer/{MODEL}", params={"image": image}, timeout=900)
                answer.raise_for_status()
        if sorted(site.info()["labelled_slices"]) != sorted(seen):
            problems.append(f"{len(site.info()['labelled_slices'])} pictures are labelled of {len(seen)} submitted")
    except (requests.RequestException, FewSAMError, KeyError) as error:
        problems.append(f"{type(error).__name__}: {error}")
    finally:
        site.stop()
    return {"pictures": count, "side": SIDE, "seconds": seconds, **gauges.summary(), "problems": problems}, gauges


def _timed(work: Any) -> float:
    began = time.monotonic()
    answer = work()
    answer.raise_for_status()
    return round(time.monotonic() - began, 2)

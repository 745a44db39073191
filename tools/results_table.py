"""The tables of measured results in README.md and docs/results/README.md, written from small JSON files.

    python tools/results_table.py add FOLDER... -o docs/results/main.json --commit HASH --date DAY --command TEXT
    python tools/results_table.py write

``add`` copies what the tables need from ``cells.jsonl`` and ``configuration.json`` of folders that `fewsam evaluate`
wrote, and then writes the tables. ``write`` replaces the text between the markers ``<!-- results: ... -->`` and
``<!-- end of results -->``. README.md shows the rows of ``main.json`` for five labelled slices; docs/results/README.md
shows every JSON file of docs/results whole. tests/tools/test_results_table.py fails where a page and its file differ.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
RESULTS = REPOSITORY / "docs/results"
MAIN = "main"  # the file that README.md shows
README_K = 5
END = "<!-- end of results -->"
MARKED = re.compile(r"<!-- results: (.+?) -->\n.*?" + re.escape(END), re.DOTALL)

METHODS = {  # in the order of the columns; others follow by name
    "fewsam": "fewsam",
    "fewsam+unlabelled": "fewsam and unlabelled images",
    "fewsam-cold": "fewsam before training",
    "paper": "the paper's method",
    "unet": "U-Net",
    "unet+propagation": "U-Net with registration",
    "nnunet": "nnU-Net",
    "propagation": "registration alone",
    "probe": "linear probe",
    "sam-box[whiten=false]": "SAM, a box on every slice",
    "sam-points-1[whiten=false]": "SAM, a point on every slice",
    "prototypes": "prototypes",
}
SETS = {  # in the order of the rows; others follow by name
    "ts-ct-abdomen": "abdominal CT, one volume, 8 structures",
    "ts-mr-abdomen": "abdominal MR, one volume, 7 structures",
    "ts-ct-dicom": "abdominal CT of another patient, one volume",
    "ts-ct-spine": "spine CT, one volume",
    "tptbox-ct-vertebrae": "vertebrae CT, one volume",
    "tptbox-mr-vertebrae": "vertebrae MR, one volume",
    "sample-ct": "generated CT, one volume, 8 structures",
    "acdc-heart": "heart MR, other patients, 3 structures",
    "msd-hippocampus": "hippocampus MR, other patients, 2 structures",
    "msd-spleen-2d": "spleen on CT slices, other patients",
    "cxr-lungs": "lungs on X-rays, other patients",
}
# On these sets variants were compared while the method was made.
CHOSE_THE_DESIGN = {"ts-ct-abdomen", "ts-mr-abdomen", "sample-ct", "acdc-heart", "msd-hippocampus", "msd-spleen-2d",
                    "cxr-lungs"}  # fmt: skip


# The settings of a training concern these; the others have steps of their own, or none.
BY_STEPS = {"fewsam", "fewsam+unlabelled", "fewsam+half", "paper"}


class ResultsError(Exception):
    """Folders or files that do not fit together; the message names them."""


def collect(folders: Sequence[Path], commit: str, date: str, command: str, machine: str) -> dict[str, Any]:
    """What the tables need of some folders of `fewsam evaluate`.

    Raises:
        ResultsError: a folder is no such folder, two differ in encoder or in the settings of trainings, or two hold the
            same draw.
    """
    found: dict[str, Any] = {"commit": commit, "date": date, "command": command, "machine": machine}
    cells: dict[tuple, dict[str, Any]] = {}
    versions: set[str] = set()
    for folder in folders:
        try:
            configuration = json.loads((folder / "configuration.json").read_text(encoding="utf-8"))
            lines = (folder / "cells.jsonl").read_text(encoding="utf-8").splitlines()
        except OSError as error:
            raise ResultsError(f"{folder} holds no results of `fewsam evaluate`: {error}") from None
        mine = [json.loads(line) for line in lines if line]
        made_with = {"encoder": configuration["encoder_info"]}
        if any(cell["method"].partition("[")[0] in BY_STEPS for cell in mine):
            made_with["settings"] = {key: configuration["settings"][key] for key in ("steps", "train_seconds")}
        for name, value in made_with.items():
            if found.setdefault("made_with", {}).setdefault(name, value) != value:
                raise ResultsError(f"{folder} was measured with other settings or another encoder than those before it")
        for cell in mine:
            key = tuple(cell[name] for name in ("task", "protocol", "choice", "method", "k", "seed"))
            if key in cells:
                raise ResultsError(f"{folder} repeats a draw of another folder: {', '.join(map(str, key))}")
            cells[key] = _short(cell)
            versions.add(cell["code"])
    found["versions_of_the_code"] = len(versions)
    found["cells"] = [cells[key] for key in sorted(cells)]
    return found


def _short(cell: dict[str, Any]) -> dict[str, Any]:
    names = ("task", "protocol", "choice", "method", "k", "seed", "tested_slices", "error")
    by_class = {name: round(value, 4) for name, value in cell["iou"].items()}
    seconds = {name: round(cell[name], 1) for name in ("fit_seconds", "predict_seconds")}
    return {**{name: cell[name] for name in names}, "iou": by_class, **seconds}


def table(results: dict[str, Any], k: int | None = None) -> str:
    """The Markdown table of a file: a row for each set and K, a column for each method.

    Args:
        k: Only the rows of this K, without a column for it.
    """
    cells = [cell for cell in results["cells"] if k is None or cell["k"] == k]
    methods = _ordered({cell["method"] for cell in cells}, METHODS)
    rows = []
    for task in _ordered({cell["task"] for cell in cells}, SETS):
        mine = [cell for cell in cells if cell["task"] == task]
        title = SETS.get(task, task) + ("" if task in CHOSE_THE_DESIGN else " ‡")
        for number, one_k in enumerate(sorted({cell["k"] for cell in mine})):
            row = [cell for cell in mine if cell["k"] == one_k]
            draws = len({cell["seed"] for cell in row})
            values = [_value([cell for cell in row if cell["method"] == method], draws) for method in methods]
            rows.append([title if not number else "", *([] if k is not None else [str(one_k)]), *values])
    head = ["data", *([] if k is not None else ["K"]), *(METHODS.get(name, f"`{name}`") for name in methods)]
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _value(given: Sequence[dict[str, Any]], draws: int) -> str:
    """Mean and standard deviation over draws; those that failed, or that other methods have more of, are counted."""
    means = [statistics.fmean(cell["iou"].values()) for cell in given if cell["iou"] and not cell["error"]]
    failed = f" ({len(given) - len(means)} failed)" if len(means) < len(given) else ""
    if not means:
        return failed.strip() or "-"
    spread = f" ± {statistics.pstdev(means):.3f}" if len(means) > 1 else ""
    fewer = f" ({len(given)} of {draws} draws)" if len(given) < draws else ""
    return f"{statistics.fmean(means):.3f}{spread}{failed}{fewer}"


def caption(results: dict[str, Any], k: int | None = None) -> str:
    """What a reader must know beside the numbers."""
    cells = [cell for cell in results["cells"] if k is None or cell["k"] == k]
    rows = {(c["task"], c["k"], c["method"]) for c in cells}
    draws = _span(len({c["seed"] for c in cells if (c["task"], c["k"], c["method"]) == row}) for row in rows)
    encoder, settings = results["made_with"]["encoder"], results["made_with"].get("settings")
    tasks = {cell["task"] for cell in cells}
    text = [
        f"Mean 3D IoU with {k or 'K'} labelled slices: over the other slices of the volume, or over other patients.",
        f"{_draws(draws)} of the labelled slices for each set; all methods have the same slices.",
        f"Measured on {results['date']} at commit {results['commit']}, on {results['machine']}, with the encoder "
        f"`{encoder['name']}`" + (f" and trainings of {settings['steps']} steps." if settings else "."),
    ]
    if any(cell["method"] == "fewsam+unlabelled" for cell in cells):
        text.append("The unlabelled images are the tested ones, without their labels.")
    if any(cell["method"].startswith("sam-box") for cell in cells):
        text.append("SAM's boxes are those of the truth, round each structure of each tested slice.")
    if results["versions_of_the_code"] > 1:
        text.append(f"The rows come from {results['versions_of_the_code']} versions of the code.")
    if tasks and tasks <= CHOSE_THE_DESIGN:
        text.append("These sets also chose between variants of the method: expect less on new data.")
    elif tasks & CHOSE_THE_DESIGN:
        text.append("The sets marked ‡ judge: no variant was chosen on them.")
        text.append("The others also chose between variants of the method: expect less on new data.")
    elif tasks:
        text.append("No variant of the method was chosen on these sets.")
    if encoder["name"] == "medsam_lite":
        text.append(
            "LiteMedSAM learnt from labelled public scans, and may have seen these or others of the same collections."
        )
    return " ".join(text)


def _span(counts: Iterable[int]) -> tuple[int, int]:
    numbers = list(counts) or [0]
    return min(numbers), max(numbers)


def _draws(span: tuple[int, int]) -> str:
    low, high = span
    if high == 1:
        return "One random draw"
    return f"{'Up to ' if low != high else ''}{high} random draws (mean ± standard deviation; without one: one draw)"


def _ordered(names: Iterable[str], known: dict[str, str]) -> list[str]:
    order = {name: number for number, name in enumerate(known)}
    return sorted(names, key=lambda name: (order.get(name, len(order)), name))


def block(name: str) -> str:
    """The text for a marker: ``main, K = 5`` is the short table of a file, ``main`` the whole one."""
    file, _, chosen = name.partition(", K = ")
    results = json.loads((RESULTS / f"{file}.json").read_text(encoding="utf-8"))
    k = int(chosen) if chosen else None
    text = f"{table(results, k)}\n\n*{caption(results, k)}*"
    return text if chosen else f"{text}\n\nThe command:\n\n```sh\n{results['command']}\n```"


def filled(page: str) -> str:
    """A page with the table of each of its markers."""
    return MARKED.sub(lambda found: f"<!-- results: {found[1]} -->\n{block(found[1])}\n{END}", page)


def pages() -> list[Path]:
    """The pages with tables."""
    return [REPOSITORY / "README.md", RESULTS / "README.md"]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="what", required=True)
    add = commands.add_parser("add", help="copy results into a small JSON file, and write the pages")
    add.add_argument("folders", nargs="+", type=Path, help="folders that `fewsam evaluate` wrote")
    add.add_argument("-o", "--out", type=Path, required=True, help="docs/results/NAME.json")
    add.add_argument("--commit", required=True, help="the commit that was measured")
    add.add_argument("--date", required=True, help="the day, e.g. 2026-11-29")
    add.add_argument("--command", required=True, help="the command that measures it again")
    add.add_argument("--machine", default="two cores")
    commands.add_parser("write", help="write the tables into the pages")
    given = parser.parse_args(arguments)
    try:
        if given.what == "add":
            results = collect(given.folders, given.commit, given.date, given.command, given.machine)
            given.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    except ResultsError as error:
        print(error, file=sys.stderr)
        return 1
    for page in pages():
        page.write_text(filled(page.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

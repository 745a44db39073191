"""What the parts found, as JSON each and one ``report.md`` for people."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from fewsam.core.version import __version__

TITLES = {
    "faults": "Kills at random moments",
    "disk": "A full disk",
    "damage": "Damaged files and a clock that steps back",
    "pacs": "A PACS that goes away",
    "load": "Many annotators at once",
    "long": "A volume of many slices",
    "many": "A folder of many pictures",
}


def write(folder: Path, part: str, asked: Mapping[str, Any], found: Mapping[str, Any], seconds: float) -> None:
    """Keep what a part found, and renew the report of all parts."""
    folder.mkdir(parents=True, exist_ok=True)
    entry = {
        "part": part,
        "fewsam": __version__,
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": {"cores": os.cpu_count(), "system": platform.system(), "python": platform.python_version()},
        "asked": dict(asked),
        "seconds": round(seconds),
        "found": dict(found),
    }
    (folder / f"{part}.json").write_text(json.dumps(entry, indent=1, default=str) + "\n", encoding="utf-8")
    lines = ["# What attacks on the server found", ""]
    for name in TITLES:
        file = folder / f"{name}.json"
        if file.exists():
            lines += _section(name, json.loads(file.read_text(encoding="utf-8")), folder)
    (folder / "report.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _section(name: str, entry: dict[str, Any], folder: Path) -> list[str]:
    found = entry["found"]
    asked = ", ".join(f"{key} {value}" for key, value in entry["asked"].items())
    lines = [f"## {TITLES[name]}", ""]
    lines.append(
        f"{entry['time']}, {entry['machine']['cores']} cores, {entry['seconds']} s; asked for: {asked or '-'}."
    )
    lines += ["", "| | |", "|---|---|"]
    for key, value in found.items():
        if key not in ("each", "problems"):
            shown = ", ".join(f"{k}: {v}" for k, v in value.items()) if isinstance(value, dict) else value
            lines.append(f"| {key.replace('_', ' ')} | {shown} |")
    problems = found["problems"]
    lines += ["", f"**{len(problems)} problems.**" if problems else "No problem was found.", ""]
    lines += [f"- {problem.splitlines()[0][:400]}" for problem in problems]
    if (folder / f"{name}.png").exists():
        lines += ["", f"![memory]({name}.png)"]
    return [*lines, ""]

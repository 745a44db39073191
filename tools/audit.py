"""Are there published vulnerabilities in the pinned packages? pip-audit, and what it says of itself taken seriously.

    python tools/audit.py          # make audit: all pins

pip-audit ends well also where it could look up nothing (a mirror without vulnerability data). Here that is a line of
its own, "skipped", never "no vulnerability", and so is a missing network, a timeout, or no pip-audit. Any other end
without a report fails. Findings that cannot be mended are listed in KNOWN, each with its reason; any other one fails.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
EXTRAS = ("requirements-cluster.txt", "requirements-sam2.txt")
LISTS = ("packaging/runtime.txt", "requirements.txt", "constraints.txt", *EXTRAS)
SECONDS = 600
LAST = 5  # lines that are shown of what pip-audit said
# Of requests, urllib3 and pip-audit itself; what a server refuses (HTTPError) is no missing network.
OUT_OF_REACH = re.compile(
    r"Max retries exceeded|ConnectionError|ConnectTimeout|ReadTimeout|ProxyError|Could not connect|"
    r"[Nn]ame resolution|NameResolutionError|Network is unreachable|Connection (refused|reset|aborted)|timed out"
)

# Vulnerability -> why it stays. None is known; each run names those that have become superfluous.
KNOWN: dict[str, str] = {}


def pins(text: str) -> list[str]:
    """The ``name==version`` lines, without markers: what is not installed here is looked up too."""
    return re.findall(r"^([A-Za-z0-9][\w.-]*==[\w.]+)", text, re.MULTILINE)


def judge(report: dict[str, Any], known: dict[str, str]) -> tuple[int, list[str]]:
    """Exit code and lines to print, of pip-audit's JSON report."""
    packages = report["dependencies"]
    looked_up = [package for package in packages if "skip_reason" not in package]
    if not looked_up:
        reason = packages[0]["skip_reason"] if packages else "nothing to look up"
        return 0, [f"audit skipped: no vulnerability data can be reached from here ({reason})"]
    lines = [f"{len(looked_up)} of {len(packages)} packages looked up"]
    lines += [f"not looked up: {package['name']}" for package in packages if "skip_reason" in package]
    found = {
        vuln["id"]: f"{package['name']} {package['version']}: {vuln['id']}, mended in "
        f"{', '.join(vuln.get('fix_versions') or ['no version yet'])}"
        for package in looked_up
        for vuln in package.get("vulns", [])
    }
    lines += [f"known: {told}; {known[name]}" for name, told in found.items() if name in known]
    lines += [f"not found any more, remove it from KNOWN: {name}" for name in known if name not in found]
    new = [told for name, told in found.items() if name not in known]
    return (1 if new else 0), [*lines, *(f"VULNERABLE: {told}" for told in new)]


def without_report(stderr: str) -> tuple[int, list[str]]:
    """The same where pip-audit wrote none, from what it said: out of reach is skipped, its own failure is not."""
    said = [f"  {line}" for line in stderr.splitlines()[-LAST:]]
    if "No module named pip_audit" in stderr:
        return 0, ["audit skipped: pip-audit is not installed"]
    if OUT_OF_REACH.search(stderr):
        return 0, ["audit skipped: pip-audit reached no vulnerability data:", *said]
    return 1, ["audit failed: pip-audit gave no report:", *said]


def main() -> int:
    """Run pip-audit, which must be installed beside this Python."""
    listed = [pin for name in LISTS for pin in pins((REPOSITORY / name).read_text(encoding="utf-8"))]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "pins.txt"
        file.write_text("\n".join(listed), encoding="utf-8")
        command = [sys.executable, "-m", "pip_audit", "-r", str(file), "--no-deps", "--disable-pip", "-f", "json"]
        try:
            ended = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
        except subprocess.TimeoutExpired:
            print(f"audit skipped: pip-audit did not end within {SECONDS} s")
            return 0
    try:
        report = json.loads(ended.stdout)
        code, lines = judge(report, KNOWN)
    except (ValueError, TypeError, KeyError, AttributeError):  # no JSON, or none of pip-audit's
        code, lines = without_report(ended.stderr)
    print(*lines, sep="\n")
    return code


if __name__ == "__main__":
    sys.exit(main())

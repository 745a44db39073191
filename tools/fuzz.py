"""Attacks every parser by coverage (atheris), and the real server by its own description (schemathesis).

    python tools/fuzz.py --cases 20000                 # all targets, then REST; make fuzz does this
    python tools/fuzz.py --only nrrd,mha --cases 5000
    python tools/fuzz.py --only rest --cases 5000

The targets are those of tests/tools/test_fuzz.py. Each runs in a process of its own, so that a crash of a library is a
finding and not the end; what falls is kept in fuzz/TARGET/ and fed again first the next time. Where atheris is not
installed hypothesis makes the cases, without coverage, and this says so.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import subprocess
import sys
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
MEMORY_MB = 4096  # of a target's process
HANG_SECONDS = 60  # of one case
sys.path[:0] = [str(REPOSITORY / "tests"), str(REPOSITORY / "lib")]


def main() -> int:
    """Run what the command line asks for; 1 where anything fell."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=20_000, help="in all, shared by the targets (REST counts apart)")
    parser.add_argument("--rest-cases", type=int, default=2_000)
    parser.add_argument("--only", default="", help="targets by name, with commas; rest is the server")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "fuzz")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.one:
        return _one(chosen.one, chosen.cases, chosen.out)
    from helpers.fuzz_targets import TARGETS

    wanted = [name for name in chosen.only.split(",") if name] or [*TARGETS, "rest"]
    if unknown := set(wanted) - set(TARGETS) - {"rest"}:
        parser.error(f"no target is called {', '.join(unknown)}; there are {', '.join(TARGETS)}, rest")
    shares = {name: TARGETS[name].cases for name in wanted if name in TARGETS}
    fallen, total = [], 0
    for name, share in shares.items():
        cases = max(10, round(chosen.cases * share / sum(shares.values())))
        done, seconds, whole = _apart(name, cases, chosen.out)
        total += done
        print(
            f"{name:22} {done:7d} cases {seconds:6.0f} s  {'ok' if whole else 'FELL, see ' + str(chosen.out / name)}",
            flush=True,
        )
        fallen += [] if whole else [name]
    if shares:
        print(f"{'parsers':22} {total:7d} cases, {len(fallen)} targets fell")
    if "rest" in wanted:
        from helpers.rest_fuzz import attack_server

        cases, problems = attack_server(chosen.rest_cases, chosen.out / "rest")
        print(f"{'rest':22} {cases:7d} requests, {len(problems)} problems", *problems, sep="\n  ")
        fallen += ["rest"] if problems else []
    return 1 if fallen else 0


def _apart(name: str, cases: int, out: Path) -> tuple[int, float, bool]:
    """One target in a process of its own: cases done, seconds, and whether nothing fell."""
    folder = out / name
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, __file__, "--one", name, "--cases", str(cases), "--out", str(out)]
    started = time.monotonic()
    with (folder / "log.txt").open("w") as log:
        ended = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, cwd=folder, env=_environment())
    text = (folder / "log.txt").read_text(errors="replace")
    counts = [int(n) for n in re.findall(r"(?:^#|Done )(\d+)", text, re.MULTILINE)]
    return max(counts, default=0), time.monotonic() - started, ended.returncode == 0 and "Done " in text


def _environment() -> dict[str, str]:
    path = [str(REPOSITORY / "lib"), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path), "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}


def _one(name: str, cases: int, out: Path) -> int:
    if importlib.util.find_spec("atheris") is None:
        return _by_hypothesis(name, cases)
    import logging

    import atheris

    with atheris.instrument_imports(include=["fewsam", "nrrd", "nibabel.nifti1", "nibabel.nifti2"]):
        from helpers.fuzz_targets import TARGETS
    logging.disable(logging.CRITICAL)
    target, corpus = TARGETS[name], out / name / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.seeds()):
        (corpus / f"seed-{number}").write_bytes(seed)
    longest = max(4096, 2 * max(len(seed) for seed in target.seeds()))
    limits = [f"-rss_limit_mb={MEMORY_MB}", f"-timeout={HANG_SECONDS}", f"-max_len={longest}", f"-runs={cases}"]
    atheris.Setup([sys.argv[0], *limits, "-artifact_prefix=fell-", str(corpus)], target.check)
    atheris.Fuzz()
    return 0


def _by_hypothesis(name: str, cases: int) -> int:
    from hypothesis import HealthCheck, given, settings
    from hypothesis import strategies as st

    from helpers.fuzz_damage import damaged
    from helpers.fuzz_targets import TARGETS

    target = TARGETS[name]
    print("atheris is not installed: cases by hypothesis, without coverage")

    @settings(max_examples=cases, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.one_of(damaged(target.seeds()), st.binary(max_size=4096)))
    def attack(data: bytes) -> None:
        target.check(data)

    attack()
    print(f"Done {cases}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

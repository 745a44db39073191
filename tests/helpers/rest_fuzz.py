"""REST requests of all kinds by schemathesis, from the real server's own description of itself.

A finding is an answer of 500 and above that is not meant (502 to 507 say whose fault it is), a traceback or a foreign
path in an answer, or a server that ends.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.schemas import APIOperation

from fewsam.evaluation.reliability.studies import make_studies
from helpers.server_harness import Server, write_label

CONF = {
    "encoder": "compact",
    "labels": "ball,box", "ensemble": 1, "prototypes": 1, "views": 0, "steps": 2, "train_seconds": 2,
    "precompute": "false", "input_size": 64, "detail_size": 64,
}  # fmt: skip
MEANT = (502, 503, 507)
_SKIPPED = {("DELETE", "/datastore/image")}  # would leave nothing to ask for; tests/server/test_file_access.py has it


@contextmanager
def server(folder: Path) -> Iterator[Server]:
    """A server with two small images, one of them labelled."""
    shutil.rmtree(folder, ignore_errors=True)
    truth = make_studies(folder / "studies", ("a", "b"), shape=(16, 16, 4))
    with Server(folder / "server", folder / "studies", conf=CONF) as started:
        started.put_label("a", write_label(folder / "a.nii.gz", truth["a"], [1, 2])).raise_for_status()
        yield started


def attack_server(cases: int, folder: Path, seconds: float = 3600.0) -> tuple[int, list[str]]:
    """Start a server in ``folder`` and attack it: requests done, and what was wrong."""
    with server(folder) as started:
        return attack(started, cases, seconds)


def operations(url: str) -> list[APIOperation]:
    """schemathesis' operation of each route that the server describes."""
    found = [result.ok() for result in schemathesis.openapi.from_url(f"{url}/openapi.json").get_all_operations()]
    return [operation for operation in found if (operation.method.upper(), operation.path) not in _SKIPPED]


def attack(started: Server, cases: int, seconds: float) -> tuple[int, list[str]]:
    """Requests done, and what was wrong; each route gets its share of ``cases``."""
    described = operations(started.url)
    findings: list[str] = []
    done = 0
    until = time.monotonic() + seconds
    for place, operation in enumerate(described):
        until_here = time.monotonic() + max(0.0, until - time.monotonic()) / (len(described) - place)
        count, wrong = _attack_one(started, operation, max(2, cases // len(described)), until_here)
        done += count
        findings += list(dict.fromkeys(wrong))[:3]
        if started.process is None or started.process.poll() is not None:
            return done, [*findings, f"the server ended at {operation.method} {operation.path}: {started.tail(30)}"]
    if requests.get(f"{started.url}/info/", timeout=60).status_code != 200:
        findings.append("the server does not answer /info/ any more")
    return done, [*findings, *_written_elsewhere(started.folder.parent)]


def _attack_one(started: Server, operation: APIOperation, cases: int, until: float) -> tuple[int, list[str]]:
    wrong: list[str] = []
    done = 0
    modes = [operation.as_strategy(generation_mode=mode) for mode in GenerationMode]

    @settings(max_examples=cases, deadline=None, database=None, derandomize=True,
              suppress_health_check=list(HealthCheck), phases=[Phase.generate])  # fmt: skip
    @given(st.one_of(modes), st.fixed_dictionaries({name: st.sampled_from(values) for name, values in KNOWN.items()}))
    def one(case: Case, known: dict[str, str | None]) -> None:
        nonlocal done
        if time.monotonic() > until:
            return
        done += 1
        for where in (case.query, case.path_parameters):
            for name, value in known.items():
                if value is not None and where and name in where:  # what exists leads deeper than any random text
                    where[name] = value
        told = f"{operation.method.upper()} {operation.path}"
        try:
            response = case.call(timeout=60)
        except requests.Timeout:
            wrong.append(f"{told} did not answer within 60 s")
        except requests.ConnectionError as error:
            wrong.append(f"{told} broke the connection: {str(error)[:200]}")
        except (requests.RequestException, UnicodeError, ValueError):
            return  # nothing that a client can send
        else:
            wrong.extend(_problems(response.status_code, response.content, told, case))

    with suppress(Unsatisfiable):  # a route without parameters has nothing that could be wrong
        one()
    return done, wrong


# Values of parameters that exist or lead elsewhere; None: as generated.
KNOWN: dict[str, list[str | None]] = {
    "image": [None, "a", "a", "b", "../a", "/etc/passwd", "a.nii.gz", ""],
    "label": [None, "a", "../../a"],
    "id": [None, "a", "../a"],
    "model": [None, "segmentation", "segmentation", "points"],
    "strategy": [None, "informative", "random"],
    "tag": [None, "final", "original", "../x"],
    "session_id": [None, "..", "a"],
    "run_sync": [None, "false"],
    "method": [None, "dice"],
}


def _problems(status: int, body: bytes, told: str, case: Case) -> list[str]:
    text = body[:100_000].decode("latin-1")
    sent = f"query {str(case.query)[:200]}, path {str(case.path_parameters)[:100]}, body {str(case.body)[:300]}"
    found = [f"{told} -> {status}: {text[:300]} ({sent})"] if status >= 500 and status not in MEANT else []
    if "/logs" not in told and ("Traceback (most" in text or re.search(r'File "/[^"]+", line [0-9]+', text)):
        found.append(f"{told} -> {status} tells a traceback: {text[:300]} ({sent})")
    return found


def _written_elsewhere(folder: Path) -> list[str]:
    """Files beside the studies and the server's folder."""
    names = {path.name for path in folder.iterdir()} - {"studies", "server", "a.nii.gz"}
    return [f"{name} was written beside the studies" for name in sorted(names)]

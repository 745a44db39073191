"""A short attack on every route that the real server describes; ``make fuzz`` has the long one."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("schemathesis", reason="schemathesis needs Python 3.11")
from helpers.rest_fuzz import attack, operations, server


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_no_request_makes_the_server_fall(tmp_path: Path) -> None:
    with server(tmp_path) as started:
        described = {f"{operation.method.upper()} {operation.path}" for operation in operations(started.url)}
        ours = {
            "POST /infer/{model}",
            "PUT /datastore/label",
            "POST /fewsam/clicks",
            "POST /fewsam/next",
            "PUT /session/",
        }
        assert ours <= described and len(described) > 35
        done, problems = attack(started, cases=300, seconds=40)
        assert not problems, "\n".join(problems)
        assert done > len(described)

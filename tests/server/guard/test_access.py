"""Authentication against a real issuer: what a token opens, and that nothing else opens anything."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from fastapi import Depends, FastAPI
from joserfc.jwk import RSAKey
from monailabel.client import MONAILabelClient
from monailabel.config import settings
from monailabel.endpoints.user.auth import RBAC, User
from starlette.testclient import TestClient

from fewsam.core.errors import ConfigError
from fewsam.evaluation.reliability.studies import make_studies
from fewsam.server.guard import access
from helpers.oidc_issuer import CLIENT, PASSWORD, Issuer
from helpers.server_harness import CLASSES, Server, write_label

LADDER = ("user", "annotator", "reviewer", "admin")
ROLE = {name: f"monailabel-{name}" for name in LADDER}
FORGER = RSAKey.generate_key(2048)

# Tokens that open nothing; each differs from a good one in one thing.
BAD: dict[str, Callable[[Issuer], str]] = {
    "expired": lambda issuer: issuer.sign(issuer.claims("eve", [ROLE["admin"]], exp=1_700_000_000)),
    "without an end": lambda issuer: issuer.sign(issuer.claims("eve", [ROLE["admin"]], exp=None)),
    "not valid yet": lambda issuer: issuer.sign(issuer.claims("eve", [ROLE["admin"]], nbf=4_000_000_000)),
    "signed with another key": lambda issuer: issuer.sign(issuer.claims("eve", [ROLE["admin"]]), key=FORGER),
    "of an unknown key": lambda issuer: issuer.sign(issuer.claims("eve", [ROLE["admin"]]), key=FORGER, kid="forged"),
    "for somebody else": lambda issuer: issuer.sign(issuer.claims("eve", [ROLE["admin"]], aud="another-app")),
    "for nobody": lambda issuer: issuer.sign(issuer.claims("eve", [ROLE["admin"]], aud=None)),
    "of another issuer": lambda issuer: issuer.sign(issuer.claims("eve", [ROLE["admin"]], iss="http://evil.example")),
    "of no issuer": lambda issuer: issuer.sign(issuer.claims("eve", [ROLE["admin"]], iss=None)),
    "alg none": lambda issuer: _unsigned(issuer.sign(issuer.claims("eve", [ROLE["admin"]]))),
    "HS256 with the public key": lambda issuer: issuer.sign_with_public_key(issuer.claims("eve", [ROLE["admin"]])),
    "changed after signing": lambda issuer: _promoted(issuer),
    "no token at all": lambda issuer: "nonsense",
    "an empty one": lambda issuer: "..",
}


def _unsigned(token: str) -> str:
    import base64

    head = base64.urlsafe_b64encode(b'{"alg":"none","typ":"JWT"}').rstrip(b"=").decode()
    return f"{head}.{token.split('.')[1]}."


def _promoted(issuer: Issuer) -> str:
    """The claims of an admin between the header and the signature of a user."""
    low, high = (issuer.sign(issuer.claims("eve", [ROLE[role]])) for role in ("user", "admin"))
    return ".".join((low.split(".")[0], high.split(".")[1], low.split(".")[2]))


# The lowest role that each route asks for. A route that is new needs a line here, or in PUBLIC.
ROUTES = {
    "user": """
        GET /info/, POST /infer/{model}, POST /infer/wsi/{model}, POST /infer/wsi_v2/{model}, GET /batch/infer,
        GET /train/, POST /activelearning/{strategy}, GET /scoring/, GET /datastore/, HEAD /datastore/image,
        GET /datastore/image, GET /datastore/image/info, HEAD /datastore/label, GET /datastore/label,
        GET /datastore/label/info, GET /session/{session_id}, PUT /session/, DELETE /session/{session_id},
        GET /fewsam/state, GET /fewsam/labelmap, POST /fewsam/segment, POST /fewsam/next, GET /fewsam/history,
        GET /fewsam/shot, GET /fewsam/result, GET /fewsam/volumes, GET /fewsam/volumes.csv,
        GET /fewsam/worklist, GET /fewsam/worklist/history, GET /fewsam/readings, GET /fewsam/reading,
        GET /proxy/dicom/{path:path}, GET /proxy/dicom/wado/{path:path}, GET /proxy/dicom/qido/{path:path},
        GET /proxy/dicom/stow/{path:path}, GET /auth/token/valid, GET /ohif/app-config.js, GET /ohif/{path:path}
    """,
    "annotator": """
        PUT /datastore/label, PUT /fewsam/label, POST /fewsam/clicks, POST /fewsam/structures,
        POST /fewsam/structures/rename,
        POST /fewsam/structures/delete, POST /fewsam/unlabel, POST /fewsam/worklist/mark, POST /fewsam/prompts,
        POST /proxy/dicom/{path:path}, POST /proxy/dicom/wado/{path:path},
        POST /proxy/dicom/qido/{path:path}, POST /proxy/dicom/stow/{path:path}, POST /scoring/, POST /scoring/{method},
        DELETE /scoring/, PUT /datastore/image, PUT /datastore/, PUT /datastore/image/info, PUT /datastore/label/info,
        PUT /datastore/updatelabelinfo, GET /datastore/dataset
    """,
    "reviewer": "POST /fewsam/worklist/review, POST /fewsam/reading/adopt",
    "admin": """
        GET /model/{model}, GET /model/info/{model}, PUT /model/{model}, DELETE /model/{model}, POST /train/,
        POST /train/{model}, DELETE /train/, POST /batch/infer/{model}, DELETE /batch/infer, POST /reload,
        DELETE /datastore/image, DELETE /datastore/, DELETE /datastore/label, GET /logs/, GET /logs/gpu
    """,
}
# Programs, and the way to a token: nothing of a patient or of a label.
PUBLIC = """
    GET /, GET /favicon.ico, GET /openapi.json, HEAD /openapi.json, GET /docs, HEAD /docs, * /static, * /ohif/assets,
    GET /ohif/, GET /auth/, POST /auth/token
"""
NEEDS = {tuple(one.split()): role for role, text in ROUTES.items() for one in text.split(",") if one.strip()}


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    users = {"nora": [], **{name: [ROLE[name]] for name in LADDER}}
    with Issuer(users) as running:
        yield running


@pytest.fixture
def checked(issuer: Issuer) -> access.Issuer:
    return access.Issuer(issuer.url, [CLIENT])


# -- tokens


def test_a_good_token_says_who_it_is_and_what_they_may(issuer: Issuer, checked: access.Issuer) -> None:
    given = issuer.sign(issuer.claims("nora", [ROLE["annotator"], "offline_access"], email="n@example.org", name="N."))
    user = access.user_of(checked.claims(given))
    assert (user.username, user.email, user.name) == ("nora", "n@example.org", "N.")
    assert set(user.roles) == {ROLE["annotator"], ROLE["user"]}
    both = issuer.sign(issuer.claims("nora", aud=["account", CLIENT]))
    assert checked.claims(both)["preferred_username"] == "nora"


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_token_is_refused(kind: str, issuer: Issuer, checked: access.Issuer) -> None:
    import jwt

    with pytest.raises(jwt.PyJWTError):
        checked.claims(BAD[kind](issuer))


def test_forged_tokens_do_not_have_the_keys_fetched_again_and_again(issuer: Issuer, checked: access.Issuer) -> None:
    import jwt

    before = issuer.asked_for_keys
    for n in range(20):
        with pytest.raises(jwt.PyJWTError):
            checked.claims(issuer.sign(issuer.claims("eve"), key=FORGER, kid=f"forged-{n}"))
    assert issuer.asked_for_keys <= before + 1


@pytest.mark.parametrize(
    "roles", [None, "monailabel-admin", {"monailabel-admin": True}, [["monailabel-admin"]], 3, ["monailabel-adminx"]]
)
def test_roles_of_another_shape_are_no_roles(roles: Any) -> None:
    assert access.user_of({"sub": "x", "realm_access": {"roles": roles}}).roles == []
    assert access.user_of({"sub": "x", "realm_access": roles}).roles == []


def test_the_issuer_must_be_the_one_that_was_named(issuer: Issuer) -> None:
    import jwt

    token = issuer.sign(issuer.claims("nora"))
    with pytest.raises(access.IssuerError, match="is of the issuer"):
        access.Issuer(issuer.url.replace("/test", "/other"), [CLIENT]).claims(token)
    with pytest.raises(access.IssuerError, match="does not answer"):
        access.Issuer("http://127.0.0.1:9/realms/test", [CLIENT]).claims(token)
    for realm, audience in (("file:///etc/passwd", [CLIENT]), (issuer.url, [])):
        with pytest.raises(ConfigError):
            access.Issuer(realm, audience)
    with pytest.raises(jwt.PyJWTError):  # refused before anybody is asked
        access.Issuer("http://127.0.0.1:9/realms/test", [CLIENT]).claims(BAD["alg none"](issuer))


def test_no_answer_from_the_issuer_is_its_fault_and_lets_nobody_in(
    issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "MONAI_LABEL_AUTH_ENABLE", True)
    monkeypatch.setattr(settings, "MONAI_LABEL_AUTH_REALM_URI", "http://127.0.0.1:9/realms/test")
    app = FastAPI()
    app.include_router(access.install(app))

    @app.get("/secret")
    def secret(user: User = Depends(RBAC("monailabel-user"))) -> str:  # noqa: B008
        return user.username

    web = TestClient(app)
    token = issuer.sign(issuer.claims("nora", [ROLE["admin"]]))
    assert web.get("/secret", headers={"Authorization": f"Bearer {token}"}).status_code == 503
    assert web.post("/auth/token", data={"username": "nora", "password": PASSWORD}).status_code == 503


# -- every route


def test_every_route_has_a_role_or_is_listed_as_public() -> None:
    from monailabel.app import app as stock
    from monailabel.endpoints import login

    from fewsam.server.routes import datastore_routes, hardened, ohif, proxy, routes

    def flat(found: Any) -> Iterator[tuple[str, str]]:
        for route in found:
            if hasattr(route, "original_router"):
                yield from flat(route.original_router.routes)
            else:
                yield from ((method, route.path) for method in getattr(route, "methods", None) or ("*",))

    ours = FastAPI(openapi_url=None)  # no pages of its own
    ohif.install(ours)
    parts = (
        stock,
        login.router,
        ours,
        access.install(FastAPI()),
        hardened.router,
        datastore_routes.router,
        *(part.router for part in routes.PANEL),
        proxy.router,
        routes.router,
    )
    there = {one for part in parts for one in flat(part.routes)}
    public = {tuple(one.split()) for one in PUBLIC.split(",")}
    assert there == set(NEEDS) | public


@pytest.fixture(scope="module")
def server(issuer: Issuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("access")
    make_studies(folder / "studies", images=("a",), shape=(24, 20, 6))
    environment = {"MONAI_LABEL_AUTH_ENABLE": "true", "MONAI_LABEL_AUTH_REALM_URI": issuer.url}
    conf = {"labels": ",".join(CLASSES), "precompute": "false"}
    running = Server(folder, folder / "studies", conf, environment)
    try:
        running.start()
        yield running
    finally:
        running.stop()


def ask(server: Server, method: str, path: str, token: str | None) -> requests.Response:
    """A request that does nothing where it is let in: it names what does not exist, or lacks its body."""
    for name in ("{model}", "{strategy}", "{method}", "{session_id}", "{path:path}"):
        path = path.replace(name, "nosuch")
    query = {"image": "nosuch", "label": "nosuch", "id": "nosuch", "tag": "final", "limit_cases": 0}
    headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
    return requests.request(method, server.url + path, params=query, headers=headers, timeout=120)


@pytest.mark.timeout(900)
def test_nobody_gets_in_without_a_token(server: Server) -> None:
    for method, path in NEEDS:
        answer = ask(server, method, path, None)
        assert answer.status_code == 401, (method, path, answer.status_code)
        assert "bearer" in answer.headers["www-authenticate"].casefold()
    for path in ("/", "/openapi.json", "/auth/", "/ohif/"):
        assert requests.get(server.url + path, timeout=60).status_code == 200, path


@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", BAD)
def test_a_bad_token_opens_no_kind_of_route(kind: str, server: Server, issuer: Issuer) -> None:
    routes = [("GET", "/info/"), ("GET", "/fewsam/state"), ("POST", "/infer/{model}"), ("PUT", "/datastore/label"),
              ("GET", "/proxy/dicom/{path:path}"), ("POST", "/reload"), ("GET", "/auth/token/valid")]  # fmt: skip
    for method, path in routes:
        answer = ask(server, method, path, BAD[kind](issuer))
        assert answer.status_code == 401, (method, path, answer.text)
        assert "Traceback" not in answer.text


@pytest.mark.timeout(1200)
def test_each_role_opens_what_it_should_and_no_more(server: Server, issuer: Issuer) -> None:
    wrong = []
    for role in (None, *LADDER):
        token = issuer.sign(issuer.claims(role or "nora", [ROLE[role]] if role else []))
        for (method, path), needed in NEEDS.items():
            if (method, path) in (("POST", "/train/"), ("GET", "/auth/token/valid")):
                continue  # would train; needs a token and no role
            status = ask(server, method, path, token).status_code
            allowed = role is not None and LADDER.index(role) >= LADDER.index(needed)
            if (status == 403) == allowed or status == 401:
                wrong.append((role, method, path, status))
    assert not wrong


@pytest.mark.timeout(900)
def test_a_client_logs_in_with_a_password_and_signs_its_labels(server: Server, tmp_path: Path) -> None:
    client = MONAILabelClient(server.url, tmpdir=str(tmp_path), client_id="somebody-else")
    assert client.auth_enabled()
    answer = requests.post(f"{server.url}/auth/token", data={"username": "annotator", "password": "wrong"}, timeout=60)
    assert answer.status_code == 401
    client.update_auth(client.auth_token("annotator", PASSWORD))
    assert "segmentation" in client.info()["models"]
    truth = make_studies(tmp_path / "studies", images=("a",), shape=(24, 20, 6))["a"]
    label = write_label(tmp_path / "label.nii.gz", truth, [3], like=server.studies / "a.nii.gz")  # type: ignore[operator]
    client.save_label("a", str(label), params={"label_info": [{"name": "ball", "idx": 1}, {"name": "box", "idx": 2}],
                                               "annotator": "somebody-else"})  # fmt: skip
    with sqlite3.connect(server.data / "collection.sqlite") as db:
        assert db.execute("SELECT annotator FROM submissions").fetchall() == [("annotator",)]
    log = server.log.read_text()
    assert PASSWORD not in log
    assert "eyJ" not in log  # no token either

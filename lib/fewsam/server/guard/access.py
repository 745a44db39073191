"""Who may do what: tokens of an OpenID Connect issuer, on MONAI Label's routes and on ours.

MONAI Label checks a role on each of its routes and asks ``get_current_user`` who is there. In 0.8.5 that function names
no algorithm to PyJWT, which current PyJWT refuses, so that nobody gets in; and it checks neither audience nor issuer.
Here it is replaced, for all routes at once, by FastAPI's own way of replacing a dependency. The role checks stay.

Settings are MONAI Label's (``MONAI_LABEL_AUTH_ENABLE``, ``..._REALM_URI``, ``..._CLIENT_ID``, ``..._TOKEN_*``,
``..._ROLE_*``) and ``FEWSAM_AUTH_AUDIENCE``: who the token must be for, several with commas between; without it the
client id.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Mapping
from typing import Annotated, Any

import jwt
import requests
from fastapi import APIRouter, Depends, FastAPI, HTTPException, status
from fastapi.security import OAuth2PasswordRequestForm
from monailabel.config import settings
from monailabel.endpoints.user import auth
from monailabel.endpoints.user.auth import RBAC, Token, User
from starlette.middleware import Middleware

from fewsam.core.errors import ConfigError
from fewsam.server.errors import RequestError
from fewsam.server.guard.early_refusal import EarlyRefusal

logger = logging.getLogger(__name__)

# The key is public, so that HS* must not be among them, nor "none".
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
LEEWAY = 10  # seconds that the issuer's clock may differ
AUDIENCE = "FEWSAM_AUTH_AUDIENCE"

_admin = Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_ADMIN))


class IssuerError(Exception):
    """The issuer does not answer, or not as an issuer does; who asks is not at fault."""


class Issuer:
    """One OpenID Connect issuer, known by its discovery document and its published keys.

    Args:
        realm: Its address, to which ``/.well-known/openid-configuration`` is added.
        audience: Who a token must be for: one of these.
        timeout: Seconds to wait for it.
    """

    def __init__(self, realm: str, audience: list[str], timeout: float = 10.0) -> None:
        if not realm.startswith(("http://", "https://")):
            raise ConfigError(f"MONAI_LABEL_AUTH_REALM_URI is {realm!r}; give the issuer's address, https://...")
        if not audience:
            raise ConfigError(f"nobody is named that tokens must be for: set MONAI_LABEL_AUTH_CLIENT_ID or {AUDIENCE}")
        self.realm = realm.rstrip("/")
        self.audience = audience
        self.timeout = timeout
        self._lock = threading.Lock()
        self._document: dict[str, Any] | None = None
        self._keys: jwt.PyJWKClient | None = None

    def document(self) -> dict[str, Any]:
        """The discovery document, which is asked for once.

        Raises:
            IssuerError: no answer, or another issuer's.
        """
        with self._lock:
            if self._document is None:
                self._document = self._discover()
            return self._document

    def claims(self, token: str) -> dict[str, Any]:
        """What a token says, once its signature, issuer, audience and dates are checked.

        Raises:
            jwt.PyJWTError: the token is not valid here.
            IssuerError: the issuer's keys cannot be had.
        """
        # This is checked before any key is asked for, so that a forged token costs the issuer nothing.
        algorithm = jwt.get_unverified_header(token).get("alg")
        if algorithm not in ALGORITHMS:
            raise jwt.InvalidAlgorithmError(f"algorithm {str(algorithm)[:20]!r} is not accepted")
        issuer = self.document()["issuer"]
        try:
            key = self._key_client().get_signing_key_from_jwt(token)
        except (jwt.PyJWKClientConnectionError, jwt.PyJWKSetError, jwt.PyJWKError) as error:
            raise IssuerError(f"the keys of {self.realm} cannot be had ({error})") from error
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=list(ALGORITHMS),
            audience=self.audience,
            issuer=issuer,
            leeway=LEEWAY,
            options={"require": ["exp", "iss", "aud"]},
        )
        return claims

    def token(self, username: str, password: str) -> dict[str, Any]:
        """A token for a user name and a password, as 3D Slicer's module asks for it.

        Raises:
            PermissionError: the issuer refuses.
            IssuerError: it does not answer.
        """
        address = self.document().get("token_endpoint")
        if not address:
            raise IssuerError(f"{self.realm} names no token endpoint")
        form = {"grant_type": "password", "client_id": settings.MONAI_LABEL_AUTH_CLIENT_ID,
                "username": username, "password": password}  # fmt: skip
        try:
            answer = requests.post(address, data=form, timeout=self.timeout, allow_redirects=False)
            if 400 <= answer.status_code < 500:
                raise PermissionError(f"the issuer answered {answer.status_code}")
            answer.raise_for_status()
            return dict(answer.json())
        except (requests.RequestException, ValueError, TypeError) as error:
            raise IssuerError(f"{self.realm} does not answer as it should ({type(error).__name__})") from error

    def _discover(self) -> dict[str, Any]:
        address = f"{self.realm}/.well-known/openid-configuration"
        try:
            answer = requests.get(address, timeout=self.timeout, allow_redirects=False)
            answer.raise_for_status()
            found = answer.json()
        except (requests.RequestException, ValueError) as error:
            raise IssuerError(f"{address} does not answer as it should ({type(error).__name__})") from error
        if not isinstance(found, dict) or not isinstance(found.get("jwks_uri"), str):
            raise IssuerError(f"{address} names no jwks_uri")
        if str(found.get("issuer")).rstrip("/") != self.realm:  # OpenID Connect Discovery 1.0, section 4.3
            raise IssuerError(f"{address} is of the issuer {found.get('issuer')!r}; set MONAI_LABEL_AUTH_REALM_URI so")
        return found

    def _key_client(self) -> jwt.PyJWKClient:
        address = self.document()["jwks_uri"]
        with self._lock:
            if self._keys is None:
                self._keys = jwt.PyJWKClient(address, timeout=self.timeout)
            return self._keys


def user_of(claims: Mapping[str, Any]) -> User:
    """The user that claims describe. A role contains those below it: admin, reviewer, annotator, user."""
    name = claims.get(settings.MONAI_LABEL_AUTH_TOKEN_USERNAME) or claims.get("sub") or ""
    email, shown = (
        value if isinstance(value := claims.get(claim), str) else None
        for claim in (settings.MONAI_LABEL_AUTH_TOKEN_EMAIL, settings.MONAI_LABEL_AUTH_TOKEN_NAME)
    )
    return User(username=str(name), email=email, name=shown, roles=_roles(claims))


def _roles(claims: Mapping[str, Any]) -> list[str]:
    found: Any = claims
    for step in settings.MONAI_LABEL_AUTH_TOKEN_ROLES.split("#"):
        found = found.get(step) if isinstance(found, Mapping) else None
    given = {role for role in found if isinstance(role, str)} if isinstance(found, list) else set()
    ladder = (
        settings.MONAI_LABEL_AUTH_ROLE_ADMIN,
        settings.MONAI_LABEL_AUTH_ROLE_REVIEWER,
        settings.MONAI_LABEL_AUTH_ROLE_ANNOTATOR,
        settings.MONAI_LABEL_AUTH_ROLE_USER,
    )
    highest = next((place for place, role in enumerate(ladder) if role in given), len(ladder))
    return list(ladder[highest:])


def install(app: FastAPI) -> APIRouter:
    """Have this module check tokens where authentication is on; returns routes to be put before MONAI Label's.

    Raises:
        ConfigError: the settings name no issuer, or no audience.
    """
    router = APIRouter()

    @router.put("/model/{model}")
    @router.delete("/model/{model}")
    def no_foreign_model(model: str, user: User = _admin) -> None:
        # MONAI Label lets an annotator replace the model by a file, which it would load.
        raise RequestError(f"the model {model!r} comes from training alone; `fewsam import` takes in a task file")

    if not settings.MONAI_LABEL_AUTH_ENABLE:
        return router
    audience = os.environ.get(AUDIENCE) or settings.MONAI_LABEL_AUTH_CLIENT_ID
    issuer = Issuer(
        settings.MONAI_LABEL_AUTH_REALM_URI,
        [part.strip() for part in audience.split(",") if part.strip()],
        settings.MONAI_LABEL_AUTH_TIMEOUT,
    )
    logger.info("authentication is on: tokens of %s for %s", issuer.realm, " or ".join(issuer.audience))

    def current_user(token: Annotated[str, Depends(auth.oauth2_scheme)]) -> User:
        try:
            return user_of(issuer.claims(token))
        except IssuerError as error:
            logger.error("nobody can be let in: %s", error)
            raise HTTPException(status.HTTP_503_SERVICE_UNAVAILABLE, "the issuer of tokens does not answer") from None
        except jwt.PyJWTError as error:
            logger.warning("a token was refused: %s", type(error).__name__)
            expired = isinstance(error, jwt.ExpiredSignatureError)
            raise HTTPException(
                status.HTTP_401_UNAUTHORIZED,
                "the token has expired: log in again" if expired else "the token is not valid here",
                headers={"WWW-Authenticate": 'Bearer error="invalid_token"'},
            ) from None

    @router.post("/auth/token", response_model=Token)
    def log_in(form: Annotated[OAuth2PasswordRequestForm, Depends()]) -> Any:
        try:
            return issuer.token(form.username, form.password)
        except PermissionError:
            raise HTTPException(status.HTTP_401_UNAUTHORIZED, "user name or password are not accepted") from None
        except IssuerError as error:
            logger.error("nobody can be let in: %s", error)
            raise HTTPException(status.HTTP_503_SERVICE_UNAVAILABLE, "the issuer of tokens does not answer") from None

    app.dependency_overrides[auth.get_current_user] = current_user
    public = (f"{settings.MONAI_LABEL_API_STR}/auth/token",)
    app.user_middleware.append(Middleware(EarlyRefusal, check=current_user, public=public))
    return router

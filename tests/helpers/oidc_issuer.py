"""A small OpenID Connect issuer on 127.0.0.1: authlib's authorization server with discovery, keys and access tokens.

Tokens of the password grant are JWTs as RFC 9068 has them, with roles where Keycloak puts them. :meth:`Issuer.sign`
makes the tokens that an issuer would not give.
"""

from __future__ import annotations

import base64
import hmac
import json
import os
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2.rfc6749 import ClientMixin, grants
from authlib.oauth2.rfc9068 import JWTBearerTokenGenerator
from flask import Flask, jsonify
from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey
from werkzeug.serving import make_server

CLIENT = "monailabel-app"
PASSWORD = "correct horse"


class Issuer:
    """An issuer in a thread of this process.

    Args:
        users: Name -> roles; the password of each is :data:`PASSWORD`.
    """

    def __init__(self, users: Mapping[str, Sequence[str]]) -> None:
        os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"  # http, on this machine
        self.users = dict(users)
        self.key = RSAKey.generate_key(2048, {"use": "sig", "alg": "RS256"}, auto_kid=True)
        self.asked_for_keys = 0
        app = Flask("issuer")
        self._server = make_server("127.0.0.1", 0, app, threaded=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}/realms/test"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._build(app)

    def __enter__(self) -> Issuer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def claims(self, name: str = "somebody", roles: Sequence[str] = (), /, **changes: Any) -> dict[str, Any]:
        """Claims of a good token; those changed to None are left out."""
        now = int(time.time())
        good = {
            "iss": self.url,
            "aud": CLIENT,
            "sub": f"id-of-{name}",
            "iat": now,
            "exp": now + 600,
            "preferred_username": name,
            "realm_access": {"roles": list(roles)},
        }
        return {key: value for key, value in {**good, **changes}.items() if value is not None}

    def sign(self, claims: Mapping[str, Any], key: Any = None, alg: str = "RS256", kid: str | None = None) -> str:
        """A token of these claims, by custom in order."""
        header = {"alg": alg, "kid": kid or self.key.kid}
        return jwt.encode(header, dict(claims), key or self.key, algorithms=[alg])

    def sign_with_public_key(self, claims: Mapping[str, Any]) -> str:
        """HS256 with the published key's PEM as the secret, which a confused verifier would take. No library helps."""
        head = {"alg": "HS256", "typ": "JWT", "kid": self.key.kid}
        text = ".".join(_base64(json.dumps(part).encode()) for part in (head, dict(claims)))
        return f"{text}.{_base64(hmac.digest(self.key.as_pem(private=False), text.encode(), 'sha256'))}"

    def _build(self, app: Flask) -> None:
        issuer = self

        class Client(ClientMixin):
            def get_client_id(self) -> str:
                return CLIENT

            def get_allowed_scope(self, scope: str | None) -> str:
                return scope or ""

            def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
                return method == "none"

            def check_grant_type(self, grant_type: str) -> bool:
                return grant_type == "password"

        class User:
            def __init__(self, name: str) -> None:
                self.name = name

            def get_user_id(self) -> str:
                return f"id-of-{self.name}"

        class Password(grants.ResourceOwnerPasswordCredentialsGrant):
            TOKEN_ENDPOINT_AUTH_METHODS = ("none",)

            def authenticate_user(self, username: str, password: str) -> User | None:
                return User(username) if username in issuer.users and password == PASSWORD else None

        class Tokens(JWTBearerTokenGenerator):
            def get_jwks(self) -> Any:
                return KeySet([issuer.key])

            def get_extra_claims(self, client: Client, grant_type: str, user: User, scope: str) -> dict[str, Any]:
                return {"preferred_username": user.name, "realm_access": {"roles": list(issuer.users[user.name])}}

        server = AuthorizationServer(
            app, query_client=lambda name: Client() if name == CLIENT else None, save_token=lambda token, request: None
        )
        server.register_grant(Password)
        server.register_token_generator("default", Tokens(issuer=self.url))

        @app.get("/realms/test/.well-known/openid-configuration")
        def discovery() -> Any:
            return jsonify(issuer=issuer.url, jwks_uri=f"{issuer.url}/certs", token_endpoint=f"{issuer.url}/token")

        @app.get("/realms/other/.well-known/openid-configuration")
        def another() -> Any:
            return discovery()

        @app.get("/realms/test/certs")
        def keys() -> Any:
            issuer.asked_for_keys += 1
            return jsonify(keys=[issuer.key.as_dict(private=False)])

        @app.post("/realms/test/token")
        def token() -> Any:
            return server.create_token_response()


def _base64(body: bytes) -> str:
    return base64.urlsafe_b64encode(body).rstrip(b"=").decode()

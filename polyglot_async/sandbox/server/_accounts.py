"""API keys and session tokens: who is calling (contract: "Every call carries `Authorization: Bearer`")."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._storage import Database

Kind = Literal["key", "token"]
KEY_LIFETIME = 30 * 86400.0
"""Seconds that a key lasts (contract: "lasts 30 days")."""
_COLUMNS = "key_id, secret_key, webhook_secret, user, expires_at, webhook_url"


class CredentialError(Exception):
    """The credential is refused; the text is the answer's `detail`."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An `sk_` key of a user: good for `transcriptions/*` only, until `expires_at` (Unix seconds)."""

    key_id: str
    secret_key: str = field(repr=False)
    webhook_secret: str = field(repr=False)
    user: str
    expires_at: float
    webhook_url: str | None


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request, by which kind of credential; `key_id` is None for a session token."""

    user: str
    kind: Kind
    key_id: str | None = None


class Accounts:
    """Makes credentials and recognises them; any thread may call it."""

    def __init__(self, database: Database, now: Callable[[], float] = time.time) -> None:
        self._database, self._now = database, now
        self._signing_key = self._setting("signing_key", secrets.token_hex(32)).encode()

    def create_key(
        self, *, user: str = "demo", expires_in: float = KEY_LIFETIME, webhook_url: str | None = None
    ) -> ApiKey:
        """Make a key for `user` that expires `expires_in` seconds from now (negative: already expired)."""
        key = ApiKey(
            key_id=secrets.token_hex(8),
            secret_key=f"sk_{secrets.token_hex(24)}",
            webhook_secret=f"whsec_{secrets.token_hex(24)}",
            user=user,
            expires_at=self._now() + expires_in,
            webhook_url=webhook_url,
        )
        self._database.run(
            f"INSERT INTO keys ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)",  # noqa: S608  (the columns are ours)
            (key.key_id, key.secret_key, key.webhook_secret, key.user, key.expires_at, key.webhook_url),
        )
        return key

    def default_key(self) -> ApiKey:
        """Return the ready key of the default user: the same one for as long as the folder lives and the key lasts."""
        key = self._find("key_id", self._setting("default_key", ""))
        if key is None or key.expires_at <= self._now():
            key = self.create_key()
            self._database.run("UPDATE settings SET value = ? WHERE name = 'default_key'", (key.key_id,))
        return key

    def key(self, key_id: str) -> ApiKey | None:
        """Return the key of this id, expired or not; None if there is none."""
        return self._find("key_id", key_id)

    def set_webhook(self, url: str | None, secret_key: str) -> None:
        """Set or remove the webhook URL of a key; LookupError for an unknown key."""
        if self._find("secret_key", secret_key) is None:
            raise LookupError("no such key")
        self._database.run("UPDATE keys SET webhook_url = ? WHERE secret_key = ?", (url, secret_key))

    def session_token(self, *, user: str = "demo", expires_in: float = 3600) -> str:
        """Return a signed site session token (a JWT, HS256) of `user`."""
        now = self._now()
        head = _encode({"alg": "HS256", "typ": "JWT"})
        body = _encode({"sub": user, "iat": int(now), "exp": now + expires_in})
        return f"{head}.{body}.{self._sign(f'{head}.{body}')}"

    def authenticate(self, authorization: str | None) -> Caller:
        """Return the caller behind an Authorization header; CredentialError if it is missing, wrong or expired."""
        scheme, _, credential = (authorization or "").partition(" ")
        credential = credential.strip()
        if scheme.lower() != "bearer" or not credential:
            raise CredentialError("Invalid token.")
        return self._by_key(credential) if credential.startswith("sk_") else self._by_token(credential)

    def _by_key(self, secret_key: str) -> Caller:
        key = self._find("secret_key", secret_key)
        if key is None:
            raise CredentialError("Invalid token.")
        if key.expires_at <= self._now():
            raise CredentialError("Token expired.")
        return Caller(key.user, "key", key.key_id)

    def _by_token(self, token: str) -> Caller:
        signed, _, signature = token.rpartition(".")
        if not hmac.compare_digest(self._sign(signed).encode(), signature.encode("utf-8", "replace")):
            raise CredentialError("Invalid token.")
        claims = json.loads(_decode(signed.partition(".")[2]))
        if claims["exp"] <= self._now():
            raise CredentialError("Token expired.")
        return Caller(claims["sub"], "token")

    def _sign(self, signed: str) -> str:
        digest = hmac.new(self._signing_key, signed.encode("utf-8", "replace"), hashlib.sha256).digest()
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()

    def _setting(self, name: str, default: str) -> str:
        self._database.run("INSERT OR IGNORE INTO settings VALUES (?, ?)", (name, default))
        return str(self._database.run("SELECT value FROM settings WHERE name = ?", (name,))[0][0])

    def _find(self, column: Literal["key_id", "secret_key"], value: str) -> ApiKey | None:
        rows = self._database.run(f"SELECT {_COLUMNS} FROM keys WHERE {column} = ?", (value,))  # noqa: S608
        return ApiKey(*rows[0]) if rows else None


def _encode(claims: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()


def _decode(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))

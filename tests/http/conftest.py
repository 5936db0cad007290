"""Raw servers for the tests of the HTTP client."""

from raw_server import certificate, scheme, serve

__all__ = ["certificate", "scheme", "serve"]

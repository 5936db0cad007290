"""What is uploaded: sources, file reader, form body.

The names below are for the calls, and are loaded with the first call that sends a body.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazy_names

if TYPE_CHECKING:
    from .form_body import FormBody, JsonBody
    from .sources import media_from

__all__ = ["FormBody", "JsonBody", "media_from"]

if not TYPE_CHECKING:
    __getattr__ = lazy_names(__name__, {"FormBody": "form_body", "JsonBody": "form_body", "media_from": "sources"})

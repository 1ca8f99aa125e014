"""`tf.compat`: text and bytes.

State: none.
"""

from __future__ import annotations

from typing import Any

from graphflow.errors import DTypeError


def as_bytes(bytes_or_text: Any, encoding: str = "utf-8") -> bytes:
    """Text encoded; bytes as they are."""
    if isinstance(bytes_or_text, str):
        return bytes_or_text.encode(encoding)
    if isinstance(bytes_or_text, bytes):
        return bytes_or_text
    raise DTypeError("expected text or bytes", got=repr(bytes_or_text)[:80])


def as_text(bytes_or_text: Any, encoding: str = "utf-8") -> str:
    """Bytes decoded; text as it is."""
    if isinstance(bytes_or_text, bytes):
        return bytes_or_text.decode(encoding)
    if isinstance(bytes_or_text, str):
        return bytes_or_text
    raise DTypeError("expected text or bytes", got=repr(bytes_or_text)[:80])


as_str = as_text


def as_str_any(value: Any) -> str:
    """Bytes decoded; everything else as `str` has it."""
    return as_text(value) if isinstance(value, bytes) else str(value)

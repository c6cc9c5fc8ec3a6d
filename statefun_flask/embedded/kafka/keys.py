"""Record keys as ids: UTF-8, read as the real engine reads it."""

from __future__ import annotations

import re

# A surrogate, also half of its bytes, is one wrong character to Java, and several to Python.
_SURROGATE = re.compile(rb"\xed[\xa0-\xbf][\x80-\xbf]?")
_WRONG = "\ufffd".encode()


def text(key: bytes) -> str:
    """Return a key as text; what is no UTF-8 becomes U+FFFD, as in Java's ``String``."""
    try:
        return key.decode()
    except UnicodeDecodeError:
        return _SURROGATE.sub(_WRONG, key).decode(errors="replace")

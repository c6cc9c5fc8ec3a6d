"""Record keys as ids: UTF-8, decoded as StateFun decodes it."""

from __future__ import annotations

import re

# Java decodes the bytes of a surrogate, or a part of them, to one U+FFFD, Python to several.
_SURROGATE = re.compile(rb"\xed[\xa0-\xbf][\x80-\xbf]?")
_WRONG = "\ufffd".encode()


def text(key: bytes) -> str:
    """Return a key as text. Bytes that are not UTF-8 become U+FFFD, as in Java's ``String``."""
    try:
        return key.decode()
    except UnicodeDecodeError:
        return _SURROGATE.sub(_WRONG, key).decode(errors="replace")

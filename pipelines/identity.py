"""Names a value by its content."""

from __future__ import annotations

import hashlib
import json


def identity(kind: str, document: bytes) -> str:
    """The kind and twelve digits of the sha256 of a JSON document, whatever the order of its keys.

    PostgreSQL keeps the keys of an object in an order of its own, and what comes back must have the name it had.
    """
    canonical = json.dumps(json.loads(document), sort_keys=True, separators=(",", ":"))
    return f"{kind}-{hashlib.sha256(canonical.encode()).hexdigest()[:12]}"

"""Short digests of JSON: they tell whether something is what it was, without keeping it."""

import hashlib
import json


def digest_of(json_value: object, digits: int) -> str:
    """The first hexadecimal digits of the SHA-256 of JSON, its keys in order."""
    text = json.dumps(json_value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:digits]

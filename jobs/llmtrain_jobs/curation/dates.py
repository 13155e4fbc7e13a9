"""Dates of documents as days, which can be compared."""

from datetime import date

NO_DAY = -(2**31)


def day_of(text: str) -> int:
    """Days since 1970 of a text that starts with an ISO 8601 date; `NO_DAY` for any other."""
    try:
        return (date.fromisoformat(text[:10]) - date(1970, 1, 1)).days
    except ValueError:
        return NO_DAY

"""Instants: what an ISO 8601 string or a number means as a point in time."""

from __future__ import annotations

import datetime as dt
import re

DAY_S = 86_400
_EPOCH_DAY = dt.date(1970, 1, 1).toordinal()
_ISO = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})"
    r"(?:[Tt ]([01][0-9]|2[0-3]):([0-5][0-9])(?::([0-5][0-9])(?:\.([0-9]{1,9}))?)?"
    r"(?:[Zz]|([+-])([01][0-9]|2[0-3]):([0-5][0-9]))?)?"
)


def instant(text: str) -> float | None:
    """Give the instant that an ISO 8601 string names, in seconds since 1970 UTC; None where it names none.

    A date is its first instant; a time without an offset is UTC; the result is the nearest double.
    """
    match = _ISO.fullmatch(text)
    if match is None:
        return None
    year, month, day, hour, minute, second, fraction, sign, offset_hours, offset_minutes = match.groups()
    try:
        days = dt.date(int(year), int(month), int(day)).toordinal() - _EPOCH_DAY
    except ValueError:
        return None
    if hour is None:
        return float(days * DAY_S)
    seconds = days * DAY_S + int(hour) * 3600 + int(minute) * 60 + int(second or 0)
    if sign is not None:
        offset_s = int(offset_hours) * 3600 + int(offset_minutes) * 60
        seconds -= offset_s if sign == "+" else -offset_s
    if fraction is None:
        return float(seconds)
    return (seconds * 10**9 + int(fraction.ljust(9, "0"))) / 10**9  # int / int is rounded once, so correctly


def is_day(text: str) -> bool:
    """Tell whether an instant's string is a date without a time."""
    return len(text) == len("2020-01-01")

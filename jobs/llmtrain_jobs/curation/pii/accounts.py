"""Payment cards and bank accounts."""

import re
from collections.abc import Iterator
from functools import cache

from llmtrain_jobs.curation.pii import checksums
from llmtrain_jobs.curation.pii.text import Span, Text, digits_of, holds, outside, words

CARD = re.compile(
    r"\d(?<![\w.,+-].)(?:\d{11,18}|\d{3}(?:([ -])\d{4}\1\d{4}(?:\1\d{1,4}(?:\1\d{3})?)?|([ -])\d{6}\2\d{4,5})|\d{5}[ -]\d{13})"
    r"(?![A-Za-z0-9_-]|[.,]\d)",
    re.ASCII,
)
FOURS = re.compile(r"\d{4}([ -])\d{4}\1\d{4}\1\d{1,7}|\d{4}([ -])\d{6}\2\d{4,5}", re.ASCII)
"""Groups as cards show them."""
CELL_BEFORE, CELL_BEHIND = re.compile(r"(?<![\d.,-])\d{1,6}[ \t]$"), re.compile(r"[ \t]\d{1,6}(?![\d/-])")
CARD_WORDS = words(
    "card cards credit debit visa mastercard amex discover diners jcb maestro cc pan payment cvv cvc expires expiring"
    " expiration expiry expired carte cartes tarjeta kreditkarte kreditkartennummer karte carta cartão kaart kort karta карта карты"
)
ISSUERS = (
    (re.compile(r"4\d+"), {13, 16, 19}),  # Visa
    (re.compile(r"(?:5[1-5]|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720))\d+"), {16}),  # Mastercard
    (re.compile(r"3[47]\d+"), {15}),  # American Express
    (re.compile(r"3(?:0[0-5]|[689])\d+"), {14, 16, 17, 18, 19}),  # Diners Club
    (re.compile(r"(?:6011|64[4-9]|65)\d+"), {16, 17, 18, 19}),  # Discover
    (re.compile(r"35\d+"), {16, 17, 18, 19}),  # JCB, to which 3528 to 3589 are given; many tables have the whole of 35
    (re.compile(r"(?:62|81)\d+"), {16, 17, 18, 19}),  # UnionPay
    (re.compile(r"(?:5[06-9]|6[37])\d+"), {12, 13, 14, 15, 16, 17, 18, 19}),  # Maestro
    (re.compile(r"(?:2131|1800)\d+"), {15}),  # JCB, old
)

IBAN = re.compile(r"\d(?:(?<=[A-Za-z]{2}.)(?<![A-Za-z0-9_]...)|(?<=[A-Za-z]{2} .)(?<![A-Za-z0-9_]....))\d", re.ASCII)
BETWEEN = r"[ .\-]{0,2}"
STRUCTURES = {
    "AD": "8n12c", "AE": "19n", "AL": "8n16c", "AT": "16n", "AZ": "4a20c", "BA": "16n", "BE": "12n", "BG": "4a6n8c",
    "BH": "4a14c", "BI": "23n", "BR": "23n1a1c", "BY": "4c4n16c", "CH": "5n12c", "CR": "18n", "CY": "8n16c", "CZ": "20n",
    "DE": "18n", "DJ": "23n", "DK": "14n", "DO": "4c20n", "EE": "16n", "EG": "25n", "ES": "20n", "FI": "14n", "FK": "2a12n",
    "FO": "14n", "FR": "10n11c2n", "GB": "4a14n", "GE": "2a16n", "GI": "4a15c", "GL": "14n", "GR": "7n16c", "GT": "24c",
    "HN": "4a20n", "HR": "17n", "HU": "24n", "IE": "4a14n", "IL": "19n", "IQ": "4a15n", "IS": "22n", "IT": "1a10n12c",
    "JO": "4a4n18c", "KW": "4a22c", "KZ": "3n13c", "LB": "4n20c", "LC": "4a24c", "LI": "5n12c", "LT": "16n", "LU": "3n13c",
    "LV": "4a13c", "LY": "21n", "MC": "10n11c2n", "MD": "20c", "ME": "18n", "MK": "3n10c2n", "MN": "16n", "MR": "23n",
    "MT": "4a5n18c", "MU": "4a19n3a", "NI": "4a20n", "NL": "4a10n", "NO": "11n", "OM": "3n16c", "PK": "4a16c", "PL": "24n",
    "PS": "4a21c", "PT": "21n", "QA": "4a21c", "RO": "4a16c", "RS": "18n", "RU": "14n15c", "SA": "2n18c", "SC": "4a20n3a",
    "SD": "14n", "SE": "20n", "SI": "15n", "SK": "20n", "SM": "1a10n12c", "SO": "19n", "ST": "21n", "SV": "4a20n", "TL": "19n",
    "TN": "20n", "TR": "6n16c", "UA": "6n19c", "VA": "18n", "VG": "4a16n", "XK": "16n", "YE": "4a4n18c",
}  # fmt: skip
"""ISO 13616 registry, release 101: digits (n), letters (a), either (c) behind country and check digits."""
CLASSES = {"n": r"\d", "a": "[A-Za-z]", "c": "[A-Za-z0-9]"}


def cards(text: Text) -> Iterator[Span]:
    """Numbers of an issuer that pass Luhn, written in a card's groups or near a word that speaks of cards."""
    yield from outside(_cards(text), text.links)


def _cards(text: Text) -> Iterator[Span]:
    for found in text.numbers(CARD):
        for end in _ends(text.plain, found):
            digits = digits_of(text.plain[found.start() : end])
            if _is_card(text, found.start(), end) and checksums.luhn(digits) and _issued(digits):
                yield found.start(), end
                break


def _ends(text: str, found: re.Match[str]) -> tuple[int, ...]:
    """Where a card may end: a group of three behind four groups of four may be its last digits or its security code."""
    end = found.end()
    return (end, end - 4) if found[1] and end - found.start() == 23 and text[end - 4] == found[1] else (end,)


def _issued(digits: str) -> bool:
    return any(pattern.fullmatch(digits) and len(digits) in lengths for pattern, lengths in ISSUERS)


def _is_card(text: Text, start: int, end: int) -> bool:
    around = text.around(start, end)
    if around.islower() and any(holds(around, word) for word in CARD_WORDS):
        return True
    number = FOURS.fullmatch(text.plain, start, end)
    return number is not None and not ((number[1] or number[2]) == " " and _in_a_row(text.plain, start, end))


def _in_a_row(text: str, start: int, end: int) -> bool:
    """Whether groups of digits go on on either side: cells of a table."""
    return CELL_BEFORE.search(text, max(0, start - 8), start) is not None or CELL_BEHIND.match(text, end) is not None


def ibans(text: Text) -> Iterator[Span]:
    """Numbers of a registered country, of its structure, that pass mod 97; in any of the usual spacings and cases."""
    for found in IBAN.finditer(text.plain):
        start = found.start() - (3 if text.plain[found.start() - 1] == " " else 2)
        pattern = structure(text.plain[start : start + 2].upper())
        number = pattern.match(text.plain, found.end()) if pattern else None
        if number and checksums.iban(re.sub(r"[ .\-]", "", text.plain[start : number.end()])):
            yield start, number.end()


@cache
def structure(country: str) -> re.Pattern[str] | None:
    """What stands behind a country's check digits; None: it issues none."""
    written = STRUCTURES.get(country)
    if not written:
        return None
    parts = re.findall(r"(\d+)([nac])", written)
    body = "".join(f"(?:{BETWEEN}{CLASSES[kind]}){{{count}}}" for count, kind in parts)
    return re.compile(body + r"(?![A-Za-z0-9])", re.ASCII)

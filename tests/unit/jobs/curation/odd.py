"""Odd texts of any size, and all that is done to a text: what time has to be linear in."""

import base64
from collections.abc import Callable

import numpy as np
from llmtrain_jobs.curation.edits import clean, edit
from llmtrain_jobs.curation.lists import domain_of
from llmtrain_jobs.curation.pii.redact import find, replaced
from llmtrain_jobs.curation.signals.measure import measure
from llmtrain_jobs.curation.signals.words import words_of

from llmtrain.api.curation import Edit, PiiType


def repeated(unit: str) -> Callable[[int], str]:
    """A text of a unit over and over."""
    return lambda size: (unit * (size // len(unit) + 1))[:size]


def base64_under_a_title(size: int) -> str:
    """As notebooks hold pictures."""
    data = np.random.default_rng(0).bytes(size)
    return "# Title\n" + base64.b64encode(data).decode()[:size]


TEXTS: dict[str, Callable[[int], str]] = {
    "base64 under a title": base64_under_a_title,
    "an ellipsis and one long word": lambda size: "…" + "a" * size,
    "digits, then a letter": lambda size: "x " + "1" * size + "a",
    "numbers, then a letter": lambda size: "3 " * (size // 2) + "x",
    "a digit and blanks": lambda size: "1" + " " * size + "x y z",
    "words and blanks": lambda size: "a" + " " * size + "b c",
    "words and no-break spaces": lambda size: "a" + "\u00a0" * size + "b c",
    "a letter and marks out of order": lambda size: "a" + "\u0301\u0323" * (size // 2),
    "marks out of order": repeated("\u0301\u0323"),
    "a local part, then dots": lambda size: "a@" + ("a." * size)[:size],
    "a private key without an end": lambda size: "-----BEGIN PRIVATE KEY-----" + "a" * size,
    "beginnings of private keys": repeated("-----BEGIN PRIVATE KEY-----" + "a" * 50),
    "half a password": lambda size: "://" + "a" * size,
} | {
    unit.strip() or repr(unit): repeated(unit)
    for unit in (
        "\n", "\r\n", " ", "\x01", "a", "A", "7", ".", ". ", "?!.", ".”’)", "@", "a@", "a.", "[", "[1", ":", "ab:", "1.", "1-", "1 ", "+1", "(", "A1", "eyJ",
        "sk-", "://a:", "BUY NOW ", "1 likes ", "sign ", "read more.. ", "items in cart ", "東京。", "पिता का घर ", "😀", "the ", "abc def\n", "abc def\n\n",
        "a b c d e f g h i j k ", "version 1.2.3.4 ", "jane.doe@example.com ",
        "11 ", "1 22 333 ", "12345678 ", "1.1.1.1 ", "8.8.8.8 ", "93.184.216.34, ", "2606:4700::1111 ", "1:2:3 ", "202-555-0143 ", "call 5551234 ", "+49 30 123456 ",
        "4111111111111111 ", "card 4111 1111 1111 1111 ", "DE12 ", "DE89370400440532013000 ", "078-05-1120 ", "BSN 111222333 ", "12345678Z ", "RSSMRA85T10A562S ",
        "a@b.cd:", "://a:bcd@e ", "AKIAIOSFODNN7EXAMPLE ", "-eyJ-", "-sk-", "SK", "aws", ":AA", "-us", "-----END PRIVATE KEY-----",
    )
}  # fmt: skip


def refused_domain(text: str) -> str:
    """What is wrong with a text as a line of a list of domains; empty: nothing."""
    try:
        domain_of(text)
    except ValueError as error:
        return str(error)
    return ""


STEPS: dict[str, Callable[[str], object]] = {
    "clean": clean,
    "C4 lines": lambda text: edit(text, [Edit.C4_LINES]),
    "RefinedWeb lines": lambda text: edit(text, [Edit.REFINED_WEB_LINES]),
    "personal data": lambda text: replaced(text, find(text, list(PiiType))),
    "a line of a list": refused_domain,
    "signals": lambda text: measure(text, words_of(text)),
}

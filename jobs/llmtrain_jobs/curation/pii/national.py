"""National numbers of ten countries: by a form that nothing else has, by checksum, or by both and a word beside them."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from llmtrain_jobs.curation.pii import checksums
from llmtrain_jobs.curation.pii.text import Span, Text, holds, is_of_a_thing, outside

SEPARATOR = r"[ .:\-/]"
GROUP = re.compile(
    rf"\d(?<![A-Za-z0-9_.,+-].)(?=\d{{4}}|{SEPARATOR}\d\d{SEPARATOR}\d\d|\d{{2,3}}{SEPARATOR}\d\d{SEPARATOR}\d{{3}}"
    rf"|\d{{0,3}}{SEPARATOR}\d{{3}}{SEPARATOR}\d{{3}}|\d{{3}}{SEPARATOR}\d{{4}}{SEPARATOR}\d{{4}})\d*",
    re.ASCII,
)
"""The first digits of what may be a number, by the groups of `DIGITS`."""
BARE_GROUP = re.compile(
    r"\d(?<![A-Za-z0-9_.,+-].)(?=\d\d-\d\d-|\d\d\.\d{3}\.|[ .\-]\d\d[ .\-]\d\d[ .\-]|\d{7}-?[A-Z])\d*", re.ASCII
)
"""The same of the forms that need no word."""
END = r"(?![A-Za-z0-9_-]|[.,]\d)"
NO_SEPARATORS = {ord(separator): None for separator in " .:-/"}


@dataclass(frozen=True)
class Form:
    """How a number is written. `first`: digits of its first group, one number or several.

    `words`: it counts beside one of these alone, of which all parts have to be near; empty: the form is enough.
    """

    first: tuple[int, ...]
    pattern: re.Pattern[str]
    valid: Callable[[str], bool]
    words: tuple[tuple[str, ...], ...] = ()


def _words(*words: str) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(word.split()) for word in words)


def _form(
    first: tuple[int, ...], written: str, valid: Callable[[str], bool], words: tuple[tuple[str, ...], ...] = ()
) -> Form:
    return Form(first, re.compile(written + END, re.ASCII), valid, words)


US = _words("ssn", "ssns", "social security")
POLAND, NETHERLANDS = _words("pesel"), _words("bsn", "burgerservicenummer", "sofinummer")
GERMANY = _words(
    "steuer", "steuerid", "steueridentifikationsnummer", "steuernummer", "idnr", "identifikationsnummer", "tin"
)
FRANCE = _words("nir", "sécurité sociale", "securite sociale", "sécu", "insee")
SPAIN = _words("dni", "nif", "nie", "documento identidad", "extranjero", "extranjeros")
BRAZIL, INDIA = _words("cpf"), _words("aadhaar", "aadhar", "adhaar", "adhar", "uidai")
UNITED_KINGDOM = _words("nino", "ni", "national insurance")

DIGITS = (
    _form((3,), r"\d{3}-\d{2}-\d{4}", checksums.ssn),
    _form((3,), r"\d{3}([ .])\d{2}\1\d{4}", checksums.ssn, US),
    _form((9,), r"\d{9}", checksums.ssn, US),
    _form((3,), r"\d{3}\.\d{3}\.\d{3}-\d{2}", checksums.cpf),
    _form((3,), r"\d{3}([ .\-])\d{3}\1\d{3}[ .\-/]\d{2}", checksums.cpf, BRAZIL),
    _form((9, 11), r"\d{9}-?\d{2}", checksums.cpf, BRAZIL),
    _form((4, 12), r"[2-9]\d{3}([ :.\-]?)\d{4}\1\d{4}", checksums.aadhaar, INDIA),
    _form((6, 11), r"\d{6}[ -]?\d{5}", checksums.pesel, POLAND),
    _form((3, 4, 9), r"(?:\d{9}|\d{4}([ .])\d{2}\1\d{3}|\d{3}([ .])\d{3}\2\d{3})", checksums.bsn, NETHERLANDS),
    _form((2, 10, 11), r"(?:\d{2}([ .\-/]?)\d{3}\1\d{3}\1\d{3}|\d{10}[ .\-/]?\d)", checksums.steuer_id, GERMANY),
    _form((1,), r"[1-478]([ .\-])\d{2}\1\d{2}\1(?:\d{2}|2[ABab])\1\d{3}\1\d{3}[ .\-/]{0,3}\d{2}", checksums.nir),
    _form((6, 13, 15), r"[1-478]\d{4}(?:\d{2}|2[ABab])\d{6}[ .\-/]{0,3}\d{2}", checksums.nir, FRANCE),
    _form((8,), r"\d{8}-?[A-Z]", checksums.dni),
    _form((1, 2, 7, 8), r"(?:\d{1,2}\.\d{3}\.\d{3}|\d{7,8})[ -]?[A-Za-z]", checksums.dni, SPAIN),
)
BY_FIRST = {count: [form for form in DIGITS if count in form.first] for count in range(1, 16)}
WORDS = frozenset(word[0] for form in DIGITS for word in form.words)
BARE_BY_FIRST = {count: [form for form in forms if not form.words] for count, forms in BY_FIRST.items()}
"""Forms by the digits of their first group; where no letter is near, those that need no word."""
NIE = re.compile(
    r"\d(?:(?<=[XYZxyz].)(?<![A-Za-z0-9_-]..)|(?<=[XYZxyz][ .-].)(?<![A-Za-z0-9_-]...))\d{6}[ -]?[A-Za-z](?![A-Za-z0-9_-])",
    re.ASCII,
)
NINO = re.compile(
    r"\d(?:(?<=[A-Za-z]{2}.)(?<![A-Za-z0-9_]...)|(?<=[A-Za-z]{2}[ -].)(?<![A-Za-z0-9_]....))\d[ -]?\d\d[ -]?\d\d[ -]?[A-Da-d](?![A-Za-z0-9_])",
    re.ASCII,
)
PREFIX = re.compile(r"(?!BG|GB|KN|NK|NT|TN|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z]")
FISCAL_DATE = re.compile(
    r"\d[\dLMNP-V] ?[A-EHLMPRST] ?[\dLMNP-V]{2} ?[A-Z] ?[\dLMNP-V]{3} ?[A-Z](?![A-Z0-9_])", re.ASCII | re.IGNORECASE
)
FISCAL_NAME = re.compile(r"(?<![A-Za-z0-9_])[A-Za-z]{3} ?[A-Za-z]{3} ?$")
FISCAL_WORD = re.compile(
    r"iscal[ei][^A-Za-z]{0,3}(?:(?:è|e|n|nr|numero)[^A-Za-z]{1,3})?([A-Z]{6}[A-Z0-9]{10})(?![A-Z0-9_])", re.IGNORECASE
)
MOST_OF_A_DATE = re.compile(r"(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])[A-Za-z]")


def national_ids(text: Text) -> Iterator[Span]:
    """Numbers outside of links whose checksum holds; by their form alone not what a word before says to be a thing."""
    yield from outside(_of_digits(text), text.links)
    yield from outside(_with_letters(text), text.links)
    yield from _fiscal_codes(text)


def _of_digits(text: Text) -> Iterator[Span]:
    named = text.names_any(WORDS)
    for group in text.numbers(GROUP if named else BARE_GROUP):
        around = text.around(*group.span())
        forms = BY_FIRST if named and around.islower() else BARE_BY_FIRST
        for form in forms.get(len(group.group()), ()):
            number = form.pattern.match(text.plain, group.start())
            if number and _counts(text, around, form, number.group(), group.start()):
                yield number.span()
                break


def _counts(text: Text, around: str, form: Form, number: str, start: int) -> bool:
    if form.words:
        known = _speaks_of(around, form.words)
    else:
        known = not MOST_OF_A_DATE.fullmatch(number) and not is_of_a_thing(text.before(start))
    return known and form.valid(number.translate(NO_SEPARATORS).upper())


def _speaks_of(around: str, words: tuple[tuple[str, ...], ...]) -> bool:
    return any(holds(around, word[0]) and all(holds(around, part) for part in word[1:]) for word in words)


def _with_letters(text: Text) -> Iterator[Span]:
    """NIE and NINO, whose letters come first; in small letters beside their word alone."""
    for pattern, letters, valid, words in ((NIE, 1, checksums.dni, SPAIN), (NINO, 2, _is_nino, UNITED_KINGDOM)):
        for found in text.numbers(pattern):
            start = found.start() - letters - (not text.plain[found.start() - 1].isalpha())
            written = text.plain[start : found.end()]
            known = _speaks_of(text.around(start, found.end()), words)
            known = known or (written.isupper() and not is_of_a_thing(text.before(start)))
            if known and valid(written.translate(NO_SEPARATORS).upper()):
                yield start, found.end()


def _is_nino(number: str) -> bool:
    return PREFIX.match(number) is not None


def _fiscal_codes(text: Text) -> Iterator[Span]:
    """Italy's codes with a digit of the year left; those whose every digit became a letter after their word alone."""
    for found in FISCAL_DATE.finditer(text.plain):
        name = FISCAL_NAME.search(text.plain, max(0, found.start() - 8), found.start())
        if name and checksums.codice_fiscale((name.group() + found.group()).replace(" ", "").upper()):
            yield name.start(), found.end()
    if "iscal" in text.plain or "ISCAL" in text.plain:
        for found in FISCAL_WORD.finditer(text.plain):
            if checksums.codice_fiscale(found[1].upper()):
                yield found.span(1)

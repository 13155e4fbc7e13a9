"""Where each kind of personal data stands in a text."""

import ipaddress
import re
from collections.abc import Callable, Iterator

from llmtrain.api.curation import PiiType
from llmtrain_jobs.curation.pii import checksums

Span = tuple[int, int]
CONTEXT = 60

EMAIL = re.compile(r"(?<![\w.+%-])[A-Za-z0-9](?:[A-Za-z0-9._%+'-]{0,62}[A-Za-z0-9_])?@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,24}(?![\w-])")  # fmt: skip
IPV4 = re.compile(r"\d(?<![\d.].)\d{0,2}\.(?:\d{1,3}\.){2}\d{1,3}(?![\d]|\.\d)")
IPV6 = re.compile(r"[0-9A-Fa-f:](?<![\w:.].)[0-9A-Fa-f]{0,4}:[0-9A-Fa-f:]{3,38}(?![\w:])")
VERSION = re.compile(r"(?:\bv|\bversion|\brelease|\bfirmware|\bbuild)\.?\s*$", re.IGNORECASE)
CARD = re.compile(r"\d(?<![\w.,-].)(?:[ -]?\d){11,18}(?![\w-]|[.,]\d)")
CARD_GROUPS = re.compile(r"\d{4}([ -])\d{4}\1\d{4}\1\d{1,7}|\d{4}([ -])\d{6}\2\d{4,5}")
CARD_WORDS = re.compile(r"\b(?:card|cards|credit|debit|visa|master ?card|amex|american express|discover|diners|jcb|maestro|cc|pan|payment|cvv|cvc|expir\w*)\b", re.IGNORECASE)  # fmt: skip
ISSUERS = (
    (re.compile(r"4\d+"), {13, 16, 19}),  # Visa
    (re.compile(r"(?:5[1-5]|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720))\d+"), {16}),  # Mastercard
    (re.compile(r"3[47]\d+"), {15}),  # American Express
    (re.compile(r"3(?:0[0-5]|[689])\d+"), {14, 16, 17, 18, 19}),  # Diners Club
    (re.compile(r"(?:6011|64[4-9]|65)\d+"), {16, 17, 18, 19}),  # Discover
    (re.compile(r"35(?:2[89]|[3-8]\d)\d+"), {16, 17, 18, 19}),  # JCB
    (re.compile(r"(?:62|81)\d+"), {16, 17, 18, 19}),  # UnionPay
    (re.compile(r"(?:5[06-9]|6[37])\d+"), {12, 13, 14, 15, 16, 17, 18, 19}),  # Maestro
    (re.compile(r"(?:2131|1800)\d+"), {15}),  # JCB, old
)
IBAN = re.compile(r"[A-Z](?<![A-Za-z0-9].)[A-Z]\d{2}(?: ?[A-Z0-9]){11,30}(?![A-Za-z0-9])|[a-z](?<![A-Za-z0-9].)[a-z]\d{2}[a-z0-9]{11,30}(?![A-Za-z0-9])")  # fmt: skip
IBAN_LENGTHS = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BR": 29, "BY": 28,
    "CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DK": 18, "DO": 28, "EE": 20, "EG": 29, "ES": 24, "FI": 18,
    "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28, "HR": 21, "HU": 28, "IE": 22,
    "IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20, "LB": 28, "LI": 21, "LT": 20, "LU": 20,
    "LV": 21, "MC": 27, "MD": 24, "ME": 22, "MK": 19, "MR": 27, "MT": 31, "MU": 30, "NL": 18, "NO": 15, "PK": 24,
    "PL": 28, "PS": 29, "PT": 25, "QA": 29, "RO": 24, "RS": 22, "SA": 24, "SE": 24, "SI": 19, "SK": 24, "SM": 27,
    "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24, "XK": 20,
}  # fmt: skip
"""ISO 13616 registry, release 99."""

PHONE_WORDS = re.compile(r"\b(?:phone|tel|telephone|call|mobile|cell|fax|whatsapp|sms|text me|contact|reach|dial|ring)\w*\W{0,3}(?:\w+\W{1,3}){0,4}$", re.IGNORECASE)  # fmt: skip
PHONE_PLUS = re.compile(r"\+(?<![\w+.].)\d(?:[ ().\-/]{0,2}\d){6,14}(?![\w])")
PHONE_NANP = re.compile(r"[(+\d](?<![\w.+-].)(?:(?<=\+)1[-. ]?\(?|(?<=1)[-. ]?\(?|(?<=0)01[-. ]?\(?)?(?:(?<=\()[2-9]\d{2}\) ?|(?<=[2-9])\d{2}[-. ]|(?<=[-. 1])[2-9]\d{2}[-. ])[2-9]\d{2}[-. ]\d{4}(?:x\d{1,5})?(?![\w-]|\.\d)")  # fmt: skip
PHONE_LOOSE = re.compile(r"[(\d](?<![\w.,+$€£-].)(?:(?<=\()\d)?(?:[ ().\-/]{0,2}\d){6,14}(?:x\d{1,5})?(?![\w-]|[.,]\d)")
DATE = re.compile(r"(?:19|20)\d{2}[-./](?:0?[1-9]|1[0-2])[-./]\d{1,2}|\d{1,2}[-./]\d{1,2}[-./](?:19|20)?\d{2}")

SSN = re.compile(r"[0-8](?<![\w-].)\d{2}(?<!000)(?<!666)([- ])(?!00)\d{2}\1(?!0000)\d{4}(?![\w-])")
NINO = re.compile(r"[A-CEGHJ-PR-TW-Z](?<!\w.)[A-CEGHJ-NPR-TW-Z](?<!BG)(?<!GB)(?<!KN)(?<!NK)(?<!NT)(?<!TN)(?<!ZZ) ?\d{2} ?\d{2} ?\d{2} ?[A-D](?!\w)")  # fmt: skip
DNI = re.compile(r"[\dXYZ](?<![\w-].)\d{7}-?[TRWAGMYFPDXBNJZSQVHLCKE](?![\w-])")
FISCALE = re.compile(r"[A-Z](?<!\w.)[A-Z]{5}\d{2}[A-EHLMPRST]\d{2}[A-Z]\d{3}[A-Z](?!\w)")
NIR = re.compile(r"[12](?<![\w-].) ?\d{2} ?(?:0[1-9]|1[0-2]) ?(?:\d{2}|2[AB]) ?\d{3} ?\d{3} ?\d{2}(?![\w-])")
CPF = re.compile(r"\d(?<![\w.-].)\d{2}\.\d{3}\.\d{3}-\d{2}(?![\w-])")
AADHAAR = re.compile(r"[2-9](?<![\w-].)\d{3}([ -])\d{4}\1\d{4}(?![\w-]|[ -]\d)")
BARE = re.compile(r"\d(?<![\w.,-].)(?:\d{10}|\d{8}|\d \d{3} \d{3} \d{3})(?![\w-]|[.,]\d)")
BARE_WORDS: tuple[tuple[re.Pattern[str], int, Callable[[str], bool]], ...] = (
    (re.compile(r"\bpesel\b", re.IGNORECASE), 11, checksums.pesel),
    (re.compile(r"\b(?:bsn|burgerservicenummer|sofinummer)\b", re.IGNORECASE), 9, checksums.bsn),
    (re.compile(r"\b(?:steuer-?id\w*|steueridentifikationsnummer|idnr|tin)\b", re.IGNORECASE), 11, checksums.steuer_id),
    (
        re.compile(r"\b(?:ssn|social security)\b", re.IGNORECASE),
        9,
        lambda d: d[:3] not in ("000", "666") and d[0] != "9",
    ),
)

SECRETS = {
    "AKIA": r"\bAKIA[0-9A-Z]{16}\b",
    "ASIA": r"\bASIA[0-9A-Z]{16}\b",
    "ghp_": r"\bghp_[A-Za-z0-9]{36,255}\b",
    "gho_": r"\bgho_[A-Za-z0-9]{36,255}\b",
    "ghs_": r"\bghs_[A-Za-z0-9]{36,255}\b",
    "github_pat_": r"\bgithub_pat_[A-Za-z0-9_]{60,255}\b",
    "glpat-": r"\bglpat-[A-Za-z0-9_-]{20,64}\b",
    "xox": r"\bxox[abeoprs]-[A-Za-z0-9-]{10,250}\b",
    "AIza": r"\bAIza[0-9A-Za-z_-]{35}\b",
    "k_live_": r"\b[sr]k_live_[0-9A-Za-z]{16,250}\b",
    "k_test_": r"\b[sr]k_test_[0-9A-Za-z]{16,250}\b",
    "sk-": r"\bsk-(?:proj-|ant-)?[A-Za-z0-9_-]{32,250}\b",
    "hf_": r"\bhf_[A-Za-z0-9]{30,50}\b",
    "npm_": r"\bnpm_[A-Za-z0-9]{36}\b",
    "pypi-": r"\bpypi-[A-Za-z0-9_-]{50,250}\b",
    "eyJ": r"\beyJ[A-Za-z0-9_-]{10,2000}\.eyJ[A-Za-z0-9_-]{10,4000}\.[A-Za-z0-9_-]{10,1000}",
    "-----BEGIN": r"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----[A-Za-z0-9+/=\s]{40,20000}-----END (?:[A-Z]+ )?PRIVATE KEY-----",
    "://": r"(?<=://)[^\s:/@]{1,64}:[^\s:/@]{3,128}(?=@)",
}
"""Patterns by what must stand in the text for them to be worth a search."""
SECRET_PATTERNS = {hint: re.compile(pattern) for hint, pattern in SECRETS.items()}


def emails(text: str) -> Iterator[Span]:
    """Addresses with a top-level domain of letters."""
    if "@" in text:
        yield from (found.span() for found in EMAIL.finditer(text))


def addresses(text: str) -> Iterator[Span]:
    """Public IPv4 and IPv6 addresses; not what stands after the word version."""
    for pattern, mark in ((IPV4, "."), (IPV6, "::" if "::" in text else ":")):
        if mark in text:
            for found in pattern.finditer(text):
                if _is_public(found.group()) and not VERSION.search(text[max(0, found.start() - 12) : found.start()]):
                    yield found.span()


def _is_public(text: str) -> bool:
    try:
        return ipaddress.ip_address(text).is_global
    except ValueError:
        return False


def cards(text: str) -> Iterator[Span]:
    """Numbers of an issuer that pass Luhn, written in a card's groups or near a word that speaks of cards."""
    for found in CARD.finditer(text):
        digits = digits_of(found.group())
        if _issued(digits) and checksums.luhn(digits) and _speaks_of_cards(text, found):
            yield found.span()


def _issued(digits: str) -> bool:
    return any(pattern.fullmatch(digits) and len(digits) in lengths for pattern, lengths in ISSUERS)


def _speaks_of_cards(text: str, found: re.Match[str]) -> bool:
    if CARD_GROUPS.fullmatch(found.group()):
        return True
    around = text[max(0, found.start() - CONTEXT) : found.start()] + " " + text[found.end() : found.end() + CONTEXT]
    return CARD_WORDS.search(around) is not None


def ibans(text: str) -> Iterator[Span]:
    """Numbers of a registered country, of its length, that pass mod 97."""
    for found in IBAN.finditer(text):
        length = IBAN_LENGTHS.get(found.group()[:2].upper(), 0)
        end, count = found.start(), 0
        while end < found.end() and count < length:
            count += text[end] != " "
            end += 1
        if (
            count == length
            and not text[end : end + 1].isalnum()
            and checksums.iban(text[found.start() : end].replace(" ", ""))
        ):
            yield found.start(), end


def phones(text: str) -> Iterator[Span]:
    """International numbers, North American ones in their usual form, others after a word that speaks of phones."""
    for pattern in (PHONE_PLUS, PHONE_NANP):
        yield from (found.span() for found in pattern.finditer(text))
    for found in PHONE_LOOSE.finditer(text):
        before = text[max(0, found.start() - CONTEXT) : found.start()]
        if not DATE.fullmatch(found.group()) and PHONE_WORDS.search(before):
            yield found.span()


def national_ids(text: str) -> Iterator[Span]:
    """Numbers of ten countries: by a form that nothing else has, by checksum, or by both and a word before."""
    yield from (found.span() for pattern in (SSN, NINO) for found in pattern.finditer(text))
    for pattern, valid in CHECKED:
        for found in pattern.finditer(text):
            if valid(re.sub(r"[ .\-]", "", found.group())):
                yield found.span()
    for found in BARE.finditer(text):
        digits, before = digits_of(found.group()), text[max(0, found.start() - CONTEXT) : found.start()]
        if any(len(digits) == n and word.search(before) and valid(digits) for word, n, valid in BARE_WORDS):
            yield found.span()


CHECKED: tuple[tuple[re.Pattern[str], Callable[[str], bool]], ...] = (
    (DNI, checksums.dni), (FISCALE, checksums.codice_fiscale), (NIR, checksums.nir), (CPF, lambda t: checksums.cpf(digits_of(t))),
    (AADHAAR, checksums.verhoeff),
)  # fmt: skip


def secrets(text: str) -> Iterator[Span]:
    """Keys and tokens that carry their issuer's mark, private keys, passwords within URLs."""
    for hint, pattern in SECRET_PATTERNS.items():
        if hint in text:
            yield from (found.span() for found in pattern.finditer(text))


def digits_of(text: str) -> str:
    """Without separators."""
    return "".join(filter(str.isdigit, text))


FINDERS: dict[PiiType, Callable[[str], Iterator[Span]]] = {
    PiiType.SECRET: secrets, PiiType.EMAIL: emails, PiiType.IBAN: ibans, PiiType.PAYMENT_CARD: cards,
    PiiType.NATIONAL_ID: national_ids, PiiType.IP_ADDRESS: addresses, PiiType.PHONE: phones,
}  # fmt: skip
"""In this order: of two findings that overlap the earlier kind wins."""
WITHOUT_DIGITS = (PiiType.SECRET, PiiType.EMAIL)

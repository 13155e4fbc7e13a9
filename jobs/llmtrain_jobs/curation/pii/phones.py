"""Phone numbers: international ones, North American ones in their usual form, others by a word beside them."""

import re
from collections.abc import Iterator

from llmtrain_jobs.curation.pii.text import NEAR, WORD, Span, Text, digits_of, is_of_a_thing, outside, words

EXTENSION = r"(?:,? ?(?:x|ext\.?|extension) ?\d{1,5})?"
END = r"(?![A-Za-z0-9_]|[.,]\d)"
PLUS = re.compile(
    r"\+(?<![A-Za-z0-9_+.)].)(?:1[-. ]?\(?[2-9]\d\d\)?[-. ]?\d{3}[-. ]?\d{4}(?!\d)| ?\(?[1-9]\d{0,2}\)?(?:[ ().\-/]{0,3}\d){4,13}"
    + rf"){EXTENSION}{END}",
    re.ASCII,
)
NANP = re.compile(
    r"[(\d](?<![A-Za-z0-9_.,+$€£/-].)(?:(?:(?<=0)01|(?<=0)11|(?<=1))(?:[-.]| ?(?=\())(?:\([2-9]\d\d\)[-. ]?|[2-9]\d\d[-.])"
    r"|(?<=\()[2-9]\d\d\)[-. ]?|(?<=[2-9])\d\d[-.])"
    rf"[2-9]\d\d[-. ]\d{{4}}{EXTENSION}{END}(?!-\d)",
    re.ASCII,
)
LOOSE = re.compile(
    rf"[(\d](?<![A-Za-z0-9_.,+$€£#-].)(?:(?<=\()\d)?(?:(?:[ ().\-]{{0,3}}|/)\d){{6,14}}{EXTENSION}{END}(?!-\d)",
    re.ASCII,
)
DATE = re.compile(
    r"(?:19|20)\d{2}[-./](?:0?[1-9]|1[0-2])[-./]\d{1,2}(?!\d)|\d{1,2}[-./]\d{1,2}[-./](?:19|20)\d{2}(?!\d)"
)
YEARS = re.compile(r"(?:1[5-9]|20)\d\d(?:[^\d]{1,3}(?:1[5-9]|20)\d\d)*")
THOUSANDS = re.compile(r"[1-9]\d{0,2}(?: \d{3})+|\d+")

DIGITS = "0123456789"
NUMBER_OF = words(
    "phone phones telephone telephones tel telefon telefono teléfono téléphone tél telefoon telefonnummer rufnummer telefone mobil mobile mobiles"
    " móvil cellulare handy cell cellphone fax telefax whatsapp sms hotline desk тел телефон моб"
)
CALLING = words("call calls calling called dial text ring reach contact registered answering message messages")
EASTERN = ("电话", "電話", "手机", "手機", "携帯", "전화", "휴대폰")
FILLERS = words(
    "number numbers no nr num is was are at on me us my our your his her him them the office work home direct line under or to and now today anytime"
    " please back main a by via directly toll free also either unter bei au al il es ist nummer numéro número numero"
    " est è le la el lo de der die das mein meine mon ma votre notre mi su nostro suo il"
)
OWN = words("my our his her mein meine unsere seine ihre mon notre votre mi nuestro su mio nostro suo")
NUMBERS = words("number nummer numéro número numero")
"""`my number`, but not `the number`."""
LEADING = NUMBER_OF | CALLING | FILLERS | OWN
MARKS = " \t\n:：.,;-–/()[]{}=<>\"'#*_~|+&!?"
"""Between a word and a number."""
NAMES = (*NUMBER_OF, *CALLING, *NUMBERS, *EASTERN, "office", "home", "work")
"""One of these stands in every text with a number that counts by a word."""
MOST_FILLERS = 5
ASSIGNED = frozenset("=({[<")
"""Between a verb and a number: code."""
KIND = r"(?:tele)?phone|mobile|cell|cellphone|fax|tel|telephone|office|home|work|whatsapp|handy|hotline|desk"
WORD_BEHIND = re.compile(
    rf"[ \-–(]{{0,3}}(?:(?:is|was) )?(?:(?:my|our|his|her|their|the) )?(?:(?:new|direct|work|home|office) )?(?:{KIND})(?: number)?(?![a-z])\s*(?:[\n,;.)\\]|$)"
)
JOINT = re.compile(r"\s{1,2}|\s{0,2}(?:[/,;&|]|or|and|oder|und|ou|et|y|o|e)\s{0,2}", re.IGNORECASE)
LONGEST_JOINT = 8
OVER = re.compile(
    r"\s*(?:$|[.,;:!?)\n\]\"']|(?:now|for|or|and|to|if|today|when|asap|before|after|between|with|so|but|as|any)(?![a-z]))"
)
"""What may follow upon a bare number behind a verb: not the thing that is counted."""

ONE_OR_SEVEN = frozenset({"1", "7"})
TWO = words(
    "20 27 30 31 32 33 34 36 39 40 41 43 44 45 46 47 48 49 51 52 53 54 55 56 57 58 60 61 62 63 64 65 66 81 82 84 86 90 91 92 93 94 95 98"
)
THREE = (21, 22, 23, 24, 25, 26, 29, 35, 37, 38, 42, 50, 59, 67, 68, 69, 80, 85, 87, 88, 96, 97, 99)
"""Country codes of three digits begin with these, ITU-T E.164."""
FEWEST, MOST = 8, 15
LONGEST = {
    "1": 11, "7": 11, "27": 11, "30": 12, "31": 11, "32": 11, "33": 11, "34": 11, "36": 11, "39": 13, "40": 11, "41": 11, "44": 12, "45": 10,
    "46": 11, "47": 10, "48": 11, "49": 13, "52": 12, "55": 13, "60": 12, "61": 11, "62": 14, "63": 12, "64": 12, "65": 10, "66": 11, "81": 12,
    "82": 12, "84": 11, "86": 13, "90": 12, "91": 12, "92": 12, "94": 11, "98": 12,
}  # fmt: skip
"""Digits of a country's longest numbers in use; what follows is another number."""


def phones(text: Text) -> Iterator[Span]:
    """Numbers outside of links; not dates, years, sums and what a word before says to be a thing."""
    found = [span for span in outside(_in_form(text), text.links) if not is_of_a_thing(text.before(span[0]))]
    yield from found
    yield from outside(_by_a_word(text, {end for _, end in found}), text.links)


def _in_form(text: Text) -> Iterator[Span]:
    found = [m.span() for m in PLUS.finditer(text.plain) if is_international(m.group())] if "+" in text.plain else []
    found = [(start - _opened(text.plain, start, end), _end(text.plain, start, end)) for start, end in found]
    found += [match.span() for match in text.numbers(NANP)]
    yield from sorted(found)


def _opened(text: str, start: int, end: int) -> int:
    """1 where the bracket before a number is closed within it."""
    return int(text[start - 1 : start] == "(" and text.find(")", start, end) >= 0 and text.find("(", start, end) < 0)


def _end(text: str, start: int, end: int) -> int:
    """Where a number ends that has more digits than its country's have; within a group of digits none does."""
    digits = digits_of(text[start:end])
    most = LONGEST.get(digits[0]) or LONGEST.get(digits[:2], MOST)
    if len(digits) <= most or "x" in text[start:end]:
        return end
    places = [place for place in range(start, end) if text[place].isdecimal()]
    return end if places[most] == places[most - 1] + 1 else places[most - 1] + 1


def is_international(number: str) -> bool:
    """Whether a number with a plus begins with a country's code and has a length that E.164 allows."""
    digits = digits_of(number.partition("x")[0])
    if digits[0] in ONE_OR_SEVEN:
        return len(digits) >= 11
    known = digits[:2] in TWO or int(digits[:2]) in THREE
    return known and FEWEST <= len(digits) <= MOST


def _by_a_word(text: Text, ends: set[int]) -> Iterator[Span]:
    """`ends`: of numbers that are known; what is joined to one is one too."""
    if not ends and not text.names_any(NAMES):
        return
    for found in text.numbers(LOOSE):
        number = found.group()
        if DATE.match(number) or YEARS.fullmatch(number):
            continue
        if (
            _is_joined(text.plain, found.start(), ends)
            or _is_called(text, found)
            or (not THOUSANDS.fullmatch(number) and WORD_BEHIND.match(text.behind(found.end())))
        ):
            ends.add(found.end())
            yield found.span()


def _is_joined(text: str, start: int, ends: set[int]) -> bool:
    """Whether nothing but a word like `or` stands between a number and a known one."""
    near = [end for end in range(start - LONGEST_JOINT, start) if end in ends] if ends else []
    return bool(near) and JOINT.fullmatch(text, near[-1], start) is not None


def _is_called(text: Text, found: re.Match[str]) -> bool:
    """Whether a word before says so: one that means a phone, or one that may, where the number is no count of things."""
    before = text.before(found.start())
    head = before.rstrip(MARKS)
    if not head[-1:].isalpha():
        return False
    if WORD.findall(head[-NEAR:])[-1] not in LEADING:
        return head.endswith(EASTERN)
    tail = before[max(map(before.rfind, DIGITS)) + 1 :]
    last = ""
    for word in WORD.findall(tail)[: -MOST_FILLERS - 2 : -1]:
        if word in NUMBER_OF:
            return True
        if word in CALLING or (word in OWN and last in NUMBERS):
            bare = found.group().isdecimal() and found.group()[0] != "0"
            return ASSIGNED.isdisjoint(tail) and (not bare or OVER.match(text.behind(found.end())) is not None)
        if word not in FILLERS:
            return False
        last = word
    return False

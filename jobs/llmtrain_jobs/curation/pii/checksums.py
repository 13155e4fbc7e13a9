"""Check digits and the rules beside them. All take digits (or capital letters) without separators."""

import re
from calendar import monthrange
from collections import Counter
from collections.abc import Sequence
from operator import mul

VERHOEFF_D = [
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9], [1, 2, 3, 4, 0, 6, 7, 8, 9, 5], [2, 3, 4, 0, 1, 7, 8, 9, 5, 6],
    [3, 4, 0, 1, 2, 8, 9, 5, 6, 7], [4, 0, 1, 2, 3, 9, 5, 6, 7, 8], [5, 9, 8, 7, 6, 0, 4, 3, 2, 1],
    [6, 5, 9, 8, 7, 1, 0, 4, 3, 2], [7, 6, 5, 9, 8, 2, 1, 0, 4, 3], [8, 7, 6, 5, 9, 3, 2, 1, 0, 4],
    [9, 8, 7, 6, 5, 4, 3, 2, 1, 0],
]  # fmt: skip
VERHOEFF_P = [
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9], [1, 5, 7, 6, 2, 8, 3, 0, 9, 4], [5, 8, 0, 3, 7, 9, 6, 1, 4, 2],
    [8, 9, 1, 6, 0, 4, 3, 5, 2, 7], [9, 4, 5, 3, 1, 2, 6, 8, 7, 0], [4, 2, 8, 6, 5, 7, 3, 9, 0, 1],
    [2, 7, 9, 3, 8, 0, 6, 4, 1, 5], [7, 0, 4, 6, 9, 1, 3, 2, 5, 8],
]  # fmt: skip
NIE = str.maketrans("XYZ", "012")
PESEL = (1, 3, 7, 9, 1, 3, 7, 9, 1, 3)
BSN = (9, 8, 7, 6, 5, 4, 3, 2, -1)
OMOCODIA = dict(zip("LMNPQRSTUV", "0123456789", strict=True))
FISCAL_FORM = re.compile(r"[A-Z]{6}[\dL-NP-V]{2}[A-EHLMPRST][\dL-NP-V]{2}[A-Z][\dL-NP-V]{3}[A-Z]", re.ASCII)
DIGIT_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)
FISCAL_ODD = dict(zip("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", [
    1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10,
    22, 25, 24, 23,
], strict=True))  # fmt: skip


def luhn(digits: str) -> bool:
    """ISO/IEC 7812-1, annex B: payment cards."""
    return (sum(map(int, digits[-1::-2])) + sum(DIGIT_DOUBLED[int(d)] for d in digits[-2::-2])) % 10 == 0


def iban(text: str) -> bool:
    """ISO 13616: mod 97-10 of the rearranged number is 1."""
    rearranged = text[4:] + text[:4]
    return int("".join(str(int(character, 36)) for character in rearranged)) % 97 == 1


def verhoeff(digits: str) -> bool:
    """Aadhaar."""
    check = 0
    for index, digit in enumerate(reversed(digits)):
        check = VERHOEFF_D[check][VERHOEFF_P[index % 8][int(digit)]]
    return check == 0


def aadhaar(digits: str) -> bool:
    """India: Verhoeff; the same read backwards is none."""
    return digits != digits[::-1] and verhoeff(digits)


def ssn(digits: str) -> bool:
    """United States: no check digit, but areas, groups and serials that are never given."""
    area, group, serial = digits[:3], digits[3:5], digits[5:]
    return area not in ("000", "666") and area[0] != "9" and group != "00" and serial != "0000"


def weighted(digits: str, weights: Sequence[int]) -> int:
    """Sum of digits times weights."""
    return sum(map(mul, map(int, digits), weights))


def cpf(digits: str) -> bool:
    """Brazil: two check digits mod 11, not all digits the same."""
    if len(set(digits)) == 1:
        return False
    for length in (9, 10):
        remainder = sum(int(d) * w for d, w in zip(digits[:length], range(length + 1, 1, -1), strict=True)) * 10 % 11
        if remainder % 10 != int(digits[length]):
            return False
    return True


def dni(text: str) -> bool:
    """Spain, DNI and NIE: the letter is the number mod 23."""
    number = text[:-1].translate(NIE)
    return "TRWAGMYFPDXBNJZSQVHLCKE"[int(number) % 23] == text[-1]


def codice_fiscale(text: str) -> bool:
    """Italy: odd and even places have values of their own, the last letter is their sum mod 26; the day exists.

    Of people with the same code digits became letters, from the right (omocodia).
    """
    if not FISCAL_FORM.fullmatch(text):
        return False
    day = int("".join(OMOCODIA.get(c, c) for c in text[9:11])) % 40
    even = sum(int(c) if c.isdigit() else ord(c) - 65 for c in text[1:15:2])
    return 1 <= day <= 31 and chr(65 + (even + sum(FISCAL_ODD[c] for c in text[0:15:2])) % 26) == text[15]


def nir(text: str) -> bool:
    """France: 97 minus the number mod 97; Corsica's 2A and 2B count as 19 and 18; months 1 to 12, and 20 up where none is known."""
    number = text[:13].replace("2A", "19").replace("2B", "18")
    month = int(text[3:5])
    return (1 <= month <= 12 or month >= 20) and number.isdigit() and 97 - int(number) % 97 == int(text[13:])


def pesel(digits: str) -> bool:
    """Poland: weights 1 3 7 9, and a day that exists; the month holds the century."""
    check = -weighted(digits[:10], PESEL) % 10
    century, month = divmod(int(digits[2:4]), 20)
    year = (1900, 2000, 2100, 2200, 1800)[century] + int(digits[:2])
    return check == int(digits[10]) and _is_day(year, month, int(digits[4:6]))


def _is_day(year: int, month: int, day: int) -> bool:
    return 1 <= month <= 12 and 1 <= day <= monthrange(year, month)[1]


def bsn(digits: str) -> bool:
    """Netherlands: the eleven test, 9 8 7 ... 2 -1."""
    return digits != "0" * 9 and weighted(digits, BSN) % 11 == 0


def steuer_id(digits: str) -> bool:
    """Germany: ISO 7064 mod 11,10; no leading zero; of the first ten digits one stands twice or three times, no other twice."""
    repeated = [count for count in Counter(digits[:10]).values() if count > 1]
    if len(repeated) != 1 or repeated[0] > 3:
        return False
    product = 10
    for digit in digits[:10]:
        total = (int(digit) + product) % 10 or 10
        product = total * 2 % 11
    return digits[0] != "0" and (11 - product) % 10 == int(digits[10])

"""Public IP addresses, as a whole: with a prefix that maps them, a zone, a port that cannot be told from them."""

import ipaddress
import re
from collections.abc import Iterator

from llmtrain_jobs.curation.pii.text import NEAR, WORD, Span, Text, ending, words

IPV4 = re.compile(r"\d(?<![A-Za-z0-9.].)\d{0,2}\.\d{1,3}\.\d{1,3}\.\d{1,3}(?![A-Za-z0-9]|\.\d)", re.ASCII)
IPV6 = re.compile(r"[0-9A-Fa-f]{0,4}+:[0-9A-Fa-f]{0,4}+:[0-9A-Fa-f:.]*+(?:%[A-Za-z0-9]{1,15})?")
PUBLIC_V6 = re.compile(r"[23][0-9A-Fa-f]{3}:|64:|ffff:|\.", re.IGNORECASE)
"""Stands in an address that `is_public_v6` takes."""
WHOLE_V6 = 7
"""Colons of an address that leaves nothing out."""
WRITTEN_OUT = re.compile(r"^(?=.*[A-Fa-f])[0-9A-Fa-f]{3,4}:[0-9A-Fa-f]{3,4}:")
"""Begins such an address in a range that nobody has yet; neither times nor a card's hardware address do."""
LONGEST_IPV6 = 61
"""With a zone."""
MOST_LISTED = 4
"""Numbers of a list before the one in question."""
FIRST = 30
"""No version begins with this, nor has it numbers of three digits."""
LEADING_ZERO = re.compile(r"(?<!\d)0\d")
THINGS = words(
    "v ver vers version versions release releases rel firmware build section sections sect sec clause clauses chapter article"
    " paragraph appendix figure table rule rev revision oid item step part §"
    " java jdk jre python node chrome chromium firefox safari opera edge windows android ios kernel driver player flash plugin sdk"
    " objectidentifier object"
)
"""Words before four numbers with dots that are no address."""
CHANGES = ("upgrad", "updat", "downgrad", "migrat", "bump")
"""Beginnings of words before `to` and `from`."""
OPERATORS = ("==", ">=", "<=", "~=", "!=", "^", "~")
LATER = re.compile(r",? (?:or|and) (?:later|newer|above|higher|earlier|older|up)(?![a-z])|\+", re.ASCII)
HOSTS = words(
    "ip ips ipv address addresses addr hostname nameserver resolver dns ping pinged port gateway router login ssh ftp telnet"
    " connect connected connection connecting src dst subnet peer listen whois visitor inet"
)
"""Words near four numbers that are an address."""
AT_HOSTS = words("from at host client")
"""The same right before them."""
HOST_BEHIND = re.compile(r":\d{1,5}(?![\d.])|/\d{1,2}(?![\d.])| - ")
SPECIAL_V4 = frozenset({100, 169, 172, 192, 198, 203})
"""First numbers under which some networks are public and some are not."""
NO_PUBLIC_V4 = frozenset({0, 10, 127, *range(224, 256)})
HOLD_V4 = frozenset({0, 0xFFFF, 0xFFFF0000, 0x64FF9B << 64})
"""Upper 96 bits of compatible, mapped, translated (RFC 2765) and NAT64 addresses: the rest is an IPv4 address."""
UNICAST = 1
"""Upper 3 bits of 2000::/3."""
DOCUMENTATION = ((96, 0x20010DB8), (108, 0x3FFF0), (80, 0x200100020000), (100, 0x2001001))
"""Bits behind, and the value of those before: documentation, benchmarks, ORCHID."""


def addresses(text: Text) -> Iterator[Span]:
    """Public IPv4 and IPv6 addresses; not versions, sections and identifiers of objects that look like one."""
    longer = list(_ipv6(text.plain)) if ":" in text.plain else []
    yield from longer
    if "." in text.plain:
        ends = 0
        for found in IPV4.finditer(text.plain):
            while ends < len(longer) and longer[ends][1] <= found.start():
                ends += 1
            within = ends < len(longer) and longer[ends][0] <= found.start()
            if not within and is_public_v4(found.group()) and _is_address(text.plain, *found.span()):
                yield found.span()


def _is_address(text: str, start: int, end: int) -> bool:
    """Whether four numbers are no version, section or identifier."""
    before, behind = text[max(0, start - NEAR) : start].lower(), text[end : end + NEAR].lower()
    lettered = before.islower() or "§" in before
    if (lettered and _is_a_things(before)) or before.endswith(OPERATORS) or LATER.match(behind):
        return False
    if _is_no_version(text[start:end]) or before.endswith(("//", "@", "[")) or HOST_BEHIND.match(behind):
        return True
    last = ending(before) if lettered else []
    if last and last[-1] in AT_HOSTS:
        return True
    return (lettered or behind.islower()) and not HOSTS.isdisjoint(WORD.findall(before) + WORD.findall(behind))


def _is_no_version(text: str) -> bool:
    """By the size of its numbers."""
    sizes = list(map(len, text.split(".")))
    return sizes.count(3) > 1 or sizes[0] == 3 or sizes[1] == 3 or (3 in sizes and int(text[: sizes[0]]) >= FIRST)


def _is_a_things(before: str) -> bool:
    """Whether the words before four numbers speak of a version, a section or an identifier, or of a list of such."""
    if before.endswith(("/", "-", "_")) and before[-2:-1].isalpha():
        return True
    head = before
    for _ in range(MOST_LISTED):
        head = head.rstrip(" ()\"'").removesuffix(" v").rstrip("0123456789. ,:#\"'(")
        if head.endswith(OPERATORS):
            return True
        listed = head.removesuffix(" and").removesuffix(" or").removesuffix(" through")
        if listed == head or not listed[-1:].isdecimal():
            break
        head = listed
    last = ending(head)
    if not last:
        return False
    changed = last[-1] in ("to", "from") and last[0].startswith(CHANGES)
    return last[-1] in THINGS or changed


def is_public_v4(text: str) -> bool:
    """Whether four numbers with dots are the address of one machine that all can reach."""
    numbers = list(map(int, text.split(".")))
    if max(numbers) > 255 or numbers[0] in NO_PUBLIC_V4 or LEADING_ZERO.search(text):
        return False
    return numbers[0] not in SPECIAL_V4 or ipaddress.IPv4Address(text).is_global


def _ipv6(text: str) -> Iterator[Span]:
    for found in IPV6.finditer(text):
        run, start = found.group(), found.start()
        if not PUBLIC_V6.search(run) and run.count(":") < WHOLE_V6:
            continue
        if start and text[start - 1].isascii() and (text[start - 1].isalnum() or text[start - 1] == "_"):
            cut = run.index(":") + 1
            run, start = run[cut:], start + cut
        run = run.rstrip(".")
        glued = text[found.end() : found.end() + 1]
        if glued.isascii() and (glued.isalnum() or glued == "_") and "%" not in run:
            continue
        for begin, end, tried in _readings(run):
            if is_public_v6(tried):
                yield start + begin, start + end
                break


def _readings(run: str) -> Iterator[tuple[int, int, str]]:
    """(begin, end, address) of what a run may be: all, without the colon of a sentence, of a word before, of a port behind."""
    if "::" not in run and run.count(":") < 6:
        return
    begin = 1 if run.startswith(":") and not run.startswith("::") else 0
    whole = run[begin:]
    if whole.endswith(":") and not whole.endswith("::"):
        whole = whole[:-1]
    yield begin, begin + len(whole), whole
    groups = whole.split(":", 8)
    if len(groups) == 9 and groups[8].isdecimal():
        yield begin, begin + len(whole), ":".join(groups[:8])


def is_public_v6(text: str) -> bool:
    """Whether this is an address that all can reach, or holds an IPv4 address that is."""
    if len(text) > LONGEST_IPV6:
        return False
    try:
        parsed = ipaddress.IPv6Address(text)
    except ValueError:
        return False
    address = int(parsed)
    if text.count(":") == WHOLE_V6 and WRITTEN_OUT.search(text):
        return parsed.is_global
    if address >> 32 in HOLD_V4:
        return is_public_v4(str(ipaddress.IPv4Address(address & 0xFFFFFFFF)))
    return address >> 125 == UNICAST and not any(address >> behind == value for behind, value in DOCUMENTATION)

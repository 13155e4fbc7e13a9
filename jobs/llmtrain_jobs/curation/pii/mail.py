"""E-mail addresses."""

import re
from collections.abc import Iterator

from llmtrain_jobs.curation.pii.text import Span, Text, words

LATIN = "".join(map(chr, [*range(0xC0, 0xD7), *range(0xD8, 0xF7), *range(0xF8, 0x250)]))
GREEK_AND_CYRILLIC = "".join(map(chr, [*range(0x386, 0x400), *range(0x400, 0x482), *range(0x48A, 0x530)]))
ASCII = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
LETTERS = ASCII + LATIN + GREEK_AND_CYRILLIC
"""Scripts whose words have blanks between them; a Chinese word may stand right before an address."""
LOCAL = LETTERS + "._%+'&-"
LONGEST_LOCAL = 64
QUOTES = "'&-"
"""May stand within, not at the beginning."""

LABEL = r"[A-Za-z0-9À-ÖØ-öø-ɏ](?:[A-Za-z0-9À-ÖØ-öø-ɏ-]{0,61}[A-Za-z0-9À-ÖØ-öø-ɏ])?"
DOMAIN = re.compile(
    rf"@((?:{LABEL}\.){{1,10}}(?:xn--[A-Za-z0-9-]{{1,58}}[A-Za-z0-9]|[A-Za-z]{{2,24}}))(?![A-Za-z0-9_])"
)
FILES = words(
    "png jpg jpeg gif svg webp avif ico bmp tif tiff psd css scss sass less js mjs cjs jsx ts tsx json html htm xml yml"
    " yaml toml ini cfg conf txt csv tsv log pdf doc docx xls xlsx ppt pptx gz tgz bz2 xz rar jar exe dll whl deb rpm"
    " mp3 mp4 wav avi ttf woff woff2 eot java cpp hpp lua php sql vue"
)
"""Endings of files that are no top-level domains."""
KNOWN = words("com org net edu gov mil int info biz name io")
DENSITY = re.compile(r"@\dx\.")
PATH = re.compile(r":(?:~?/|[\w.~-]+(?:/[\w.~-]+)*(?:\.git)?(?![\w@.]))", re.ASCII)
AUTHORITY = re.compile(r"://[^\s/?#,;<>\"']*$")
LONGEST_AUTHORITY = 80
REPOSITORIES = frozenset({"git", "hg", "svn"})


def emails(text: Text) -> Iterator[Span]:
    """Addresses with a name before the sign and a top-level domain of letters behind it; not what code has such signs for."""
    if "@" not in text.plain:
        return
    for found in DOMAIN.finditer(text.plain):
        start = _start(text.plain, found.start())
        if start < found.start() and _is_mail(text.plain, start, found):
            yield start, found.end()


def _start(text: str, sign: int) -> int:
    """Where the local part begins; the sign's own place: there is none."""
    head = text[max(0, sign - LONGEST_LOCAL - 1) : sign]
    local = head[len(head.rstrip(LOCAL)) :]
    if len(local) > LONGEST_LOCAL or not local.strip("._%+'&-"):
        return sign
    return sign - len(local.lstrip(QUOTES))


def _is_mail(text: str, start: int, found: re.Match[str]) -> bool:
    ending = found.group(1).rpartition(".")[2].lower()
    if ending in FILES or DENSITY.match(text, found.start()):
        return False
    if AUTHORITY.search(text, max(0, start - LONGEST_AUTHORITY), start):
        return False
    behind = text[found.end() : found.end() + 1]
    if behind in ("(", "[") and len(ending) > 2 and ending not in KNOWN:
        return False
    return not (behind in (":", "/") and _is_remote_path(text, start, found))


def _is_remote_path(text: str, start: int, found: re.Match[str]) -> bool:
    """`git@host:owner/name` and `user@host:/folder`, as scp writes them; not `address:password`."""
    if text[start : found.start()] in REPOSITORIES:
        return True
    path = PATH.match(text, found.end())
    return path is not None and (path.group().startswith((":/", ":~/")) or path.group().endswith(".git"))

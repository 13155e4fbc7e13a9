"""Characters of a page: by its byte order mark; as UTF-8 if it is that; by HTTP's header, by the page's own word, by its looks.

Names of charsets mean what they mean to browsers (WHATWG): `gb2312` is GB 18030, `euc-kr` is CP 949, `iso-8859-1` is
windows-1252. A name that the bytes contradict is passed over.
"""

import codecs
import re
from dataclasses import dataclass

from chardetng_py import EncodingDetector

MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
HEAD = 1 << 16
"""Bytes in which a page may name its charset; browsers take 1,024, and pages name it later."""
COMMENT = re.compile(rb"<!--.*?(?:-->|$)", re.DOTALL)
NAMED = re.compile(
    rb"""<(?:meta\b[^>]{0,1000}?\bcharset|\?xml\b[^>]{0,200}?\bencoding)\s*=\s*["']?\s*([A-Za-z0-9_:.+-]{2,40})""",
    re.IGNORECASE,
)
TAG = re.compile(rb"<[^<>]{0,5000}>")
LANGUAGE = re.compile(rb"""<html\b[^>]{0,500}?\blang\s*=\s*["']?([a-z]{2})\b""", re.IGNORECASE)
COUNTRIES = {
    "ar": "sa", "cs": "cz", "da": "dk", "el": "gr", "et": "ee", "fa": "ir", "he": "il", "ja": "jp", "ko": "kr", "sl": "si", "sr": "rs",
    "sv": "se", "uk": "ua", "vi": "vn", "zh": "cn",
}  # fmt: skip
"""Of languages whose code is not their country's; the detector knows texts by countries."""
LOOKED_AT = 1 << 15
"""Bytes that looks are judged by: 0.1 s at most."""
COUNTED = 1 << 20
BROKEN_PER_CHARACTER = 0.02
"""Most of the characters beyond ASCII that may be broken: cut words, a stray byte of an advertisement."""
MULTIBYTE = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")
HIGH, HIGH_BYTES = re.compile(rb"[\x80-\xff]"), bytes(range(128, 256))
ISO_2022_JP = re.compile(rb"\x1b(?:\$[@B]|\([JI])")
ALIASES = {
    "gb18030": "gb2312 gb_2312 gb_2312-80 gb-2312 x-gbk gbk cp936 ms936 windows-936 chinese csgb2312 iso-ir-58 gb18030 gb18030-2000",
    "cp949": "euc-kr euckr cp949 uhc ks_c_5601-1987 ks_c_5601-1989 ksc5601 ksc_5601 ks_c_5601 windows-949 ms949 korean x-windows-949",
    "big5hkscs": "big5 big5-hkscs big-5 cn-big5 csbig5 x-x-big5 big5hkscs cp950 windows-950",
    "cp932": "shift_jis shift-jis sjis x-sjis ms_kanji ms932 windows-31j csshiftjis cp932",
    "euc_jp": "euc-jp x-euc-jp eucjp euc_jp cseucpkdfmtjapanese",
    "iso2022_jp_2": "iso-2022-jp csiso2022jp",
    "hz": "hz-gb-2312 hz",
    "iso2022_kr": "iso-2022-kr csiso2022kr",
    "cp1252": "iso-8859-1 iso8859-1 iso88591 iso_8859-1 latin1 latin-1 l1 ascii us-ascii ansi_x3.4-1968 cp819 windows-1252 cp1252 x-cp1252 ansi x-user-defined",
    "cp1250": "windows-1250 cp1250 x-cp1250 win-1250",
    "cp1251": "windows-1251 cp1251 x-cp1251 win-1251 win1251 windows1251",
    "cp1253": "windows-1253 cp1253 x-cp1253",
    "cp1254": "windows-1254 cp1254 x-cp1254 iso-8859-9 iso8859-9 iso_8859-9 latin5 l5",
    "cp1255": "windows-1255 cp1255 x-cp1255",
    "cp1256": "windows-1256 cp1256 x-cp1256",
    "cp1257": "windows-1257 cp1257 x-cp1257",
    "cp1258": "windows-1258 cp1258 x-cp1258",
    "cp874": "windows-874 cp874 tis-620 tis620 iso-8859-11 iso8859-11 dos-874",
    "cp866": "ibm866 cp866 csibm866 866 dos-866",
    "koi8_r": "koi8-r koi koi8 koi8_r cskoi8r",
    "koi8_u": "koi8-u koi8-ru koi8_u",
    "iso8859_8": "iso-8859-8 iso-8859-8-i iso-8859-8-e logical visual hebrew iso8859-8",
    "mac_roman": "macintosh mac x-mac-roman csmacintosh",
    "mac_cyrillic": "x-mac-cyrillic x-mac-ukrainian",
    "utf-8": "utf-8 utf8 unicode-1-1-utf-8 unicode-utf-8 utf_8 x-unicode20utf8",
    "utf-16-le": "utf-16 utf-16le unicode csunicode iso-10646-ucs-2 ucs-2 utf16",
    "utf-16-be": "utf-16be unicodefffe",
    **{f"iso8859_{n}": f"iso-8859-{n} iso8859-{n} iso_8859-{n} iso8859_{n}" for n in (2, 3, 4, 5, 6, 7, 10, 13, 14, 15, 16)},
}  # fmt: skip
CODECS = {alias: codec for codec, aliases in ALIASES.items() for alias in aliases.split()}
SIXTEEN = ("utf-16-le", "utf-16-be")


@dataclass(frozen=True)
class Characters:
    """A page's characters, and the codec that its bytes were read by."""

    text: str
    codec: str


def characters_of(page: bytes, declared: str = "", domain: str = "") -> Characters:
    """Of a page. `declared`: charset of the HTTP header; `domain`: the last label of its host."""
    for mark, codec in MARKS:
        if page.startswith(mark):
            return _read(page[len(mark) :], codec)
    if codec := sixteen_bits(page):
        return _read(page, codec)
    if page.isascii():
        return _read(page, seven_bits(page))
    if (text := as_utf8(page)) is not None:
        return Characters(text, "utf-8")
    for name in (declared, named_within(page)):
        codec = CODECS.get(name.strip().strip("\"'").lower(), "")
        if codec and codec not in ("utf-8", *SIXTEEN) and (held := held_by(page, codec)) is not None:
            return Characters(held, codec)
    return _read(page, by_looks(page, domain))


def _read(page: bytes, codec: str) -> Characters:
    return Characters(page.decode(codec, "replace"), codec)


def sixteen_bits(page: bytes) -> str:
    """UTF-16 without a mark has NUL in every other byte of its markup."""
    first = page[:1024]
    even, odd = first[::2].count(0), first[1::2].count(0)
    most = max(even, odd)
    if most < len(first) // 8 or most < 8 * min(even, odd) or most < 4:
        return ""
    return "utf-16-le" if odd > even else "utf-16-be"


def seven_bits(page: bytes) -> str:
    """The codec of a page of ASCII alone: that, or what is written with it (ISO 2022 and HZ)."""
    if ISO_2022_JP.search(page):
        return "iso2022_jp_2"
    if b"\x1b$)C" in page[:HEAD]:
        return "iso2022_kr"
    return "hz" if CODECS.get(named_within(page).lower()) == "hz" else "ascii"


def as_utf8(page: bytes) -> str | None:
    """The page if it is UTF-8, cut within its last character, or with one byte in twenty characters that is not."""
    try:
        return page.decode()
    except UnicodeDecodeError as error:
        if error.end < len(page) or error.reason != "unexpected end of data":
            sample = page[:COUNTED]
            characters = MULTIBYTE.findall(sample)
            stray = len(sample) - len(sample.translate(None, HIGH_BYTES)) - sum(map(len, characters))
            if len(characters) < 20 * stray:
                return None
    return page.decode("utf-8", "replace")


def named_within(page: bytes) -> str:
    """The charset that the page names itself; empty if it does not."""
    found = NAMED.search(COMMENT.sub(b"", page[:HEAD]))
    return found[1].decode("ascii") if found else ""


def held_by(page: bytes, codec: str) -> str | None:
    """The page by a charset that was named; nothing where too much of it is no text in that charset."""
    try:
        text = page.decode(codec, "replace")
    except LookupError:
        return None
    broken = text.count("\ufffd")
    beyond = len(text) - len(text.encode("ascii", "ignore"))
    return text if broken <= 1 + BROKEN_PER_CHARACTER * beyond else None


def by_looks(page: bytes, domain: str) -> str:
    """The codec that a browser would take for a page that names none."""
    shown = TAG.sub(b" ", page[: 8 * LOOKED_AT])
    start = HIGH.search(shown)
    since = max(0, start.start() - 1024) if start else 0
    detector = EncodingDetector()
    detector.feed(shown[since : since + LOOKED_AT], last=False)
    found: str = detector.guess(tld=country_of(page, domain), allow_utf8=False)
    return CODECS.get(found.lower(), "cp1252")


def country_of(page: bytes, domain: str) -> bytes | None:
    """A country's domain, else that of the language which the page says that it is in."""
    if len(domain) == 2 and domain.isascii() and domain.isalpha():
        return domain.lower().encode()
    found = LANGUAGE.search(page[:HEAD])
    if found is None:
        return None
    language = found[1].decode().lower()
    return COUNTRIES.get(language, language).encode() if language != "en" else None

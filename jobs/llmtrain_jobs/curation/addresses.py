"""One form for addresses of pages and hosts, whoever wrote them: a crawler, an exporter or the author of a list."""

import re
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import quote, unquote

import idna

WEB = ("http", "https", "")
BLANKS = re.compile(r"[\t\r\n]")
SCHEME = re.compile(r"(https?):[/\\]*|([a-z][a-z0-9+.-]*):[/\\]{2}|[/\\]{2}|", re.IGNORECASE)
AUTHORITY = re.compile(r"[^/\\?#]*")
DEFAULT_PORTS = ("", "80", "443")
ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})")
UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
ALLOWED = "%/:@!$&'()+,;=?[]|^`{}\"<>\\"
"""What stays as it stands in a path beside letters and digits. A star is escaped: in lists it stands for other pages."""
ROUTES = ("!", "/")
"""First characters of a fragment that names a page of its own."""


@dataclass(frozen=True)
class Address:
    """`host` in Unicode and lower case, without final dots, an IP address in its shortest form; `rest`: path, query, fragment."""

    scheme: str
    host: str
    port: str
    rest: str


def address_of(text: str) -> Address:
    """The parts of a URL, with or without its scheme, in angle brackets or bare. The host is empty where there is none."""
    text = BLANKS.sub("", text).strip()
    if text.startswith("<") and text.endswith(">"):
        text = text[1:-1].strip()
    begin = SCHEME.match(text)
    assert begin is not None  # it matches nothing as well
    found = AUTHORITY.match(text, begin.end())
    authority = found[0] if found else ""
    host, port = _host_and_port(authority.rpartition("@")[2])
    scheme = (begin[1] or begin[2] or "").lower()
    return Address(scheme, host, port, text[begin.end() + len(authority) :])


def _host_and_port(authority: str) -> tuple[str, str]:
    if address := _ip(authority):
        return address, ""
    host, colon, port = authority.rpartition(":")
    if not colon or port.strip("0123456789"):
        host, port = authority, ""
    host = unquote(host).removeprefix("[").removesuffix("]")
    return _ip(host) or _name(host), port


def _ip(host: str) -> str:
    """The shortest form of an IP address; empty for a name. A zone is that of one machine."""
    if ":" not in host and not host.rstrip(".")[-1:].isdigit():
        return ""
    try:
        return ip_address(host.partition("%")[0].rstrip(".")).compressed
    except ValueError:
        return ""


def _name(host: str) -> str:
    """Labels as people write them: what is Punycode is decoded, widths and cases are one."""
    if host.isascii() and "xn--" not in host.lower():
        return host.lower().strip(".")
    try:
        host = idna.uts46_remap(host, std3_rules=False, transitional=False)
        return ".".join(map(_label, host.strip(".").split(".")))
    except idna.IDNAError:
        return host.lower().strip(".")


def _label(label: str) -> str:
    if not label.startswith("xn--"):
        return label
    try:
        return idna.uts46_remap(label[4:].encode().decode("punycode"), std3_rules=False, transitional=False)
    except UnicodeError:  # idna's errors are such too
        return label


def is_ip(host: str) -> bool:
    """Whether a host is an IP address, which has no domains above it."""
    return bool(_ip(host))


def page_of(text: str) -> str:
    """One form of a page's URL: http and https, default ports, users, escapes and dots in the path make no difference.

    Empty for what is no URL: a bare word without a scheme, a scheme without a host.
    """
    address = address_of(text)
    if not address.host or (not address.scheme and "." not in address.host and not is_ip(address.host)):
        return ""
    path, mark, fragment = address.rest.partition("#")
    path, question, query = path.partition("?")
    segments = _without_dots(path.replace("\\", "/") if address.scheme in WEB else path)
    rest = _escaped(segments) + (f"?{_escaped(query)}" if question and query else "")
    rest += f"#{_escaped(fragment)}" if mark and fragment.startswith(ROUTES) else ""
    scheme = "" if address.scheme in WEB else f"{address.scheme}://"
    port = "" if address.port in DEFAULT_PORTS else f":{address.port}"
    return f"{scheme}{address.host}{port}{rest}"


def _without_dots(path: str) -> str:
    """RFC 3986, 5.2.4."""
    kept: list[str] = []
    segments = path.split("/")[1:]
    for number, segment in enumerate(segments):
        if segment in ("..", "%2e%2e", "%2E%2E"):
            del kept[-1:]
        elif segment not in (".", "%2e", "%2E"):
            kept.append(segment)
            continue
        if number == len(segments) - 1:
            kept.append("")
    return "/" + "/".join(kept)


def _escaped(text: str) -> str:
    """Escapes in upper case, and none where none is needed."""

    def one(found: re.Match[str]) -> str:
        character = chr(int(found[1], 16))
        return character if character in UNRESERVED else found[0].upper()

    return ESCAPE.sub(one, quote(text, safe=ALLOWED, errors="replace"))

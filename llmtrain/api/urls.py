"""URLs in a manifest: which fields hold one, what it may look like, and whom it names.

A field that stage pods connect to carries the marker `URL` in its annotation; `urls_of` finds the values by it, so that
a prompt or a description that happens to hold "http://" is nobody's address.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel


@dataclass(frozen=True)
class UrlMarker:
    """Stands in the annotation of a string that may be a URL."""


URL = UrlMarker()
DEFAULT_PORTS = {"http": 80, "https": 443}
_HOST = r"(?:[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?\.?|\[[0-9A-Fa-f:.]+\])"
_PORT = r"(?:[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
HTTP_URL = rf"^https?://{_HOST}(?::{_PORT})?(?:/[^ ?#]*)?$"
"""An address of a server, in the common part of RE2's and Python's languages: no user, no query, a port that exists."""
SHAPE = "http://HOST[:PORT][/PATH] or https://..., with a port from 1 to 65535 and without a user name or query"
_PARTS = re.compile(rf"(?P<scheme>https?)://(?P<host>{_HOST})(?::(?P<port>{_PORT}))?(?:/[^ ?#]*)?")


@dataclass(frozen=True)
class Server:
    """Whom a URL names: a host (an IPv6 address without its brackets) and a port."""

    host: str
    port: int


def server_of(url: str) -> Server | None:
    """The server of an http or https URL; None for what is no such URL."""
    found = _PARTS.fullmatch(url)
    if found is None:
        return None
    return Server(found["host"].strip("[]").lower(), int(found["port"] or DEFAULT_PORTS[found["scheme"]]))


def http_rule(field: str) -> str:
    """CEL: the field is empty or an address of a server."""
    pattern = HTTP_URL.replace("\\", "\\\\")
    return f"self.{field} == '' || self.{field}.matches('{pattern}')"


def urls_of(model: BaseModel, path: str) -> Iterator[tuple[str, str]]:
    """Wire path and value of every non-empty field that carries the marker, `path` being the model's own."""
    for name, info in type(model).model_fields.items():
        where = f"{path}.{info.alias or name}"
        yield from _within(getattr(model, name), info.annotation, URL in info.metadata, where)


def _within(value: Any, kind: Any, marked: bool, path: str) -> Iterator[tuple[str, str]]:
    kind, marked = _plain(kind, marked)
    if isinstance(value, BaseModel):
        yield from urls_of(value, path)
    elif isinstance(value, str) and value and marked:
        yield path, value
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _within(item, get_args(kind)[0], marked, f"{path}[{index}]")
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _within(item, get_args(kind)[1], marked, f"{path}[{key}]")


def _plain(kind: Any, marked: bool) -> tuple[Any, bool]:
    """The annotation without `| None` and `Annotated`, and whether the marker stood there."""
    while get_origin(kind) in (Annotated, Union, UnionType):
        parts = get_args(kind)
        if get_origin(kind) is Annotated:
            kind, marked = parts[0], marked or URL in parts[1:]
        else:
            kind = next(part for part in parts if part is not NoneType)
    return kind, marked

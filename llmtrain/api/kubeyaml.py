"""YAML and JSON as kubectl reads them: what Kubernetes makes of a scalar differs from what PyYAML makes of it.

kubectl parses YAML 1.1 by go-yaml (sigs.k8s.io/yaml), turns it into JSON and sends that. So `3e-3` is a number, `1:30` a text,
`0o17` fifteen, `1.0` the whole number 1 and `yes` true. Here libyaml scans and composes, as its port does there; what
scalars, keys and merges mean is ours. `tests/api` holds the answers against kubectl's own.
"""

import base64
import binascii
import json
import re
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any, Final

import yaml

SEPARATOR, RETURN = "---", "\r"
SPACES = "\t\n\v\f\r \u0085\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
"""What Go trims; Python's own trims four control characters more."""
LARGEST = 500_000
"""Nodes of one document, aliases followed: many times a large manifest, far below what hurts."""
LONGEST_WHOLE = 4000
"""Digits beyond which nothing is a whole number; Python converts no more of them."""
INT64 = range(-(2**63), 2**63)
UINT64 = range(2**64)
CORE = "tag:yaml.org,2002:"
PLAIN: Final = "plain"
"""Tag of a scalar that is neither quoted nor tagged: what it is follows from its text."""

WORDS: Final[dict[str, bool | None]] = {
    **dict.fromkeys(["", "~", "null", "Null", "NULL"]),
    **dict.fromkeys(["y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"], True),
    **dict.fromkeys(["n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"], False),
}
NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
WHOLE = re.compile(r"[-+]?(0[xX][0-9a-fA-F]+|0[oO]?[0-7]+|0[bB][01]+|0|[1-9][0-9]*)")
NUMBER = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
KINDS: Final[dict[str, tuple[type, ...]]] = {
    f"{CORE}int": (int,),
    f"{CORE}float": (int, float),
    f"{CORE}bool": (bool,),
    f"{CORE}null": (type(None),),
}


class TextError(yaml.YAMLError):
    """A text that kubectl cannot parse."""


def documents(text: str) -> list[Any]:
    """The documents of a text, as the JSON that kubectl would send; empty ones are left out. yaml.YAMLError where it sends none."""
    text = text.removeprefix("\ufeff")
    try:
        found, rest = _json_stream(text) if text.lstrip().startswith("{") else ([], text)
        found += [_document(chunk) for chunk in _chunks(rest)]
    except RecursionError as error:
        raise TextError("exceeded max depth") from error
    return [document for document in found if document is not None]


def dump_all(found: Iterable[Any]) -> str:
    """Documents that kubectl reads as they are: texts are in quotes where they would be something else without."""
    return yaml.dump_all(found, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=118)


class Dumper(yaml.SafeDumper):
    """Quotes the texts that YAML 1.1 as PyYAML has it would not: "6e-4"."""


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    plain = NOT_FINITE.fullmatch(value) is None and scalar(value) == value
    return dumper.represent_scalar(f"{CORE}str", value, style=None if plain else "'")


Dumper.add_representer(str, _text)


def _json_stream(text: str) -> tuple[list[Any], str]:
    """JSON, one value behind another, and what is left where that is none: YAML may begin with a brace as well."""
    decoder = json.JSONDecoder(parse_float=_json_number, parse_int=_json_number, parse_constant=_no_constant)
    found: list[Any] = []
    while text := text.lstrip():
        try:
            document, end = decoder.raw_decode(text)
        except json.JSONDecodeError:
            break
        found.append(document)
        text = text[end:]
    return found, text


def _json_number(text: str) -> int | float:
    """Kubernetes refuses what no float holds."""
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise TextError(f"cannot unmarshal number {text[:32]} into Go value of type float64")
    return _int(text) if text.lstrip("-").isdecimal() else _finite(value)


def _no_constant(name: str) -> Any:
    raise TextError(f"invalid character in a JSON value: {name}")


def _chunks(text: str) -> Iterator[str]:
    """Documents are divided by lines, before anything is parsed: a line ends with a line feed here, and with nothing else."""
    chunk: list[str] = []
    for line in text.split("\n"):
        if not line.startswith(SEPARATOR):
            chunk.append(f"{line.removesuffix(RETURN)}\n")
            continue
        rest = line[len(SEPARATOR) :].strip(SPACES)
        if rest and not rest.startswith("#"):
            raise TextError(f"invalid Yaml document separator: {rest}")
        yield "".join(chunk)
        chunk = []
    yield "".join(chunk)


def _document(chunk: str) -> Any:
    node = next(yaml.compose_all(chunk, Loader=_loader()), None)
    return None if node is None else _Reading().value(node)


def _loader() -> type[yaml.SafeLoader]:
    """Composes nodes; the C parser where PyYAML was built with it."""
    fast: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return type("Composer", (fast,), {"yaml_implicit_resolvers": {None: [(PLAIN, re.compile(""))]}})


class _Reading:
    """Values of one document's nodes."""

    def __init__(self) -> None:
        self.seen, self.open = 0, set[int]()

    def value(self, node: yaml.Node) -> Any:
        self.seen += 1
        if self.seen > LARGEST:
            raise TextError("document contains excessive aliasing")
        if isinstance(node, yaml.ScalarNode):
            return scalar(node.value, node.tag)
        if id(node) in self.open:
            raise TextError("an anchor's value contains itself")
        self.open.add(id(node))
        found = self._mapping(node) if isinstance(node, yaml.MappingNode) else [self.value(each) for each in node.value]
        self.open.discard(id(node))
        return found

    def _mapping(self, node: yaml.MappingNode) -> dict[str, Any]:
        """In order: a later key replaces an earlier one, and a merge the keys that stand above it."""
        found: dict[str, Any] = {}
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and (key.tag, key.value) == (PLAIN, "<<"):
                found |= self._merged(value)
            else:
                found[self._key(key)] = self.value(value)
        return found

    def _merged(self, node: yaml.Node) -> dict[str, Any]:
        """Of several, the first that has a key gives it."""
        parts = node.value[::-1] if isinstance(node, yaml.SequenceNode) else [node]
        found: dict[str, Any] = {}
        for part in parts:
            if not isinstance(part, yaml.MappingNode):
                raise TextError("map merge requires map or sequence of maps as the value")
            found |= self.value(part)
        return found

    def _key(self, node: yaml.Node) -> str:
        key = self.value(node)
        if isinstance(key, str):
            return key
        if isinstance(key, bool | int | float):
            return json.dumps(key)
        raise TextError(f"unsupported map key: {json.dumps(key)}")


def scalar(text: str, tag: str = PLAIN) -> Any:
    """What a scalar is; a text in quotes or behind a tag of somebody's own is a text."""
    if tag == PLAIN:
        return _plain(text)
    if tag == f"{CORE}binary":
        try:
            return base64.b64decode(text, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError) as error:
            raise TextError("!!binary value contains invalid base64 data") from error
    if tag not in KINDS:
        return text
    value = _plain(text)
    if type(value) not in KINDS[tag] or (tag == f"{CORE}int" and not WHOLE.fullmatch(text.replace("_", ""))):
        raise TextError(f"cannot decode `{text}` as a !!{tag.removeprefix(CORE)}")
    return value


def _plain(text: str) -> Any:
    if text in WORDS:
        return WORDS[text]
    if NOT_FINITE.fullmatch(text):
        raise TextError(f"unsupported value: {text}")
    if text[0] == ".":
        return _float(text, text) if NUMBER.fullmatch(text) else text
    return _number(text) if text[0] in "+-0123456789" else text


def _number(text: str) -> Any:
    """Of what begins like one; the text where it is none."""
    plain = text.replace("_", "")
    if len(plain) <= LONGEST_WHOLE and WHOLE.fullmatch(plain):
        value = _whole(plain)
        if value in INT64 or (value in UINT64 and plain[0] != "+"):
            return _int(value)
    return _float(plain, text) if NUMBER.fullmatch(plain) else text


def _whole(text: str) -> int:
    """Go's base 0: a leading zero means octal, with or without an `o`."""
    digits = text.lstrip("+-")
    octal = len(digits) > 1 and digits.isdecimal() and digits[0] == "0"
    value = int(digits, 8 if octal else 0)
    return -value if text[0] == "-" else value


def _float(plain: str, text: str) -> Any:
    """The text where it is out of range."""
    value = float(plain)
    return text if value in (float("inf"), float("-inf")) else _finite(value)


def _finite(value: float) -> int | float:
    """JSON writes a whole number by its shortest digits and without a fraction, so that it is read back as one."""
    written = Decimal(repr(value))
    return int(written) if written == written.to_integral_value() and int(written) in INT64 else value


def _int(value: int | str) -> int | float:
    """Beyond 64 bits Kubernetes' JSON has a float."""
    whole = int(value)
    return whole if whole in INT64 else float(whole)

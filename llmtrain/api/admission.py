"""What the apiserver says to a manifest of ours, told without a cluster: the same verdict, in its words.

It goes by the CRDs that the chart installs: `schemas.json` is written with them by llmtrain.api.crd. Only what needs
other objects is left out: whether the namespace exists, who may create what, and what a policy of the cluster forbids
besides.
"""

import json
import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from llmtrain.api import API_VERSION
from llmtrain.api.schemacheck import KINDS, Cause, Schema, checked, filled, unknown_fields

OURS = ("LLMTrainingJob", "ComputePlan", "TrainingBudget")
TEXTS = (
    "name",
    "generateName",
    "namespace",
    "selfLink",
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "deletionTimestamp",
)
MAPS = ("labels", "annotations")
OTHERS = ("generation", "deletionGracePeriodSeconds", "finalizers", "ownerReferences", "managedFields")
ANNOTATION_BYTES = 256 * 1024
NAME_BYTES = 253

NAME_PART = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
LABEL_VALUE = f"({NAME_PART})?"
SUBDOMAIN = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
RULES = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character"
)
NAME_PART_SAID = (
    f"name part {RULES} (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '{NAME_PART}')"
)
LABEL_VALUE_SAID = (
    f"a valid label must be an empty string or {RULES.removeprefix('must ')} "
    f"(e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '{LABEL_VALUE}')"
)
SUBDOMAIN_SAID = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end "
    f"with an alphanumeric character (e.g. 'example.com', regex used for validation is '{SUBDOMAIN}')"
)


class ManifestError(ValueError):
    """A manifest that the apiserver refuses; the text is what kubectl prints."""

    def __init__(self, what: str, causes: Sequence[Cause]) -> None:
        lines = list(map(str, causes))
        super().__init__(f"{what} {lines[0]}" if len(lines) == 1 else "\n* ".join([what, *lines]))
        self.what, self.causes = what, tuple(causes)

    def of(self, file: object) -> "ManifestError":
        """The same, of a manifest in a file."""
        return ManifestError(f"{file}: {self.what}", self.causes)


def admitted(body: dict[str, Any]) -> dict[str, Any]:
    """A new object of ours as it will be stored, without its status. ManifestError where the apiserver refuses it."""
    kind = body["kind"]
    version = body.get("apiVersion")
    if version is None:
        raise ManifestError(f"The {kind}", [Cause("error validating data", "apiVersion not set")])
    if version != API_VERSION:
        said = f'no matches for kind "{kind}" in version "{version}"'
        raise ManifestError(f"The {kind}", [Cause("resource mapping not found", said)])
    schema = _schemas()[kind]
    metadata = body.get("metadata") or {}
    undecoded = [*_undecoded(metadata)]
    undecoded += _unknown(schema, body) if isinstance(metadata, dict) else []
    if undecoded:
        said = f'{kind} in version "{API_VERSION.split("/")[1]}" cannot be handled as a {kind}'
        raise ManifestError(f"{said}:", undecoded)
    parts = {"metadata": _named(metadata)} | {key: body[key] for key in ("spec",) if key in body}
    stored: dict[str, Any] = filled(schema, parts)
    found = checked(schema, stored, [*_metadata(metadata)])
    if found:
        raise ManifestError(f'The {kind} "{metadata.get("name", "")}" is invalid:', found)
    return stored | {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata}


@cache
def _schemas() -> dict[str, Schema]:
    """By kind, of the whole object: `metadata` is the apiserver's own, here only its name and maps are looked at."""
    schemas: dict[str, Schema] = json.loads(Path(__file__).with_name("schemas.json").read_text(encoding="utf-8"))
    return schemas


def _named(metadata: dict[str, Any]) -> dict[str, Any]:
    """The apiserver makes a name before it looks at any: the stem and five letters or digits."""
    stem = metadata.get("generateName")
    return metadata | ({"name": f"{stem[:58]}00000"} if stem and not metadata.get("name") else {})


def _unknown(schema: Schema, body: dict[str, Any]) -> list[Cause]:
    """Strict field validation looks at every part, the status too, which a new object does not keep."""
    known = schema["properties"]
    paths = [name for name in body if name not in (*known, "apiVersion", "kind", "metadata")]
    paths += [f"metadata.{name}" for name in body.get("metadata") or {} if name not in (*TEXTS, *MAPS, *OTHERS)]
    paths += [path for name in known if name in body for path in unknown_fields(known[name], body[name], name)]
    return [Cause("strict decoding error", ", ".join(f'unknown field "{path}"' for path in paths))] if paths else []


def _undecoded(metadata: Any) -> Iterator[Cause]:
    """What does not become Go's ObjectMeta."""
    if not isinstance(metadata, dict):
        yield _not_decoded(metadata, "metadata", "v1.ObjectMeta")
        return
    for name in TEXTS:
        if not isinstance(metadata.get(name, ""), str | None):
            yield _not_decoded(metadata[name], name, "string")
    for name in MAPS:
        entries = metadata.get(name)
        if not isinstance(entries := {} if entries is None else entries, dict):
            yield _not_decoded(entries, name, "map[string]string")
            continue
        yield from (_not_decoded(v, name, "string") for v in entries.values() if not isinstance(v, str | None))


def _not_decoded(value: Any, field: str, wanted: str) -> Cause:
    kind = {"integer": "number", "boolean": "bool"}.get(KINDS[type(value)], KINDS[type(value)])
    return Cause("json", f"cannot unmarshal {kind} into Go struct field ObjectMeta.{field} of type {wanted}")


def _metadata(metadata: dict[str, Any]) -> Iterator[Cause]:
    """Names, labels and annotations by the rules that hold for every object."""
    name = metadata.get("name") or ""
    if not name and not metadata.get("generateName"):
        yield Cause("metadata.name", "Required value: name or generateName is required", blocks=True)
    if len(name) > NAME_BYTES:
        yield Cause("metadata.name", f'Invalid value: "{name}": must be no more than {NAME_BYTES} bytes')
    if name and not re.fullmatch(SUBDOMAIN, name):
        yield Cause("metadata.name", f'Invalid value: "{name}": {SUBDOMAIN_SAID}')
    for key, value in (metadata.get("labels") or {}).items():
        yield from _key("metadata.labels", key)
        if len(value or "") > 63:
            yield Cause("metadata.labels", f'Invalid value: "{value}": must be no more than 63 bytes')
        if not re.fullmatch(LABEL_VALUE, value or ""):
            yield Cause("metadata.labels", f'Invalid value: "{value}": {LABEL_VALUE_SAID}')
    annotations = metadata.get("annotations") or {}
    for key in annotations:
        yield from _key("metadata.annotations", key.lower())
    if sum(len(f"{key}{value or ''}".encode()) for key, value in annotations.items()) > ANNOTATION_BYTES:
        yield Cause("metadata.annotations", f"Too long: may not be more than {ANNOTATION_BYTES} bytes")


def _key(field: str, key: str) -> Iterator[Cause]:
    """A qualified name."""
    *prefix, name = key.split("/")
    if len(prefix) > 1 or not re.fullmatch(NAME_PART, name):
        yield Cause(field, f'Invalid value: "{key}": {NAME_PART_SAID}')
    if len(name) > 63:
        yield Cause(field, f'Invalid value: "{key}": name part must be no more than 63 bytes')
    if prefix and not re.fullmatch(SUBDOMAIN, prefix[0]):
        yield Cause(field, f'Invalid value: "{key}": prefix part {SUBDOMAIN_SAID}')

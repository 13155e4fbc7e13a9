"""What is known to be vulnerable in an image, from its bill of materials and from what can be had without a scanner.

Python: records in OSV's form (https://ossf.github.io/osv-schema/), a folder of YAML or JSON files such as a copy of
github.com/pypa/advisory-database. Debian: the security suite of the archive that the base comes from; an image that
lacks an update of it has a hole with a number. What somebody has looked at stands in `images/accepted.toml`, with a
reason and a day on which it is to be looked at again.
"""

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import yaml
from packaging.version import InvalidVersion, Version

ACCEPTED = Path(__file__).resolve().parents[2] / "images" / "accepted.toml"
Record = Mapping[str, Any]
Known = dict[str, list[Record]]
"""Records by normal name of the package."""


@dataclass(frozen=True)
class Finding:
    """One hole of one package in one image."""

    image: str
    package: str
    version: str
    identity: str
    text: str
    accepted: str = ""
    """Why it is accepted; empty: it is not."""


def advisories(folder: Path) -> Known:
    """All records of PyPI below `folder` that are not withdrawn."""
    known: Known = {}
    for file in sorted(folder.rglob("*")):
        if file.suffix in (".yaml", ".json"):
            record = parsed(file)
            for name in {normal(each["package"]["name"]) for each in affected(record)}:
                known.setdefault(name, []).append(record)
    if not known:
        sys.exit(f"{folder}: no record of PyPI in OSV's form is in there")
    return known


def parsed(file: Path) -> Record:
    """A record; an empty one where the file is none or was withdrawn."""
    text = file.read_text()
    body = json.loads(text) if file.suffix == ".json" else yaml.load(text, yaml.CSafeLoader)
    return body if isinstance(body, dict) and "id" in body and not body.get("withdrawn") else {}


def affected(record: Record) -> list[Record]:
    """What a record says of packages of PyPI."""
    return [each for each in record.get("affected", []) if each.get("package", {}).get("ecosystem") == "PyPI"]


def normal(name: str) -> str:
    """A distribution's name as PyPI compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def is_affected(record: Record, name: str, version: str) -> bool:
    """OSV's rule: the version is listed, or lies in a range."""
    for each in affected(record):
        if normal(each["package"]["name"]) == name:
            ranges = [r["events"] for r in each.get("ranges", []) if r["type"] == "ECOSYSTEM"]
            if version in each.get("versions", []) or any(in_range(events, version) for events in ranges):
                return True
    return False


def in_range(events: Sequence[Mapping[str, str]], version: str) -> bool:
    """Whether the last event at or before the version leaves it vulnerable; a local version counts as its public one."""
    try:
        mine = Version(version.split("+")[0])
        vulnerable = False
        for event in events:
            kind, text = next(iter(event.items()))
            at = Version("0") if text == "0" else Version(text)
            if kind == "introduced" and at <= mine:
                vulnerable = True
            if (kind == "fixed" and at <= mine) or (kind == "last_affected" and at < mine):
                vulnerable = False
    except InvalidVersion:
        return False
    return vulnerable


def security_updates(root: Path, sources: Path, scratch: Path) -> dict[str, tuple[str, str]]:
    """Debian packages of an image with a newer version in the security suite: what they have, what there is."""
    lists = scratch / "lists"
    (lists / "partial").mkdir(parents=True)
    options = [f"Dir::Etc::sourcelist={sources}", "Dir::Etc::sourceparts=-", f"Dir::State::lists={lists}",
               f"Dir::State::status={root / 'var/lib/dpkg/status'}", "Dir::State::extended_states=/dev/null",
               f"Dir::Cache={scratch}"]  # fmt: skip
    apt = ["apt-get", *[part for option in options for part in ("-o", option)]]
    for arguments in (["-q", "update"], ["-s", "-q", "dist-upgrade"]):
        done = subprocess.run([*apt, *arguments], capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"apt-get {' '.join(arguments)} failed:\n{done.stderr[-2000:]}")
    return dict(updates_in(done.stdout))


def updates_in(simulation: str) -> Iterator[tuple[str, tuple[str, str]]]:
    """`Inst NAME [OLD] (NEW Debian-Security:...)` of apt's simulation."""
    for name, old, new in re.findall(r"^Inst (\S+) \[(\S+)\] \((\S+) [^)]*-[Ss]ecurity", simulation, re.MULTILINE):
        yield name, (old, new)


def findings(
    image: str, bill: Mapping[str, Any], known: Known, updates: Mapping[str, tuple[str, str]]
) -> list[Finding]:
    """All of one image, with what was accepted of them."""
    found = [
        Finding(image, name, old, f"{name}@{new}", f"security update {new}") for name, (old, new) in updates.items()
    ]
    for component in bill["components"]:
        if component["purl"].startswith("pkg:pypi/"):
            name, version = normal(component["name"]), component["version"]
            found += [
                Finding(image, name, version, record["id"], summary(record))
                for record in known.get(name, [])
                if is_affected(record, name, version)
            ]
    reasons = accepted(datetime.now(UTC).date())
    return [replace(each, accepted=reasons.get((each.package, each.identity), "")) for each in found]


def summary(record: Record) -> str:
    """Its other names and its first words."""
    names = ", ".join(record.get("aliases", []))
    words = " ".join(str(record.get("summary") or record.get("details", "")).split())
    return f"{names}: {words[:160]}" if names else words[:160]


def accepted(today: date) -> dict[tuple[str, str], str]:
    """Reasons by package and identity, of what need not be looked at before a later day."""
    entries = tomllib.loads(ACCEPTED.read_text()).get("accepted", [])
    return {(e["package"], e["id"]): e["reason"] for e in entries if e["until"] > today}


def report(found: Sequence[Finding], packages_known: int) -> int:
    """Print everything; 1 where something is not accepted."""
    for each in found:
        said = f"accepted: {each.accepted}" if each.accepted else each.text
        print(f"{each.image}: {each.package} {each.version}: {each.identity}: {said}")
    left = [each for each in found if not each.accepted]
    python = f"advisories of {packages_known} packages" if packages_known else "NOT looked at: give --advisories FOLDER"
    print(f"{len(left)} findings, {len(found) - len(left)} accepted. Debian: the security suite. Python: {python}.")
    return 1 if left else 0

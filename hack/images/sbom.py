"""What is in an image, as CycloneDX: Debian's packages and Python's distributions, read from its file system.

https://cyclonedx.org/docs/1.6/json: `purl` is what scanners go by. No time and no random number is in it: equal images,
equal bytes.
"""

import email
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Component = dict[str, Any]


def document(name: str, root: Path) -> str:
    """The bill of materials of the file system below `root`."""
    components = sorted([*debian(root), *python(root)], key=lambda c: str(c["purl"]))
    body = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {"type": "container", "name": name.split(":")[0], "version": name.rpartition(":")[2]}
        },
        "components": components,
    }
    return json.dumps(body, indent=1, sort_keys=True) + "\n"


def debian(root: Path) -> Iterator[Component]:
    """Installed packages."""
    for entry in (root / "var" / "lib" / "dpkg" / "status").read_text().split("\n\n"):
        fields = dict(email.message_from_string(entry).items())
        if fields.get("Status", "").endswith(" installed"):
            name, version = fields["Package"], fields["Version"]
            purl = f"pkg:deb/debian/{name}@{version}?arch={fields['Architecture']}"
            yield {"type": "library", "name": name, "version": version, "purl": purl}


def python(root: Path) -> Iterator[Component]:
    """Installed distributions, with the licence that each declares."""
    packages = next((root / "opt" / "venv" / "lib").glob("python3*/site-packages"))
    older = [file if file.is_file() else file / "PKG-INFO" for file in packages.glob("*.egg-info")]
    for file in [*packages.glob("*.dist-info/METADATA"), *older]:
        fields = email.message_from_string(file.read_text(errors="replace"))
        name, version = str(fields["Name"]), str(fields["Version"])
        normal = name.lower().replace("_", "-").replace(".", "-")
        component = {"type": "library", "name": name, "version": version, "purl": f"pkg:pypi/{normal}@{version}"}
        licence = str(fields["License-Expression"] or fields["License"] or "").strip().splitlines()[:1]
        yield component | ({"licenses": [{"license": {"name": licence[0][:120]}}]} if licence else {})

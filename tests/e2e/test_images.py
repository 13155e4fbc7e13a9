"""The images: pinned contents with a bill of materials, no root, nothing of the machine that built them."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import ROOT, tool

IMAGES = ("operator", "jobs")


@pytest.fixture(scope="module")
def bills(images: dict[str, str]) -> dict[str, dict[str, Any]]:
    paths: dict[str, str] = json.loads(tool("hack/images", "sbom"))
    return {name: json.loads(Path(path).read_text()) for name, path in paths.items()}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pinned(file: str) -> dict[str, str]:
    text = (ROOT / "constraints" / file).read_text()
    return {normal(pin): version for pin, version in re.findall(r"^([A-Za-z0-9._-]+)==([^\s;+]+)", text, re.MULTILINE)}


@pytest.mark.parametrize("name", IMAGES)
def test_every_pin_is_in_the_bill_and_every_distribution_is_pinned(name: str, bills: dict[str, dict[str, Any]]) -> None:
    versions = {normal(c["name"]): c["version"] for c in bills[name]["components"] if "pkg:pypi/" in c["purl"]}
    pins = pinned(f"{name}.txt")
    if name == "jobs":
        # torchao is for fp8 on NVIDIA, as its Dockerfile says. PyTorch from the registry has CUDA, a wheel at hand has not.
        del pins["torchao"]
        pins |= {} if versions["torch"].endswith("+cpu") else pinned("cuda.txt")
    found = {name: version.split("+")[0] for name, version in versions.items()}
    assert {pin: found.get(pin) for pin in pins} == pins
    assert set(found) - set(pins) - {"setuptools"} == {"llmtrain"}


@pytest.mark.parametrize("name", IMAGES)
def test_the_base_is_in_the_bill_too(name: str, bills: dict[str, dict[str, Any]]) -> None:
    packages = {c["name"] for c in bills[name]["components"] if c["purl"].startswith("pkg:deb/")}
    assert {"libc6", "python3", "ca-certificates"} <= packages
    assert not packages & {"gcc", "make", "git", "curl", "wget", "openssh-client"}


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_runs_without_root_and_tells_nothing_of_its_builder(name: str, images: dict[str, str]) -> None:
    config = layout_config(images[name])
    assert config["config"]["User"] == "1000:1000"
    text = json.dumps(config)
    assert "index-url" not in text
    assert not re.search(r"(?i)token|password|secret_key", text)


def layout_config(image: str) -> dict[str, Any]:
    cache = Path.home() / ".cache" / "llmtrain" / "images" / "layout"
    blobs = cache / "blobs"

    def blob(digest: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((blobs / digest.replace(":", "/")).read_text())
        return found

    index = json.loads((cache / "index.json").read_text())["manifests"]
    entry = next(e for e in index if e["annotations"]["org.opencontainers.image.ref.name"] == image)
    return blob(blob(entry["digest"])["config"]["digest"])

"""The documents: links lead somewhere, code blocks are what they say, what they name exists, generated pages are current."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main
import yaml
from pydantic import BaseModel
from typer.core import TyperGroup

from llmtrain.api.job import JobSpec
from llmtrain.api.plan import PlanSpec
from llmtrain.cli.main import app

ROOT = Path(__file__).resolve().parents[3]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), ROOT / "charts" / "llmtrain" / "README.md"]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(page: Path) -> list[tuple[str, str]]:
    return [(kind, body) for kind, body in FENCE.findall(page.read_text())]


def prose(page: Path) -> str:
    return re.sub(r"`[^`\n]+`", "", FENCE.sub("", page.read_text()))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_to_a_file_or_a_heading(page: Path) -> None:
    for target in LINK.findall(prose(page)):
        assert "://" not in target, f"{target}: links stay within the repository"
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{name_of(page)}: {target}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", file.read_text(), re.MULTILINE)
            assert anchor in {re.sub(r"[^a-z0-9 -]", "", h.lower()).replace(" ", "-") for h in headings}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_code_blocks_are_what_they_say(page: Path) -> None:
    for kind, body in blocks(page):
        if kind == "yaml":
            list(yaml.safe_load_all(body))
        if kind in ("sh", "console"):
            done = subprocess.run(["bash", "-n"], input=body, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr


def targets() -> set[str]:
    return set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_every_make_target_that_is_named_exists() -> None:
    for page in PAGES:
        named = re.findall(r"(?:^|`)make ([a-z][a-z0-9 -]*?)(?:`| +#|$)", page.read_text(), re.MULTILINE)
        for target in " ".join(named).split():
            assert target in targets(), f"{name_of(page)}: make {target}"


def commands(group: TyperGroup, prefix: str = "") -> Iterator[str]:
    for name, command in group.commands.items():
        yield f"{prefix}{name}"
        if isinstance(command, TyperGroup):
            yield from commands(command, f"{prefix}{name} ")


def test_every_command_that_is_named_exists() -> None:
    root = typer.main.get_command(app)
    assert isinstance(root, TyperGroup)
    known = {name.split()[0] for name in commands(root)}
    for page in PAGES:
        for name in re.findall(r"(?:^|`)llmtrain ([a-z][a-z-]*)", page.read_text(), re.MULTILINE):
            assert name in known, f"{name_of(page)}: llmtrain {name}"


def test_every_alert_and_dashboard_is_in_operations() -> None:
    text = (ROOT / "docs" / "operations.md").read_text()
    for runbook in (ROOT / "docs" / "runbooks").glob("*.md"):
        assert f"runbooks/{runbook.name}" in text
    for page in (ROOT / "charts" / "llmtrain" / "dashboards").glob("*.json"):
        assert f"`llmtrain-{page.stem}`" in text


def test_every_page_can_be_found_from_the_index() -> None:
    text = (ROOT / "docs" / "README.md").read_text()
    for page in (ROOT / "docs").glob("*.md"):
        assert page.name in text


def examples() -> list[dict[str, object]]:
    files = sorted((ROOT / "examples").rglob("*.yaml"))
    return [body for file in files for body in yaml.safe_load_all(file.read_text())]


def test_the_examples_are_valid() -> None:
    models: dict[str, type[BaseModel]] = {"LLMTrainingJob": JobSpec, "ComputePlan": PlanSpec}
    seen = set()
    for body in examples():
        model = models.get(str(body.get("kind")))
        if model:
            model.model_validate(body["spec"])
            seen.add(body["kind"])
    assert seen == set(models)


def test_generated_pages_are_what_the_code_says() -> None:
    done = subprocess.run(
        [sys.executable, "hack/docs", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr

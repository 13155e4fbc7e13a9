"""kubectl reads YAML as the table says, by which the command line's own reading is held; both give the same verdict."""

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from llmtrain.api.admission import ManifestError
from llmtrain.cost.errors import InputError
from llmtrain.pricing.inputs import read_manifests
from tests.api.conftest import Api
from tests.yamlcases import HEAD, SCALARS, SPECS, TEXTS


def read(api: Api, file: Path) -> list[Any] | None:
    """The specs that kubectl would send; None where it cannot parse the file."""
    done = api.run("create", "--dry-run=client", "--validate=false", "-o", "json", "-f", str(file))
    if done.returncode:
        assert "error parsing" in done.stderr, done.stderr
        return None
    decoder, text, found = json.JSONDecoder(parse_int=number), done.stdout.strip(), []
    while text:
        body, end = decoder.raw_decode(text)
        text = text[end:].strip()
        found += [each["spec"] for each in (body["items"] if body["kind"] == "List" else [body])]
    return found


def number(text: str) -> int | float:
    return int(text) if int(text) in range(-(2**63), 2**63) else float(text)


def ask(api: Api, folder: Path, texts: Sequence[str]) -> list[list[Any] | None]:
    files = [folder / f"{n}.yaml" for n in range(len(texts))]
    for file, text in zip(files, texts, strict=True):
        file.write_bytes(text.encode())
    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(lambda file: read(api, file), files))


def spec(text: str) -> str:
    indented = "\n".join(line if line == "..." else f"  {line}" for line in text.split("\n"))
    return f"{HEAD}metadata: {{name: a}}\nspec:\n{indented}\n"


def test_kubectl_reads_yaml_as_the_table_says(api: Api, tmp_path: Path) -> None:
    good = [text for text, value in SPECS.items() if value is not None]
    bad = [text for text, value in SPECS.items() if value is None]
    scalars = spec("\n".join(f"k{n}: {text}" for n, text in enumerate(SCALARS)))
    together = "---\n".join(map(spec, good))
    found = ask(api, tmp_path, [scalars, together, *map(spec, bad), *TEXTS])
    assert found[0] is not None
    assert repr([found[0][0].get(f"k{n}") for n in range(len(SCALARS))]) == repr(list(SCALARS.values()))
    assert found[1] == [SPECS[text] for text in good]
    assert dict(zip(bad, found[2 : 2 + len(bad)], strict=True)) == dict.fromkeys(bad)
    assert dict(zip(TEXTS, found[2 + len(bad) :], strict=True)) == TEXTS


# Fields of a manifest as they may be written, and whether that is let in.
WRITTEN = {
    "suspend: yes": True,
    "suspend: 'yes'": False,
    "suspend: null": True,
    "suspend: 1": False,
    "seed: 0o17": True,
    "seed: 1e3": True,
    "seed: 1_000": True,
    "seed: '7'": False,
    "seed: 0.5": False,
    "seed: 1.0": True,
    "seed: x\n  seed: 7": True,
    "seed: 7\n  seed: x": False,
    "budget: {limitUsd: 40}": False,
    "budget: {limitUsd: '40'}": True,
    "budget: {limitUsd: 1:30}": False,
    "image: 2026-01-02": True,
    "image: 1e6": False,
    "image: 1e6x": True,
    "unknown: 1": False,
    "retry: {rules: [{exitCode: 0x40, action: Fail}]}": True,
    "<<: {seed: 7}": True,
    "<<: {seed: x}": False,
}
BASE = """apiVersion: llmtrain.dev/v1alpha1
kind: LLMTrainingJob
metadata: {name: written}
spec:
  storage: {persistentVolumeClaim: {claimName: llm}}
  curation:
    cluster: {planRef: {name: cpu}}
    sources: [{name: docs, path: docs/*.jsonl}]
  model: {preset: tiny}
  training:
    cluster: {planRef: {name: cpu}}
    tokens: 1e6
"""


def test_kubectl_and_the_command_line_give_the_same_verdict_on_a_file(api: Api, tmp_path: Path) -> None:
    def both(number: int, text: str) -> tuple[bool, bool]:
        file = tmp_path / f"{number}.yaml"
        file.write_text(f"{BASE}  {text}\n")
        done = api.run("create", "--dry-run=server", "-f", str(file))
        assert done.returncode == 0 or "invalid" in done.stderr or "unknown field" in done.stderr, done.stderr
        try:
            read_manifests(file.read_text())
        except (ManifestError, InputError):
            return done.returncode == 0, False
        return done.returncode == 0, True

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(both, range(len(WRITTEN)), WRITTEN))
    assert dict(zip(WRITTEN, found, strict=True)) == {text: (good, good) for text, good in WRITTEN.items()}

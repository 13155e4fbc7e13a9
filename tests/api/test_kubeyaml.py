"""kubectl reads YAML as the table says, by which the command line's own reading is held."""

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

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

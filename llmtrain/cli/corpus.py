"""English prose from what is on the machine already: documentation and docstrings of installed Python packages."""

import ast
import gzip
import json
import sysconfig
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

DOCUMENTS = (".md", ".rst", ".txt")
SHORTEST, LARGEST_FILE = 200, 2_000_000
WORDY = 0.6


def register(app: typer.Typer) -> None:
    """Add `llmtrain corpus`."""
    app.command()(corpus)


def corpus(
    out: Annotated[Path, typer.Option(help="File to write, .jsonl.gz.")],
    max_bytes: Annotated[int, typer.Option(help="Text to gather, bytes.")] = 25_000_000,
) -> None:
    """Gather English prose from the documentation of installed Python packages.

    Example: `llmtrain corpus --out corpus/docs.jsonl.gz`
    """
    with warnings.catch_warnings():
        # Invalid escapes in other people's modules are none of our business.
        warnings.simplefilter("ignore", SyntaxWarning)
        count, size = gather(out, max_bytes, default_folders())
    typer.echo(f"{count} documents, {size} bytes of text in {out}")


def gather(out: Path, max_bytes: int, folders: list[Path]) -> tuple[int, int]:
    """Write one JSON line a document, in a fixed order, up to `max_bytes` of text; documents and bytes."""
    out.parent.mkdir(parents=True, exist_ok=True)
    count = size = 0
    with gzip.GzipFile(out, "wb", mtime=0) as file:
        for source, text in documents(folders):
            if size + len(text.encode()) > max_bytes:
                break
            count, size = count + 1, size + len(text.encode())
            line = json.dumps({"id": f"{count:06d}", "source": source, "text": text}, ensure_ascii=False)
            file.write(line.encode() + b"\n")
    return count, size


def default_folders() -> list[Path]:
    """The standard library and what is installed beside it."""
    paths = sysconfig.get_paths()
    return [Path(paths[name]) for name in ("stdlib", "purelib")]


def documents(folders: list[Path]) -> Iterator[tuple[str, str]]:
    """(where from, text) of every document, duplicates and licence texts among them."""
    for folder in folders:
        for file in sorted(folder.rglob("*")):
            if file.suffix in (*DOCUMENTS, ".py") and file.is_file() and file.stat().st_size < LARGEST_FILE:
                name = str(file.relative_to(folder))
                yield from ((name, text) for text in texts(file) if is_prose(text))


def texts(file: Path) -> Iterator[str]:
    """The file itself, or the docstrings of a Python module."""
    try:
        content = file.read_text()
    except UnicodeDecodeError:
        return
    if file.suffix != ".py":
        yield content
        return
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError, RecursionError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield ast.get_docstring(node) or ""


def is_prose(text: str) -> bool:
    """Long enough, and mostly letters and spaces."""
    letters = sum(character.isalpha() or character == " " for character in text)
    return len(text) >= SHORTEST and letters >= WORDY * len(text)

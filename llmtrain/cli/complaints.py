"""Bad input of the commands: its message and the exit code."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from llmtrain.api.admission import ManifestError
from llmtrain.api.failure import ExitCode
from llmtrain.cli.kubectl import KubectlError
from llmtrain.cost.errors import InputError


@contextmanager
def complaints() -> Iterator[None]:
    """Bad input ends with its message and exit code 64, a cluster out of reach with 69."""
    try:
        yield
    except (InputError, ManifestError) as error:
        raise _exit(str(error), ExitCode.BAD_INPUT) from error
    except KubectlError as error:
        raise _exit(str(error), ExitCode.UNAVAILABLE) from error


def _exit(message: str, code: ExitCode) -> typer.Exit:
    typer.secho(f"error: {message}", err=True, fg=typer.colors.RED)
    return typer.Exit(int(code))


def read_text(path: Path) -> str:
    """A file's text; "-" is standard input."""
    try:
        return typer.get_text_stream("stdin").read() if str(path) == "-" else path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(str(path), f"cannot be read: {error}") from error

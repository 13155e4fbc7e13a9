"""How the command line reaches the cluster: through kubectl, with the user's own configuration and rights."""

import json
import subprocess
from typing import Any

import typer

from llmtrain.text import lines

TIMEOUT_SECONDS = 60


class KubectlError(Exception):
    """What kubectl said when it failed."""


def kubectl(*arguments: str, text: str | None = None) -> str:
    """Run kubectl; its answer. KubectlError carries its message, for people."""
    try:
        done = subprocess.run(
            ["kubectl", *arguments], input=text, capture_output=True, text=True, check=False, timeout=TIMEOUT_SECONDS
        )
    except FileNotFoundError as error:
        raise KubectlError("kubectl is not on the PATH; install it, or run `llmtrain` where it is") from error
    except subprocess.TimeoutExpired as error:
        raise KubectlError(f"kubectl did not answer within {TIMEOUT_SECONDS} s; is the cluster up?") from error
    if done.returncode:
        raise KubectlError(done.stderr.strip() or f"kubectl ended with code {done.returncode}")
    return done.stdout


def kubectl_json(*arguments: str) -> dict[str, Any]:
    """The same, parsed."""
    answer: dict[str, Any] = json.loads(kubectl(*arguments, "-o", "json"))
    return answer


def or_exit(error: KubectlError) -> typer.Exit:
    """Say what is wrong on standard error; the exit to raise."""
    typer.secho(f"error: {lines(str(error))}", err=True, fg=typer.colors.RED)
    return typer.Exit(1)

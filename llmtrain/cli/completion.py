"""`kubectl_complete-llmtrain`: what kubectl runs for completion of `kubectl llmtrain`.

kubectl calls it with the words behind `llmtrain`, the last one being completed, and reads Cobra's form: a line for each
candidate, `value<TAB>help`, and last `:` with the directives
(https://kubernetes.io/docs/tasks/extend-kubectl/kubectl-plugins/, spf13/cobra completions). Typer answers the question
by the protocol of its own fish script.
"""

import contextlib
import io
import os
import shlex
import sys
from collections.abc import Sequence

from typer.main import get_command

from llmtrain.cli.main import app

COMMAND = "llmtrain"
FILES, NO_FILES = 0, 4
"""Cobra's ShellCompDirectiveDefault and ShellCompDirectiveNoFileComp."""


def candidates(words: Sequence[str]) -> list[str]:
    """Candidates for the last word, with their help behind a tab."""
    typed = shlex.join([COMMAND, *words[:-1]]) + " " + (shlex.quote(words[-1]) if words and words[-1] else "")
    asked = {
        f"_{COMMAND.upper()}_COMPLETE": "complete_fish",
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        "_TYPER_COMPLETE_ARGS": typed,
    }
    os.environ.update(asked)
    answer = io.StringIO()
    with contextlib.redirect_stdout(answer), contextlib.suppress(SystemExit):
        get_command(app).main(args=[], prog_name=COMMAND)
    return [line for line in answer.getvalue().splitlines() if line]


def main() -> None:
    """Entry point. Where there is no candidate the shell offers files."""
    found = candidates(sys.argv[1:])
    print("\n".join([*found, f":{NO_FILES if found else FILES}"]))

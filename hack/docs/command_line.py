"""The command line reference, from the commands themselves."""

from typing import Any

import typer.main
from typer.core import TyperGroup

from llmtrain.cli.main import app


def page() -> str:
    """All commands."""
    root = typer.main.get_command(app)
    assert isinstance(root, TyperGroup)
    parts = [
        f"# Command line\n\n{root.help}\n\nAs a kubectl plugin: `kubectl llmtrain COMMAND`. Completion: `llmtrain --install-completion`; "
        "kubectl completes the plugin by itself, with `kubectl_complete-llmtrain`, which is installed beside it.\n"
    ]
    parts += [section(name, command) for name, command in sorted(commands(root, "llmtrain"))]
    return "\n".join(parts)


def commands(group: TyperGroup, prefix: str) -> list[tuple[str, Any]]:
    """Every command below a group, by what is typed."""
    found: list[tuple[str, Any]] = []
    for name, command in group.commands.items():
        typed = f"{prefix} {name}"
        found += commands(command, typed) if isinstance(command, TyperGroup) else [(typed, command)]
    return found


def section(name: str, command: Any) -> str:
    """One command with its options."""
    rows = [
        f"| {names(p)} | {default(p)} | {(getattr(p, 'help', None) or '').replace('|', chr(92) + '|')} |"
        for p in command.params
    ]
    table = "| option | default | what it is |\n|---|---|---|\n" + "\n".join(rows) + "\n" if rows else ""
    return f"## {name}\n\n{(command.help or '').strip()}\n\n{table}"


def names(parameter: Any) -> str:
    """What is typed."""
    if parameter.param_type_name == "argument":
        return f"`{(parameter.name or '').upper()}`"
    return ", ".join(f"`{option}`" for option in parameter.opts)


def default(parameter: Any) -> str:
    """Default, or that there must be a value."""
    if parameter.required:
        return "required"
    value = parameter.default
    return "" if value in (None, "", False) or callable(value) else f"`{value}`"

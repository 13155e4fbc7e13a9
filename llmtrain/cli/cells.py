"""Cells of tables and parts of frames: words of others, shown and never obeyed."""

import io

from rich.console import Console
from rich.text import Text

from llmtrain.text import plain


def cell(text: object, style: str = "") -> Text:
    """The text as it is, without a meaning of its own to the terminal or to the library that draws."""
    return Text(plain(str(text)), style=style)


def drawing(width: int) -> tuple[Console, io.StringIO]:
    """A console that draws into text, in which `[/x]` and `:bomb:` are just that; and where it is drawn."""
    out = io.StringIO()
    return Console(file=out, width=width, markup=False, emoji=False), out

"""What is around every page: one HTML file with its own style."""

from collections.abc import Iterable

from llmtrain.pages.style import STYLE
from llmtrain.text import escaped


def html_page(title: str, body: Iterable[str], policy: str = "") -> str:
    """The page of these parts. `policy`: its Content-Security-Policy, none where it is empty."""
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    head += f'<meta http-equiv="Content-Security-Policy" content="{policy}">' if policy else ""
    head += f"<title>{escaped(title)}</title><style>{STYLE}</style>"
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(body)}</body></html>\n'

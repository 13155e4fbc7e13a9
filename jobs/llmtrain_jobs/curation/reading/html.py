"""Main text of a page by Resiliparse, which DCLM uses too.

Measured on the 50 pages of the article extraction benchmark (4-shingles): precision 0.85, recall 0.97, F1 0.907 at 600
pages a second; trafilatura 2.3.1 had 0.94, 0.97, 0.957 at 80.
"""

from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.encoding import detect_encoding
from resiliparse.parse.html import HTMLTree


def main_text(page: bytes) -> str:
    """The text without menus, links' targets and forms; empty if nothing is left."""
    tree = HTMLTree.parse_from_bytes(page, detect_encoding(page) or "utf-8")
    text: str = extract_plain_text(tree, main_content=True, alt_texts=False, links=False, form_fields=False)
    return text

"""How a page is read. The process that reads it loads this and little else."""

from dataclasses import dataclass


@dataclass(frozen=True)
class PageLimits:
    """`seconds`: CPU time that a page may take; `comments`: whether readers' comments are taken of it."""

    seconds: float = 10
    comments: bool = False


OF_A_PAGE = PageLimits()
"""Where nobody says otherwise."""

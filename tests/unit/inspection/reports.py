"""Reports of looks, as short as a test likes them."""

from typing import Any

from llmtrain.inspection.report import Amount, Share, SourceReport, Stop


def report(name: str = "docs", read: int = 100, kept: int = 100, **changed: Any) -> SourceReport:
    """Of a source of ten bytes a record."""
    share = round(kept / read, 6) if read else 0.0
    lost = (
        {"gopher.minWords": Share(records=read - kept, bytes=10 * (read - kept), share=1 - share)}
        if kept < read
        else {}
    )
    fields: dict[str, Any] = {
        "name": name, "path": "in/*", "files": 3, "files_read": 1, "stopped": Stop.RECORDS,
        "read": Amount(records=read, bytes=10 * read), "text_bytes": 8 * read, "blank_bytes": 0,
        "kept": Share(records=kept, bytes=10 * kept, share=share), "kept_text_bytes": 8 * kept, "lost": lost, "rules": {},
        "skipped": {}, "languages": {}, "charsets": {}, "pii_found": {}, "damaged_files": {}, "first_problems": {},
        "unreadable": "", "most_taken": "", "examples": [], "kept_at_all": kept > 0, "whole": False, "read_in_all": read,
        "not_applied": [],
    }  # fmt: skip
    return SourceReport(**fields | changed)

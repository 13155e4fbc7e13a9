"""Web archives: records from bytes, pages from records, text from pages."""

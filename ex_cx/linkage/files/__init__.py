"""Reading of one file: delimited text, workbooks, types, size limits."""

"""Tidy frames to figures, tables and pages; nothing is drawn or formatted elsewhere."""

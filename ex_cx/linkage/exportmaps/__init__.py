"""Mapping files: how an export of a named platform becomes a checked table."""

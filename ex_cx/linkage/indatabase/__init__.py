"""The same measures, computed where the rows lie: in a database."""

"""The guards: ways a study fools itself, and what is checked against each."""

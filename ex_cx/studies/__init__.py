"""A study file to runs: validated, executed, resumed, indexed."""

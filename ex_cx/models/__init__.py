"""One method each: a spec, one verb, a result."""

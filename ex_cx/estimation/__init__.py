"""The numerics: compress once, then fit, resample, jackknife."""

"""One common factor in several groups by maximum likelihood, with more and more held equal.

The models are nested: loadings, unique variances and intercepts of each group's own (configural);
one set of loadings (metric); one set of intercepts too, with a factor mean for each group (scalar).
Source: Joreskog (1971), Psychometrika 36, 409-426; Sorbom (1974), British J. of Mathematical and
Statistical Psychology 27, 229-239.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

__all__ = ["GroupFit", "GroupMoments", "fit_groups", "moments_of"]

_LEAST_UNIQUE = 0.005
"""Of an item's variance in a group: unique variances are held above it."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GroupMoments:
    """n, shape (G,); mean, shape (G, k); cov, shape (G, k, k), with divisor n."""

    n: np.ndarray
    mean: np.ndarray
    cov: np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GroupFit:
    """One model of the three.

    Attributes
    ----------
    model : configural, metric or scalar.
    chi2, df : likelihood ratio to unrestricted moments.
    cfi, rmsea : comparative fit to the model of unrelated items; root mean square error of
        approximation, times the root of the number of groups (as lavaan has it).
    loadings, unique : shape (G, k), in units of the items; the factor has variance 1 in the first
        group.
    factor_mean, factor_variance : shape (G,); 0 and 1 where they are not free.
    at_bound : unique variances held at their least value (Heywood cases).
    """

    model: str
    chi2: float
    df: int
    cfi: float
    rmsea: float
    loadings: np.ndarray
    unique: np.ndarray
    factor_mean: np.ndarray
    factor_variance: np.ndarray
    at_bound: int


@dataclass(frozen=True, slots=True, eq=False)
class _Parameters:
    """All parameters, expanded to groups: loadings, unique, intercepts (G, k); the others (G,)."""

    loadings: np.ndarray
    unique: np.ndarray
    intercepts: np.ndarray
    factor_variance: np.ndarray
    factor_mean: np.ndarray


def moments_of(values: np.ndarray, groups: np.ndarray, n_groups: int) -> GroupMoments:
    """Moments of complete rows: `values` of shape (rows, k), `groups` from 0 to `n_groups` - 1."""
    n = np.bincount(groups, minlength=n_groups).astype(float)
    means = np.stack([np.bincount(groups, weights=v, minlength=n_groups) for v in values.T], axis=1)
    means = means / n[:, None]
    rest = values - means[groups]
    k = values.shape[1]
    cov = np.empty((n_groups, k, k))
    for i in range(k):
        for j in range(i + 1):
            sums = np.bincount(groups, weights=rest[:, i] * rest[:, j], minlength=n_groups)
            cov[:, i, j] = cov[:, j, i] = sums / n
    return GroupMoments(n=n, mean=means, cov=cov)


def fit_groups(moments: GroupMoments) -> list[GroupFit]:
    """The configural, the metric and the scalar model of at least three items that all vary."""
    scale = np.sqrt(np.diagonal(moments.cov, axis1=1, axis2=2).mean(axis=0))
    scaled = GroupMoments(
        n=moments.n, mean=moments.mean / scale, cov=moments.cov / np.outer(scale, scale)
    )
    groups, k = moments.mean.shape
    alone = [_fit(_only(scaled, g), False, False) for g in range(groups)]
    start = _Parameters(*(np.concatenate([getattr(p, name) for _, p in alone]) for name in _NAMES))
    found = [(sum(n * f for (f, _), n in zip(alone, moments.n, strict=True)), start)]
    for intercepts in (False, True):
        value, start = _fit(scaled, True, intercepts, start)
        found.append((value * moments.n.sum(), start))
    base, base_df = _unrelated(scaled), groups * k * (k - 1) // 2
    free = [2 * groups * k, k + groups - 1 + groups * k, 2 * k + 2 * (groups - 1)]
    df = [groups * k * (k + 1) // 2 - free[0], groups * k * (k + 1) // 2 - free[1]]
    df.append(df[1] + groups * k - k - (groups - 1))
    names = ("configural", "metric", "scalar")
    return [
        _as_fit(name, float(chi2), d, parameters, scaled, scale, (base, base_df))
        for name, (chi2, parameters), d in zip(names, found, df, strict=True)
    ]


_NAMES = ("loadings", "unique", "intercepts", "factor_variance", "factor_mean")


def _only(moments: GroupMoments, g: int) -> GroupMoments:
    one = slice(g, g + 1)
    return GroupMoments(n=moments.n[one], mean=moments.mean[one], cov=moments.cov[one])


def _as_fit(
    name: str,
    chi2: float,
    df: int,
    found: _Parameters,
    moments: GroupMoments,
    scale: np.ndarray,
    base: tuple[float, int],
) -> GroupFit:
    total, groups = moments.n.sum(), len(moments.n)
    chi2 = max(chi2, 0.0)
    over, over_base = max(chi2 - df, 0.0), max(base[0] - base[1], chi2 - df, 0.0)
    least = _LEAST_UNIQUE * np.diagonal(moments.cov, axis1=1, axis2=2)
    return GroupFit(
        model=name,
        chi2=chi2,
        df=df,
        cfi=1 - over / over_base if over_base > 0 else 1.0,
        rmsea=float(np.sqrt(groups * over / (df * total))) if df else 0.0,
        loadings=found.loadings * scale,
        unique=found.unique * scale**2,
        factor_mean=found.factor_mean,
        factor_variance=found.factor_variance,
        at_bound=int((found.unique <= 1.0001 * least).sum()),
    )


def _unrelated(moments: GroupMoments) -> float:
    """Chi-square of the model in which items are unrelated within every group."""
    spread = np.sqrt(np.diagonal(moments.cov, axis1=1, axis2=2))
    correlations = moments.cov / (spread[:, :, None] * spread[:, None, :])
    return float(-(moments.n * np.linalg.slogdet(correlations)[1]).sum())


def _fit(
    moments: GroupMoments,
    same_loadings: bool,
    same_intercepts: bool,
    start: _Parameters | None = None,
) -> tuple[float, _Parameters]:
    """The least discrepancy, averaged over respondents, and where it lies."""
    from scipy.optimize import minimize

    variances = np.diagonal(moments.cov, axis1=1, axis2=2)
    groups, k = variances.shape
    first = _start(moments) if start is None else _merged(start, moments, same_intercepts)
    rows = 1 if same_loadings else groups
    bounds: list[tuple[float | None, float | None]] = [(None, None)] * (rows * k)
    bounds += [(_LEAST_UNIQUE * v, None) for v in variances.ravel()]
    bounds += [(1e-4, None)] * (groups - 1 if same_loadings else 0)
    bounds += [(None, None)] * (k + groups - 1 if same_intercepts else 0)

    def value(vector: np.ndarray) -> tuple[float, np.ndarray]:
        given = _unpack(vector, moments, same_loadings, same_intercepts)
        f, slope = _discrepancy(given, moments)
        return f, _pack(slope, same_loadings, same_intercepts, add=True)

    found = minimize(
        value,
        _pack(first, same_loadings, same_intercepts),
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        options={"ftol": 1e-16, "gtol": 1e-10, "maxiter": 5000, "maxfun": 20000, "maxcor": 20},
    )
    best = _unpack(found.x, moments, same_loadings, same_intercepts)
    turn = np.sign(best.loadings.sum(axis=1, keepdims=True))
    turn[turn == 0] = 1.0
    turned = replace(best, loadings=best.loadings * turn, factor_mean=best.factor_mean * turn[:, 0])
    return float(found.fun), turned


def _start(moments: GroupMoments) -> _Parameters:
    """The first principal component, half of each variance being unique."""
    values, vectors = np.linalg.eigh(moments.cov)
    loadings = vectors[:, :, -1] * np.sqrt(values[:, -1:])
    loadings *= np.where(loadings.sum(axis=1, keepdims=True) < 0, -1.0, 1.0)
    groups = len(loadings)
    variances = np.diagonal(moments.cov, axis1=1, axis2=2)
    return _Parameters(
        0.7 * loadings, 0.5 * variances, moments.mean, np.ones(groups), np.zeros(groups)
    )


def _merged(start: _Parameters, moments: GroupMoments, same_intercepts: bool) -> _Parameters:
    """One set of loadings from each group's own, and of intercepts with the factor means."""
    share = (moments.n / moments.n.sum())[:, None]
    size = np.sqrt((start.loadings**2).sum(axis=1) * start.factor_variance)
    loadings = (share * start.loadings / np.linalg.norm(start.loadings, axis=1, keepdims=True)).sum(
        axis=0
    )
    loadings *= size[0] / np.linalg.norm(loadings)
    intercepts, means = moments.mean, np.zeros(len(size))
    if same_intercepts:
        gap = moments.mean - moments.mean[0]
        means = gap @ loadings / (loadings @ loadings)
        intercepts = (share * (moments.mean - means[:, None] * loadings)).sum(axis=0)
        intercepts = np.tile(intercepts, (len(size), 1))
    return _Parameters(
        np.tile(loadings, (len(size), 1)), start.unique, intercepts, (size / size[0]) ** 2, means
    )


def _discrepancy(p: _Parameters, moments: GroupMoments) -> tuple[float, _Parameters]:
    """Maximum-likelihood discrepancy averaged over respondents, and its slope in every group."""
    common = p.loadings[:, :, None] * p.loadings[:, None, :]
    implied = p.factor_variance[:, None, None] * common
    k = p.loadings.shape[1]
    implied[:, np.arange(k), np.arange(k)] += p.unique
    inverse = np.linalg.inv(implied)
    gap = moments.mean - p.intercepts - p.factor_mean[:, None] * p.loadings
    second = moments.cov + gap[:, :, None] * gap[:, None, :]
    each = np.linalg.slogdet(implied)[1] - np.linalg.slogdet(moments.cov)[1] - k
    each += np.einsum("gij,gji->g", inverse, second)
    share = moments.n / moments.n.sum()
    a = inverse - inverse @ second @ inverse
    pull = np.einsum("gij,gj->gi", inverse, gap)
    bent = np.einsum("gij,gj->gi", a, p.loadings)
    wide = share[:, None]
    slope = _Parameters(
        wide * 2 * (p.factor_variance[:, None] * bent - p.factor_mean[:, None] * pull),
        wide * np.diagonal(a, axis1=1, axis2=2),
        wide * -2 * pull,
        share * np.einsum("gi,gi->g", p.loadings, bent),
        share * -2 * np.einsum("gi,gi->g", p.loadings, pull),
    )
    return float(share @ each), slope


def _pack(
    p: _Parameters, same_loadings: bool, same_intercepts: bool, *, add: bool = False
) -> np.ndarray:
    """The free parameters as one vector; of a slope (`add`), what is shared is summed."""

    def shared(values: np.ndarray) -> np.ndarray:
        return values.sum(axis=0) if add else values[0]

    parts = [shared(p.loadings) if same_loadings else p.loadings.ravel(), p.unique.ravel()]
    if same_loadings:
        parts.append(p.factor_variance[1:])
    if same_intercepts:
        parts += [shared(p.intercepts), p.factor_mean[1:]]
    return np.concatenate(parts)


def _unpack(
    vector: np.ndarray, moments: GroupMoments, same_loadings: bool, same_intercepts: bool
) -> _Parameters:
    groups, k = moments.mean.shape
    rows = 1 if same_loadings else groups
    sizes = [rows * k, groups * k, groups - 1 if same_loadings else 0, k, groups - 1]
    loadings, unique, variance, intercepts, means = (
        vector[end - size : end] for size, end in zip(sizes, np.cumsum(sizes), strict=True)
    )
    one, none = np.ones(1), np.zeros(1)
    return _Parameters(
        np.broadcast_to(loadings.reshape(rows, k), (groups, k)),
        unique.reshape(groups, k),
        np.tile(intercepts, (groups, 1)) if same_intercepts else moments.mean,
        np.concatenate([one, variance]) if same_loadings else np.ones(groups),
        np.concatenate([none, means]) if same_intercepts else np.zeros(groups),
    )

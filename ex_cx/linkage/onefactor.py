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
_LEAST_VARIANCE = 1e-4
"""Of the factor, in units of its variance in the first group."""
_FLAT = 1e-4
"""Slope of the discrepancy of a respondent below which the search has ended."""


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
    settled : did the search end where the discrepancy is flat? Else chi2 is too large.
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
    settled: bool = True


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
    start = _Parameters(*(np.concatenate([getattr(p, n) for _, p, _ in alone]) for n in _NAMES))
    chi2 = sum(n * f for (f, _, _), n in zip(alone, moments.n, strict=True))
    found = [(chi2, start, all(settled for _, _, settled in alone))]
    for intercepts in (False, True):
        value, start, settled = _fit(scaled, True, intercepts, start)
        found.append((value * moments.n.sum(), start, settled))
    if found[0][0] > found[1][0]:  # a model with more freedom cannot fit less well: search again
        found[0] = _alone_from(scaled, found[1][1])
    base, base_df = _unrelated(scaled), groups * k * (k - 1) // 2
    free = [2 * groups * k, k + groups - 1 + groups * k, 2 * k + 2 * (groups - 1)]
    df = [groups * k * (k + 1) // 2 - free[0], groups * k * (k + 1) // 2 - free[1]]
    df.append(df[1] + groups * k - k - (groups - 1))
    names = ("configural", "metric", "scalar")
    return [
        replace(
            _as_fit(name, float(chi2), d, parameters, scaled, scale, (base, base_df)),
            settled=settled,
        )
        for name, (chi2, parameters, settled), d in zip(names, found, df, strict=True)
    ]


_NAMES = ("loadings", "unique", "intercepts", "factor_variance", "factor_mean")


def _alone_from(moments: GroupMoments, shared: _Parameters) -> tuple[float, _Parameters, bool]:
    """The configural model, searched from the loadings that the groups share."""
    root = np.sqrt(shared.factor_variance)[:, None]
    near = replace(shared, loadings=shared.loadings * root, intercepts=moments.mean)
    own = replace(near, factor_variance=np.ones(len(root)), factor_mean=np.zeros(len(root)))
    value, found, settled = _fit(moments, False, False, own)
    return value * float(moments.n.sum()), found, settled


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
) -> tuple[float, _Parameters, bool]:
    """The least discrepancy, averaged over respondents, where it lies, and whether it is one."""
    from scipy.optimize import minimize

    variances = np.diagonal(moments.cov, axis1=1, axis2=2)
    groups, k = variances.shape
    first = _start(moments) if start is None else start
    first = _merged(first, moments) if same_loadings else first
    least = [np.full((1 if same_loadings else groups) * k, -np.inf)]
    least += [_LEAST_UNIQUE * variances.ravel()]
    least += [np.full(groups - 1 if same_loadings else 0, _LEAST_VARIANCE)]
    low = np.concatenate(least)

    def value(vector: np.ndarray) -> tuple[float, np.ndarray]:
        given = _unpack(vector, moments, same_loadings, same_intercepts)
        f, slope = _discrepancy(given, moments)
        return f, _pack(slope, same_loadings, add=True)

    found = minimize(
        value,
        np.maximum(_pack(first, same_loadings), low),
        jac=True,
        method="L-BFGS-B",
        bounds=[(None if np.isinf(bound) else bound, None) for bound in low],
        options={"ftol": 1e-16, "gtol": 1e-10, "maxiter": 1000, "maxfun": 1200, "maxcor": 20},
    )
    slope = value(found.x)[1]
    free = ~((found.x <= low) & (slope > 0))
    best = _unpack(found.x, moments, same_loadings, same_intercepts)
    turn = np.sign(best.loadings.sum(axis=1, keepdims=True))
    turn[turn == 0] = 1.0
    best = replace(best, loadings=best.loadings * turn, factor_mean=best.factor_mean * turn[:, 0])
    return float(found.fun), best, bool(np.abs(slope[free]).max(initial=0.0) < _FLAT)


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


def _merged(start: _Parameters, moments: GroupMoments) -> _Parameters:
    """One set of loadings from each group's own, and the factor variances that go with it."""
    share = (moments.n / moments.n.sum())[:, None]
    size = np.sqrt((start.loadings**2).sum(axis=1) * start.factor_variance)
    length = np.linalg.norm(start.loadings, axis=1, keepdims=True)
    loadings = (share * start.loadings / np.where(length > 0, length, 1.0)).sum(axis=0)
    loadings *= size[0] / (np.linalg.norm(loadings) or 1.0)
    variance = np.maximum((size / (size[0] or 1.0)) ** 2, 2 * _LEAST_VARIANCE)
    return _Parameters(
        np.tile(loadings, (len(size), 1)),
        start.unique,
        moments.mean,
        variance,
        np.zeros(len(size)),
    )


def _with_means(p: _Parameters, moments: GroupMoments) -> _Parameters:
    """The best common intercepts and factor means (0 in the first group), by least squares."""
    weight = np.linalg.inv(_implied(p)) * moments.n[:, None, None]
    pull = np.einsum("gij,gj->gi", weight, p.loadings)
    held = np.einsum("gi,gi->g", pull, p.loadings)
    held[0] = np.inf  # the first group has no mean of its own to give way
    rest = weight - pull[:, :, None] * pull[:, None, :] / held[:, None, None]
    intercepts = np.linalg.solve(rest.sum(axis=0), np.einsum("gij,gj->i", rest, moments.mean))
    means = np.einsum("gi,gi->g", pull, moments.mean - intercepts) / held
    return replace(p, intercepts=np.tile(intercepts, (len(moments.n), 1)), factor_mean=means)


def _implied(p: _Parameters) -> np.ndarray:
    implied = p.factor_variance[:, None, None] * (p.loadings[:, :, None] * p.loadings[:, None, :])
    k = p.loadings.shape[1]
    implied[:, np.arange(k), np.arange(k)] += p.unique
    return implied


def _discrepancy(p: _Parameters, moments: GroupMoments) -> tuple[float, _Parameters]:
    """Maximum-likelihood discrepancy averaged over respondents, and its slope in every group."""
    implied, k = _implied(p), p.loadings.shape[1]
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


def _pack(p: _Parameters, same_loadings: bool, *, add: bool = False) -> np.ndarray:
    """The parameters searched over as one vector; of a slope (`add`), what is shared is summed."""
    if not same_loadings:
        return np.concatenate([p.loadings.ravel(), p.unique.ravel()])
    loadings = p.loadings.sum(axis=0) if add else p.loadings[0]
    return np.concatenate([loadings, p.unique.ravel(), p.factor_variance[1:]])


def _unpack(
    vector: np.ndarray, moments: GroupMoments, same_loadings: bool, same_intercepts: bool
) -> _Parameters:
    groups, k = moments.mean.shape
    rows = 1 if same_loadings else groups
    loadings, unique, variance = np.split(vector, [rows * k, (rows + groups) * k])
    found = _Parameters(
        np.broadcast_to(loadings.reshape(rows, k), (groups, k)),
        unique.reshape(groups, k),
        moments.mean,
        np.concatenate([np.ones(1), variance]) if same_loadings else np.ones(groups),
        np.zeros(groups),
    )
    return _with_means(found, moments) if same_intercepts else found

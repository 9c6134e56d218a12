"""The causal model of the simulated company: eight linear equations with known effects.

In team i and month t the deviations d of the eight variables from their bases solve

    d_it = B d_it + u_i + s_t + e_it            and with a reverse path   + R d_i,t-1

B holds the direct effects (`MODEL`), u_i what a team always has, s_t what a month brings to
everyone, e_it first-order autoregressive noise, independent between variables. Two traits of a
team drive the u of several variables at once, and one season drives the s: they confound every
comparison between teams or months, and only absorbing unit and period effects removes them.
Nothing is clipped, so linear estimators with both effects absorbed are exactly unbiased.

Trait 1, a young team: keen, quick to solve things, gone next year, and put where customers are
hardest to please. It raises engagement and attrition and lowers NPS, so that between teams
engagement seems to drive people away and to annoy customers.
Trait 2, a popular queue: always busy, easy to serve, liked by customers who also switch easily.
It raises occupancy and NPS together, so that busy teams seem to please customers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from ex_cx.errors import SpecError, nearest

__all__ = [
    "MODEL",
    "NAMES",
    "Equation",
    "draw_true_values",
    "effect",
    "noise_autocovariance",
    "paths",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Equation:
    """How one variable comes about.

    Attributes
    ----------
    name : the variable, with its unit of measurement in the name.
    base : its value where no cause, team or month deviates.
    causes : direct effect of each cause in the same month, outcome units per unit of the cause.
    traits : effect of one standard deviation of the two team traits (young team, popular queue).
    unit_sd : standard deviation of what else is always so in a team.
    season : effect of the season, which runs from -1 (June) to 1 (December).
    noise_sd, noise_rho : standard deviation and first-order autocorrelation of the monthly noise.
    """

    name: str
    base: float
    causes: Mapping[str, float]
    traits: tuple[float, float]
    unit_sd: float
    season: float
    noise_sd: float
    noise_rho: float


MODEL = (
    Equation(
        name="ex_engagement",
        base=3.4,
        causes={},
        traits=(0.38, 0.0),
        unit_sd=0.10,
        season=-0.06,
        noise_sd=0.30,
        noise_rho=0.7,
    ),
    Equation(
        name="ex_occupancy_pct",
        base=76.0,
        causes={},
        traits=(0.0, 4.0),
        unit_sd=1.0,
        season=2.0,
        noise_sd=3.5,
        noise_rho=0.3,
    ),
    Equation(
        name="ex_attrition_pct",
        base=4.5,
        causes={"ex_engagement": -2.4, "ex_occupancy_pct": 0.15},
        traits=(2.0, -0.6),
        unit_sd=0.3,
        season=-0.4,
        noise_sd=0.4,
        noise_rho=0.3,
    ),
    Equation(
        name="ex_aht_seconds",
        base=380.0,
        causes={"ex_attrition_pct": 6.0},
        traits=(-6.0, -15.0),
        unit_sd=20.0,
        season=-8.0,
        noise_sd=10.0,
        noise_rho=0.3,
    ),
    Equation(
        name="cx_effort",
        base=2.7,
        causes={"ex_occupancy_pct": 0.05, "ex_attrition_pct": 0.08},
        traits=(-0.26, -0.36),
        unit_sd=0.10,
        season=-0.15,
        noise_sd=0.16,
        noise_rho=0.3,
    ),
    Equation(
        name="cx_fcr_pct",
        base=72.0,
        causes={"ex_occupancy_pct": -0.8, "ex_attrition_pct": -0.8},
        traits=(3.0, 6.0),
        unit_sd=2.0,
        season=2.0,
        noise_sd=3.5,
        noise_rho=0.3,
    ),
    Equation(
        name="cx_nps",
        base=20.0,
        causes={"cx_effort": -22.0, "cx_fcr_pct": 0.4},
        traits=(-12.0, 8.0),
        unit_sd=4.0,
        season=4.0,
        noise_sd=4.0,
        noise_rho=0.3,
    ),
    Equation(
        name="cx_retention_pct",
        base=95.0,
        causes={"cx_nps": 0.06, "cx_effort": -0.6},
        traits=(0.0, -1.8),
        unit_sd=0.3,
        season=-0.4,
        noise_sd=0.3,
        noise_rho=0.3,
    ),
)
"""The eight equations; every cause stands above what it drives."""

NAMES = tuple(equation.name for equation in MODEL)
_LEAD_IN = 24  # months simulated and thrown away, so that a reverse path has settled
_SHOCK = 0.5  # of the season: what a single month adds to its calendar pattern


def effect(cause: str, outcome: str, *, held: Iterable[str] = ()) -> float:
    """Total effect of `cause` on `outcome` in the same month, with the variables `held` fixed.

    Returns
    -------
    Outcome units per unit of the cause: the sum over all directed paths that avoid `held`.

    Notes
    -----
    The entry of (I - B)^-1, with the rows of B that belong to `held` set to zero.
    Source: Bollen (1987), Sociological Methodology 17, 37-69.

    Examples
    --------
    >>> round(effect("ex_engagement", "cx_effort"), 3)  # -2.4 * 0.08, by way of attrition
    -0.192
    >>> effect("ex_engagement", "cx_effort", held=["ex_attrition_pct"])
    0.0
    """
    fixed = [_position(name) for name in held]
    matrix = _direct_effects()
    matrix[fixed] = 0.0
    total = np.linalg.inv(np.eye(len(NAMES)) - matrix)
    return float(total[_position(outcome), _position(cause)]) + 0.0


def paths(cause: str, outcome: str) -> dict[str, float]:
    """Every directed path from `cause` to `outcome` with the product of the effects along it.

    >>> paths("ex_engagement", "cx_effort")
    {'ex_engagement -> ex_attrition_pct -> cx_effort': -0.192}
    """
    if cause == outcome:
        return {cause: 1.0}
    found = {}
    for last, coefficient in MODEL[_position(outcome)].causes.items():
        for path, product in paths(cause, last).items():
            found[f"{path} -> {outcome}"] = round(product * coefficient, 12)
    return found


def noise_autocovariance(n_periods: int) -> np.ndarray:
    """Covariance of the variables' noise within a unit, all causes followed.

    Returns
    -------
    shape (k, k, T, T): entry [a, b, t, s] is the covariance of variable a in month t with
    variable b in month s, given team traits and months; in units of a times units of b.
    """
    total = np.linalg.inv(np.eye(len(NAMES)) - _direct_effects())
    distance = np.abs(np.subtract.outer(np.arange(n_periods), np.arange(n_periods)))
    sd = np.array([equation.noise_sd for equation in MODEL])
    rho = np.array([equation.noise_rho for equation in MODEL])
    own = sd[:, None, None] ** 2 * rho[:, None, None] ** distance
    return np.einsum("ak,bk,kts->abts", total, total, own, optimize=True)


def draw_true_values(
    sites: np.ndarray,
    regions: np.ndarray,
    n_periods: int,
    *,
    reverse: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """Error-free values of the eight variables for every team and month.

    Parameters
    ----------
    sites, regions : shape (N,), integer codes of the site and region of each team.
    n_periods : T, months.
    reverse : effect of last month's NPS on engagement, scale points per NPS point.
    rng : source of randomness.

    Returns
    -------
    shape (N, T, k), in the order of `NAMES`.

    Raises
    ------
    SpecError : `reverse` so large that NPS and engagement drive each other without bound.
    """
    gain = reverse * effect("ex_engagement", "cx_nps")
    if abs(gain) >= 0.9:
        raise SpecError(
            f"reverse={reverse:g} makes one month's NPS move the next month's by {gain:.2f} of "
            f"itself, so the series would not settle. Keep it between -0.18 and 0.18."
        )
    lead_in = _LEAD_IN if reverse else 0
    months = np.arange(-lead_in, n_periods)
    drive = _unit_effects(sites, regions, rng)[:, None, :] + _season_effects(months, rng)
    drive += _noise(len(sites), len(months), rng)
    total = np.linalg.inv(np.eye(len(NAMES)) - _direct_effects())
    base = np.array([equation.base for equation in MODEL])
    if not reverse:
        return base + drive @ total.T
    values = np.empty_like(drive)
    nps, engagement = _position("cx_nps"), _position("ex_engagement")
    carried = np.zeros(len(sites))
    for step in range(len(months)):
        drive[:, step, engagement] += reverse * carried
        values[:, step] = drive[:, step] @ total.T
        carried = values[:, step, nps]
    return base + values[:, lead_in:]


def _direct_effects() -> np.ndarray:
    """B, shape (k, k): row outcome, column cause."""
    matrix = np.zeros((len(NAMES), len(NAMES)))
    for row, equation in enumerate(MODEL):
        for cause, coefficient in equation.causes.items():
            matrix[row, NAMES.index(cause)] = coefficient
    return matrix


def _position(name: str) -> int:
    if name not in NAMES:
        raise SpecError(f"The causal model has no variable {name!r}.{nearest(name, NAMES)}")
    return NAMES.index(name)


def _unit_effects(sites: np.ndarray, regions: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What each team always has, shape (N, k): two traits, alike within regions and sites."""
    region_shift = np.array([[0.6, 0.5], [0.2, -0.5], [-0.2, 0.5], [-0.6, -0.5]])[regions % 4]
    site_shift = 0.4 * rng.standard_normal((int(sites.max()) + 1, 2))[sites]
    traits = region_shift + site_shift + 0.8 * rng.standard_normal((len(sites), 2))
    loadings = np.array([equation.traits for equation in MODEL])
    own_sd = np.array([equation.unit_sd for equation in MODEL])
    return traits @ loadings.T + own_sd * rng.standard_normal((len(sites), len(MODEL)))


def _season_effects(months: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What each month brings to every team, shape (T, k): a December peak and common shocks."""
    peak = np.cos(2 * np.pi * (months % 12 - 11) / 12)
    common = peak + _SHOCK * rng.standard_normal(len(months))
    return np.outer(common, [equation.season for equation in MODEL])


def _noise(n_units: int, n_steps: int, rng: np.random.Generator) -> np.ndarray:
    """Stationary first-order autoregressive noise, shape (N, T, k)."""
    sd = np.array([equation.noise_sd for equation in MODEL])
    rho = np.array([equation.noise_rho for equation in MODEL])
    noise = rng.standard_normal((n_units, n_steps, len(MODEL))) * sd
    fresh = np.sqrt(1 - rho**2)
    for step in range(1, n_steps):
        noise[:, step] = rho * noise[:, step - 1] + fresh * noise[:, step]
    return noise

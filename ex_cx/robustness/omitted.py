"""How strong must an omitted variable be to change a coefficient? By shares of variance.

A confounder that explains the share R2d of what is left of the term, and R2y of what is left of the
outcome, moves the coefficient by se sqrt(dof R2y R2d / (1 - R2d)), se and dof the unadjusted error
and its degrees of freedom. That is algebra: it holds for any error structure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from ex_cx.errors import SpecError, nearest
from ex_cx.estimation.equation import Equation
from ex_cx.estimation.inference import check_level, t_interval, t_p_values
from ex_cx.linkage.panel import Panel
from ex_cx.models.mediation import MediationSpec
from ex_cx.models.regress import PanelResult, PanelSpec, compress_panel, fit_panel
from ex_cx.models.spec import refuse_instruments
from ex_cx.results import Result
from ex_cx.robustness.mediation_rows import mediation_rows, partial_r2
from ex_cx.robustness.omitted_term import OmittedTerm

__all__ = ["OmittedVariables", "mediation_omitted_bounds", "omitted_variable_bounds"]

_CLOSED = ("random", "correlated_random", "fama_macbeth")
STRENGTHS = (1.0, 2.0, 3.0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class OmittedVariables(Result):
    """Robustness values of coefficients, and bounds set by observed regressors.

    Attributes
    ----------
    items : the coefficients. q : the share of each whose loss counts.
    strengths : how many times as strong as an observed regressor.
    vcov : kind of the reported errors. n_obs, n_clusters : used.
    """

    items: tuple[OmittedTerm, ...]
    q: float
    strengths: tuple[float, ...]
    outcome: str
    vcov: str
    n_obs: int
    n_clusters: int

    def tidy(self, conf_level: float = 0.95) -> pd.DataFrame:
        """One row a coefficient, and what a confounder must explain of both sides to undo it.

        After the tidy columns: `partial_r2`, the share of the outcome's residual variance that the
        term explains (a confounder that explained all of the rest of the outcome would have to
        explain as much of the term); `robustness_value`, the share of both residual variances that
        brings the estimate down by q; `robustness_value_interval`, that brings the end of the
        interval to zero.
        """
        rows = [
            _tidy_row(item.label, item.estimate, item.std_error, item.df_t, conf_level)
            | {
                "partial_r2": item.partial_f**2 / (1 + item.partial_f**2),
                "robustness_value": item.robustness_value(self.q),
                "robustness_value_interval": item.robustness_value(self.q, conf_level),
            }
            for item in self.items
        ]
        return pd.DataFrame(rows)

    def bounds(self, conf_level: float = 0.95) -> pd.DataFrame:
        """What is left of each coefficient with a confounder as strong as an observed regressor.

        Returns
        -------
        The tidy columns, adjusted; then benchmark, strength, r2_term, r2_outcome and `note`, which
        says where the confounder would explain more than there is.
        """
        rows = []
        for item in self.items:
            for at, benchmark in enumerate(item.benchmarks):
                for strength in self.strengths:
                    r2 = item.implied(at, strength)
                    estimate, error = item.adjusted(*r2)
                    rows.append(
                        _tidy_row(item.label, estimate, error, item.df_adjusted, conf_level)
                        | {
                            "benchmark": benchmark,
                            "strength": strength,
                            "r2_term": r2[0],
                            "r2_outcome": r2[1],
                            "note": _note(r2),
                        }
                    )
        columns = [*self.tidy(conf_level).columns[:8]]
        columns += ["benchmark", "strength", "r2_term", "r2_outcome", "note"]
        return pd.DataFrame(rows, columns=columns)

    def adjusted(
        self, term: str, r2_term: float, r2_outcome: float, conf_level: float = 0.95
    ) -> pd.DataFrame:
        """The tidy row of a coefficient with a confounder of stated strength.

        Parameters
        ----------
        r2_term, r2_outcome : shares of the residual variance of the term and of the outcome that
            it explains; r2_term below 1.
        """
        item = self.item(term)
        numbers = all(isinstance(share, int | float | np.number) for share in (r2_term, r2_outcome))
        if not (numbers and 0 <= r2_term < 1 and 0 <= r2_outcome <= 1):
            raise SpecError(
                f"r2_term={r2_term!r} and r2_outcome={r2_outcome!r} are shares of variance: "
                "between 0 and 1, r2_term below 1."
            )
        estimate, error = item.adjusted(r2_term, r2_outcome)
        return pd.DataFrame([_tidy_row(term, estimate, error, item.df_adjusted, conf_level)])

    def item(self, term: str) -> OmittedTerm:
        """The coefficient of that name."""
        found = [item for item in self.items if item.label == term]
        if not found:
            known = [item.label for item in self.items]
            raise SpecError(
                f"There is no term {term!r} in the result.{nearest(term, known)} It has "
                f"{', '.join(known)}."
            )
        return found[0]

    def glance(self) -> pd.DataFrame:
        """One row: counts, conventions, warnings."""
        spread = "" if self.vcov == "unadjusted" else f", {self.vcov} errors scaled alike"
        return pd.DataFrame(
            {
                "outcome": [self.outcome],
                "q": self.q,
                "n_obs": self.n_obs,
                "n_clusters": self.n_clusters,
                "vcov": self.vcov,
                "convention": (
                    "Cinelli and Hazlett (2020): biases from unadjusted errors and every absorbed "
                    f"level in the degrees of freedom{spread}; towards zero; t on one degree less "
                    "where the confounder costs one"
                ),
                "warnings": (
                    "benchmarks are observed regressors: nothing says that what is unmeasured is "
                    "as weak"
                ),
            }
        )

    def _headline(self) -> str:
        return f"{self.outcome}: what an omitted variable must explain, {self.n_obs} rows"


def omitted_variable_bounds(
    panel: Panel,
    spec: PanelSpec,
    term: str | None = None,
    *,
    benchmarks: Sequence[str] | None = None,
    q: float = 1.0,
    strengths: Sequence[float] = STRENGTHS,
) -> OmittedVariables:
    """Robustness value of a coefficient, and bounds by observed regressors.

    Parameters
    ----------
    panel, spec : as for `fit_panel`; any estimator that is one least-squares equation.
    term : of the result, with its lag (`x_lag1`); by default the first exposure.
    benchmarks : terms of the result to compare with; by default the spec's controls.
    q : share of the estimate whose loss counts; 1 is all of it.
    strengths : confounders so many times as strong as a benchmark, with the term and the outcome.

    Raises
    ------
    SpecError : as `fit_panel`; a term or benchmark that is not in the model, or an estimator whose
        coefficients are no plain least squares.
    RankError, InferenceError : as `fit_panel`.

    Notes
    -----
    The movement of the estimate is exact for any errors. That of a clustered or robust error is
    taken to be that of the unadjusted one: the confounder is supposed to leave their ratio as it
    is. Robustness values of the interval use t on clusters minus one then. Confounders are linear,
    and have the same effects absorbed; a benchmark's are those of one column.
    Source: Cinelli and Hazlett (2020), JRSS B 82(1), 39-67, sections 3 to 4.4.

    Examples
    --------
    >>> rng = np.random.default_rng(5)
    >>> rows = pd.DataFrame(rng.normal(size=(360, 2)), columns=["x", "z"])
    >>> rows["y"] = 0.5 * rows["x"] + 0.2 * rows["z"] + rng.normal(size=360)
    >>> rows["unit"], rows["period"] = np.divmod(np.arange(360), 6)
    >>> panel = Panel.from_frame(rows, unit="unit", period="period")
    >>> spec = PanelSpec(outcome="y", exposures=("x",), controls=("z",))
    >>> omitted_variable_bounds(panel, spec).bounds()["strength"].tolist()
    [1.0, 2.0, 3.0]
    """
    refuse_instruments(spec, "The omitted-variable formula")
    if spec.estimator in _CLOSED:
        raise SpecError(
            f"estimator={spec.estimator!r} is not one plain least-squares equation, so the "
            "formulas do not hold. Use within, pooled, between or first_difference."
        )
    if isinstance(benchmarks, str):
        raise SpecError("benchmarks is a list of terms: write ['z'], not 'z'.")
    fitted = fit_panel(panel, spec)
    compressed = compress_panel(panel, spec)
    at = _position(fitted.terms, term or fitted.terms[0], "term")
    wanted = benchmarks
    if wanted is None:
        wanted = [name for name in spec.controls if name != fitted.terms[at]]
    named = [(name, 1 + _position(fitted.terms, name, "benchmark")) for name in wanted]
    item = _item(
        compressed.moments.total,
        0,
        compressed.regressors,
        1 + at,
        named,
        _reported(panel, fitted, at),
    )
    return OmittedVariables(
        items=(item,),
        outcome=spec.outcome,
        vcov=spec.vcov,
        n_obs=fitted.n_obs,
        n_clusters=fitted.n_clusters,
        q=_share(q),
        strengths=_multiples(strengths),
    )


def _reported(panel: Panel, fitted: PanelResult, at: int) -> OmittedTerm:
    """A coefficient with its reported and its unadjusted error, without benchmarks."""
    plain = fit_panel(panel, replace(fitted.spec, vcov="unadjusted", match="fixest"))
    return OmittedTerm(
        label=fitted.terms[at],
        estimate=float(fitted.coef[at]),
        std_error=float(np.sqrt(fitted.vcov[at, at])),
        df_t=float(fitted.df_by_term[at]),
        plain_error=float(np.sqrt(plain.vcov[at, at])),
        dof=round(plain.df_t),
        clustered=fitted.spec.vcov not in ("unadjusted", "robust"),
        benchmarks=(),
        r2_term=(),
        r2_outcome=(),
    )


def mediation_omitted_bounds(
    panel: Panel,
    spec: MediationSpec,
    *,
    q: float = 1.0,
    strengths: Sequence[float] = STRENGTHS,
) -> OmittedVariables:
    """Robustness values of a, b, direct and total, and bounds by the spec's controls.

    Parameters
    ----------
    panel, spec : as for `fit_mediation`; one exposure. Errors are CR1 with t on clusters minus one.
    q, strengths : as for `omitted_variable_bounds`.

    Returns
    -------
    Terms a:<m> and b:<m> of each mediator, direct, total, all on the rows of the mediation.

    Raises
    ------
    SpecError, RankError, InferenceError : as `fit_mediation`.

    Notes
    -----
    Each equation has its own confounders: a and b may be undone by different ones, and a product
    that is clear needs both. Source: as for `omitted_variable_bounds`.
    """
    rows = mediation_rows(panel, spec)
    n, total = len(spec.mediators), rows.moments.total
    controls = [(name, 2 + n + at) for at, name in enumerate(spec.controls)]
    wanted = [(f"a:{m}", rows.model.equations[j], 1) for j, m in enumerate(spec.mediators)]
    wanted += [(f"b:{m}", rows.model.equations[n], 2 + j) for j, m in enumerate(spec.mediators)]
    wanted += [("direct", rows.model.equations[n], 1), ("total", rows.model.equations[n + 1], 1)]
    items = []
    for label, path, column in wanted:
        equation = rows.equation(path)
        at, dof = path.regressors.index(column), rows.dof(path)
        plain = OmittedTerm(
            label=label,
            estimate=float(equation.coef[at]),
            std_error=float(rows.clustered_errors(path, equation)[at]),
            df_t=rows.design.n_clusters - 1,
            plain_error=_plain_error(equation, at, dof),
            dof=dof,
            clustered=True,
            benchmarks=(),
            r2_term=(),
            r2_outcome=(),
        )
        items.append(_item(total, path.outcome, list(path.regressors), column, controls, plain))
    return OmittedVariables(
        items=tuple(items),
        outcome=spec.outcome,
        vcov="cluster",
        n_obs=rows.design.n_obs,
        n_clusters=rows.design.n_clusters,
        q=_share(q),
        strengths=_multiples(strengths),
    )


def _plain_error(equation: Equation, at: int, dof: int) -> float:
    return float(np.sqrt(equation.rss / dof * equation.bread[at, at]))


def _item(
    total: np.ndarray,
    outcome: int,
    regressors: list[int],
    column: int,
    benchmarks: Sequence[tuple[str, int]],
    plain: OmittedTerm,
) -> OmittedTerm:
    """The term with the partial R2 of each benchmark."""
    of_term, of_outcome = [], []
    for name, at in benchmarks:
        if at == column:
            raise SpecError(f"{name!r} is the term itself; compare it with another regressor.")
        held = [j for j in regressors if j not in (at, column)]
        of_term.append(partial_r2(total, column, at, held))
        of_outcome.append(partial_r2(total, outcome, at, [*held, column]))
    return replace(
        plain,
        benchmarks=tuple(name for name, _ in benchmarks),
        r2_term=tuple(of_term),
        r2_outcome=tuple(of_outcome),
    )


def _position(terms: Sequence[str], name: str, role: str) -> int:
    if name not in terms:
        raise SpecError(
            f"The {role} {name!r} is not in the model.{nearest(name, terms)} It has "
            f"{', '.join(terms)}."
        )
    return list(terms).index(name)


def _share(q: float) -> float:
    if not 0 < q < np.inf:
        raise SpecError(f"q={q} is a share of the estimate: more than 0, usually at most 1.")
    return float(q)


def _multiples(strengths: Sequence[float]) -> tuple[float, ...]:
    if not strengths or not all(0 < k < np.inf for k in strengths):
        raise SpecError("strengths are multiples of a benchmark's strength: positive numbers.")
    return tuple(float(k) for k in strengths)


def _tidy_row(
    term: str, estimate: float, error: float, df: float, conf_level: float
) -> dict[str, object]:
    check_level(conf_level)
    low, high = t_interval(np.array([estimate]), np.array([error]), df, conf_level)
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = np.array([estimate]) / error
    return {
        "term": term,
        "estimate": estimate,
        "std_error": error,
        "statistic": float(statistic[0]),
        "p_value": float(t_p_values(statistic, df)[0]),
        "conf_low": float(low[0]),
        "conf_high": float(high[0]),
        "conf_level": conf_level,
    }


def _note(r2: tuple[float, float]) -> str:
    if np.isnan(r2[0]):
        return "cannot be: it would explain more of the term than there is"
    if r2[1] >= 1:
        return "it would explain all of the outcome: the most that can be, and no interval"
    return ""

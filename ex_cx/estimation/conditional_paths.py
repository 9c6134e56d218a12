"""Paths that depend on a moderator, or on the exposure itself: least squares with products.

With w a moderator, all factors centred (at the mean of the rows, or at each unit's own mean),

    m_j = a_j x + a_by_moderator_j x w + w + controls + effects + error
    y   = direct x + sum b_j m_j + direct_by_moderator x w + sum b_by_moderator_j m_j w + w + ...
    y   = direct x + sum b_j m_j + sum interaction_j x m_j + controls + effects + error

the first two with those products that are asked for, the last for exposure-mediator interaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from ex_cx.errors import SpecError
from ex_cx.estimation.design import Design, DesignTerm
from ex_cx.estimation.inference import WIPED_OUT
from ex_cx.estimation.moments import ClusterMoments
from ex_cx.estimation.path_levels import Moderated, PathLevels, Products
from ex_cx.estimation.paths import PathEquation, PathModel

__all__ = ["conditional_paths"]

_PERCENTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
_FEW_VALUES = 5
_SOME_BETWEEN = 0.05
"""Share of a factor's variance between units above which raw products are warned of."""


def conditional_paths(
    *,
    outcome: DesignTerm,
    exposure: DesignTerm,
    mediators: Sequence[DesignTerm],
    controls: Sequence[DesignTerm],
    moderator: DesignTerm | None = None,
    moderated: Sequence[Moderated] = (),
    interaction: bool = False,
    products: Products = "raw",
    absorb: Sequence[str] = (),
) -> PathModel:
    """Parallel mediators with a moderator of some paths, or with exposure-mediator interaction.

    Parameters
    ----------
    moderator : with `moderated` naming the paths that it moderates (a, b, direct), in all
        mediators. It stands in every equation, unless the absorbed effects determine it.
    interaction : products of exposure and each mediator in the outcome's equation.
    products : factors centred at their mean over the rows (raw), or at each unit's own mean over
        its rows (within), before they are multiplied.
    absorb : effects taken out of every equation afterwards.

    Returns
    -------
    A model to bind to rows with `for_rows`. Terms, at the mean of the moderator: a:<m>,
    a_by_moderator:<m>, b:<m>, b_by_moderator:<m>, direct, direct_by_moderator, indirect:<m>,
    indirect, index:<m>, curvature:<m>, total, proportion_mediated. `index` is the slope of the
    indirect effect along the moderator, d(a b)/dw: a_by b, a b_by, or both added up at the mean,
    where `curvature`, a_by b_by, says how it changes. With interaction, b:<m> at the mean exposure,
    interaction:<m>, direct (pure natural, one unit more from the mean exposure), indirect:<m>
    (total natural): the total is their sum. An exposure of two values starts from the lower one.

    Notes
    -----
    Centring constants are those of the rows used, and the same in every draw: references, not
    estimates. With `raw` the coefficients of products are those of columns multiplied beforehand,
    since centring at one constant changes only the others. Source: Hayes (2015), Multivariate
    Behavioral Research 50(1), 1-22, and (2018), Communication Monographs 85(1), 4-40, for the
    index; Giesselmann and Schmidt-Catran (2022), Sociological Methods & Research 51(3), 1100-1127,
    for products under unit effects.

    Examples
    --------
    >>> x, y, m, w = (DesignTerm(name) for name in ("x", "y", "m", "w"))
    >>> conditional_paths(outcome=y, exposure=x, mediators=[m], controls=[],
    ...                   moderator=w, moderated=("a",)).terms
    ('a:m', 'a_by_moderator:m', 'b:m', 'direct', 'indirect:m', 'indirect', 'index:m', 'total', \
'proportion_mediated')
    """
    shape = _Shape(
        mediators=tuple(m.term for m in mediators),
        n_controls=len(controls),
        moderator=moderator is not None,
        moderated=tuple(moderated),
        interaction=interaction,
        within=products == "within",
        absorb=tuple(absorb),
    )
    held = () if moderator is None else (moderator,)
    return PathModel(
        columns=(outcome, exposure, *mediators, *held, *controls),
        equations=(),
        terms=shape.terms(),
        effects=shape.effects,
        steps={f"indirect:{m}": (f"a:{m}", f"b:{m}") for m in shape.mediators},
        rivals=(tuple(f"indirect:{m}" for m in shape.mediators),),
        ratios=("proportion_mediated",),
        bind=shape.bind,
    )


@dataclass(frozen=True, kw_only=True)
class _Shape:
    """The products of a model; columns are outcome, exposure, mediators, moderator, controls."""

    mediators: tuple[str, ...]
    n_controls: int
    moderator: bool
    moderated: tuple[Moderated, ...]
    interaction: bool
    within: bool
    absorb: tuple[str, ...]

    @property
    def _m(self) -> tuple[int, ...]:
        return tuple(range(2, 2 + len(self.mediators)))

    @property
    def _w(self) -> int:
        return 2 + len(self.mediators)

    def _has(self, path: Moderated) -> bool:
        return path in self.moderated

    def products(self) -> list[tuple[int, int]]:
        """Pairs of columns to multiply, in the order in which they follow the others."""
        pairs = [(1, self._w)] if self._has("a") or self._has("direct") else []
        pairs += [(m, self._w) for m in self._m] if self._has("b") else []
        return pairs + ([(1, m) for m in self._m] if self.interaction else [])

    def bind(self, model: PathModel, design: Design) -> tuple[PathModel, Design]:
        """The model and the rows with the products as their last columns."""
        names = [term.label for term in model.columns]
        centred = {
            at: self._centred(design, at, names[at]) for pair in self.products() for at in pair
        }
        made = [centred[i] * centred[j] for i, j in self.products()]
        for (i, j), column in zip(self.products(), made, strict=True):
            if not np.isfinite(column).all():
                raise SpecError(
                    f"The product of {names[i]!r} and {names[j]!r} is too large to compute: "
                    "rescale these columns."
                )
        levels = self._levels(design, centred, names)
        before = levels.exposure_from - levels.exposure_mean if self.interaction else 0.0
        bound = replace(
            model,
            effects=partial(self.effects, before=before),
            columns=(
                *model.columns,
                *(DesignTerm(f"{names[i]}:{names[j]}") for i, j in self.products()),
            ),
            equations=self._equations(self._keeps_moderator(design)),
            levels=levels,
            bind=None,
        )
        return bound, replace(design, columns=(*design.columns, *made))

    def _centred(self, design: Design, at: int, name: str) -> np.ndarray:
        column = design.columns[at]
        if not self.within:
            return column - self._centre(design, at)
        if _same_in_each(column, _codes(design)):
            raise SpecError(
                f"products='within' multiplies changes within units, and {name!r} is the same in "
                "all rows of each unit. Use products='raw'."
            )
        return column - _unit_means(design, column)

    def _centre(self, design: Design, at: int) -> float:
        """The mean of the rows; with interaction, the lower value of an exposure that has two."""
        column = design.columns[at]
        low, high = column.min(), column.max()
        if at == 1 and self.interaction and ((column == low) | (column == high)).all():
            return float(low)
        return float(np.average(column, weights=design.weights))

    def _keeps_moderator(self, design: Design) -> bool:
        """Has the moderator a coefficient of its own, or do absorbed effects determine it?

        A constant keeps it, to be refused by name.
        """
        if not self.moderator:
            return False
        alone = replace(design, columns=(design.columns[self._w],))
        moments = ClusterMoments(alone.moment_rows(self.absorb))
        before = float(moments.before[0])
        return before == 0 or bool(moments.total[0, 0] > WIPED_OUT * before)

    def _equations(self, keeps_moderator: bool) -> tuple[PathEquation, ...]:
        first_control = self._w + self.moderator
        controls = tuple(range(first_control, first_control + self.n_controls))
        held = (1, *controls, *((self._w,) if keeps_moderator else ()))
        at = {pair: first_control + self.n_controls + i for i, pair in enumerate(self.products())}
        first = (at[1, self._w],) if self._has("a") else ()
        own = (at[1, self._w],) if self._has("direct") else ()
        last = tuple(at[m, self._w] for m in self._m) if self._has("b") else ()
        crossed = tuple(at[1, m] for m in self._m) if self.interaction else ()
        return (
            *(
                PathEquation(outcome=m, regressors=(*held, *first), wanted=(1, *first))
                for m in self._m
            ),
            PathEquation(
                outcome=0,
                regressors=(*held, *own, *self._m, *last, *crossed),
                wanted=(1, *own, *self._m, *last, *crossed),
            ),
        )

    def _levels(
        self, design: Design, centred: dict[int, np.ndarray], names: list[str]
    ) -> PathLevels:
        mean = {at: float(np.average(design.columns[at], weights=design.weights)) for at in centred}
        start, exposure = self._centre(design, 1), design.columns[1]
        if self.within:
            exposure = exposure - _unit_means(design, exposure)
            mean, start = dict.fromkeys(mean, 0.0), 0.0
        shown, ends, few = np.empty(0), (np.nan, np.nan), False
        if self.moderator:
            values = centred[self._w] + mean[self._w] if self.within else design.columns[self._w]
            distinct = np.unique(values)
            few = len(distinct) <= _FEW_VALUES
            shown = distinct if few else np.unique(np.quantile(values, _PERCENTILES))
            ends = (float(distinct[0]), float(distinct[-1]))
        return PathLevels(
            terms=self.terms(),
            mediators=self.mediators,
            exposure_from=start,
            exposure_to=float(design.columns[1].max()) if start != mean.get(1) else start + 1,
            exposure_range=(float(exposure.min()), float(exposure.max())),
            exposure_mean=mean.get(1, np.nan),
            mediator_means=np.array([mean.get(m, np.nan) for m in self._m]),
            mediator_ranges=self._mediator_ranges(design),
            moderator_mean=mean.get(self._w, np.nan) if self.moderator else np.nan,
            moderator_at=shown,
            every_value=few,
            moderator_range=ends,
            cautions=self._cautions(design, names),
        )

    def _mediator_ranges(self, design: Design) -> np.ndarray:
        """Lowest and highest value of each mediator, of deviations within units where made so."""
        ends = []
        for at in self._m:
            values = design.columns[at]
            values = values - _unit_means(design, values) if self.within else values
            ends.append((values.min(), values.max()))
        return np.array(ends)

    def _cautions(self, design: Design, names: list[str]) -> tuple[str, ...]:
        if "unit" not in self.absorb or self.within:
            return ()
        found = []
        for at in {self._w: None} if self.moderator else {1: None, **dict.fromkeys(self._m)}:
            share = _between_share(design, at)
            if share == 1:
                found.append(
                    f"{names[at]} does not change within units: how paths differ along it compares "
                    "units with each other"
                )
            elif share > _SOME_BETWEEN:
                found.append(
                    f"products with {names[at]} were made before unit effects were taken out, so "
                    f"lasting differences between units ({100 * share:.0f} % of its variance) "
                    "enter their coefficients; compare products='within'"
                )
        return tuple(found)

    def terms(self) -> tuple[str, ...]:
        def each(kind: str) -> list[str]:
            return [f"{kind}:{m}" for m in self.mediators]

        found = each("a") + (each("a_by_moderator") if self._has("a") else [])
        found += each("b") + (each("b_by_moderator") if self._has("b") else [])
        found += each("interaction") if self.interaction else []
        found += ["direct"] + (["direct_by_moderator"] if self._has("direct") else [])
        found += [*each("indirect"), "indirect"]
        if self._has("a") or self._has("b"):
            found += each("index")
            found += ["index"] if len(self.mediators) > 1 else []
        found += each("curvature") if self._has("a") and self._has("b") else []
        return (*found, "total", "proportion_mediated")

    def effects(self, coef: np.ndarray, before: float = 0.0) -> np.ndarray:
        """Every term from the wanted coefficients, shape (draws, terms).

        `before` is the exposure from which natural effects start, less its mean.
        """
        n = len(self.mediators)
        width = n * (1 + self._has("a"))
        first = coef[:, :width].reshape(len(coef), n, -1)
        a, a_by = first[:, :, 0], first[:, :, 1] if self._has("a") else None
        rest, at = coef[:, width:], 0

        def take(size: int) -> np.ndarray:
            nonlocal at
            at += size
            return rest[:, at - size : at]

        direct, direct_by, b = take(1), take(int(self._has("direct"))), take(n)
        b_by, crossed = take(n * self._has("b")), take(n * self.interaction)
        through = a * (b + crossed) if self.interaction else a * b
        if self.interaction:
            direct = direct + before * (a * crossed).sum(axis=1, keepdims=True)
        indirect = through.sum(axis=1, keepdims=True)
        parts = [a, *([] if a_by is None else [a_by]), b, b_by, crossed]
        parts += [direct, direct_by, through, indirect]
        if a_by is not None or b_by.size:
            index = np.zeros_like(a)
            index += 0.0 if a_by is None else a_by * b
            index += a * b_by if b_by.size else 0.0
            parts += [index, *([index.sum(axis=1, keepdims=True)] if n > 1 else [])]
        if a_by is not None and b_by.size:
            parts.append(a_by * b_by)
        total = direct + indirect
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.concatenate([*parts, total, indirect / total], axis=1)


def _unit_means(design: Design, column: np.ndarray) -> np.ndarray:
    """Weighted mean of its unit, for every row."""
    mass = np.ones(design.n_obs) if design.weights is None else design.weights
    sums = np.add.reduceat(column * mass, design.unit_starts)
    return (sums / np.add.reduceat(mass, design.unit_starts))[_codes(design)]


def _between_share(design: Design, at: int) -> float:
    """Share of a column's variance that lies between units; 1 if it is the same in all rows."""
    column = design.columns[at]
    if _same_in_each(column, _codes(design)):
        return 1.0
    centre = np.average(column, weights=design.weights)
    between = np.average((_unit_means(design, column) - centre) ** 2, weights=design.weights)
    return float(between / np.average((column - centre) ** 2, weights=design.weights))


def _codes(design: Design) -> np.ndarray:
    """Unit of each row, 0.. in row order."""
    lengths = np.diff(design.unit_starts, append=design.n_obs)
    return np.repeat(np.arange(design.n_units), lengths)


def _same_in_each(column: np.ndarray, codes: np.ndarray) -> bool:
    """Is the column one value in all rows of each level?"""
    low = np.full(int(codes.max()) + 1, np.inf)
    high = -low
    np.minimum.at(low, codes, column)
    np.maximum.at(high, codes, column)
    return bool((low == high).all())

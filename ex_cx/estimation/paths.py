"""Path models: from the cross-products of one set of rows to direct, indirect and total effects.

A path model names the columns of the rows, the least-squares equations among them, and how their
coefficients make up its terms. Nothing else is needed to estimate it, to resample it, or to draw
its coefficients from their joint covariance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations, pairwise

import numpy as np

from ex_cx.estimation.design import Design, DesignTerm
from ex_cx.estimation.inference import sweep_stages
from ex_cx.estimation.path_levels import PathLevels

__all__ = ["PathEquation", "PathModel", "linear_paths", "serial_routes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PathEquation:
    """One column regressed on others; positions are among the columns of the model.

    Attributes
    ----------
    outcome : position of the column explained.
    regressors : positions of all regressors, in the order in which they are swept out.
    wanted : those of the regressors whose coefficients enter the terms.
    """

    outcome: int
    regressors: tuple[int, ...]
    wanted: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PathModel:
    """What a mediation estimates from its rows.

    Attributes
    ----------
    columns : of the moments, the outcome first.
    equations : on the same rows, with the same effects taken out of each. Equations whose
        regressors begin with those of another cost least.
    terms : names, in the order of the tidy table.
    effects : coefficients -> terms, (draws, coefficients) -> (draws, terms); the coefficients are
        the wanted ones of each equation, one equation after the other.
    implied : how many equations, the last ones, have coefficients that `imply` gives from those of
        the others, (draws, others) -> (draws, implied coefficients): none of them is drawn.
    steps : path -> the terms of its steps, e.g. indirect:m -> (a:m, b:m).
    rivals : groups of paths whose effects have one unit, so that they can be compared.
    ratios : terms that may be infinite or undefined in a draw without the draw being unsound.
    bind : where columns are made of others on the rows used: from model and rows to the model and
        the rows that have them.
    levels : the values at which terms hold, where paths depend on a value.
    """

    columns: tuple[DesignTerm, ...]
    equations: tuple[PathEquation, ...]
    terms: tuple[str, ...]
    effects: Callable[[np.ndarray], np.ndarray]
    implied: int = 0
    imply: Callable[[np.ndarray], np.ndarray] | None = None
    steps: dict[str, tuple[str, ...]] = field(default_factory=dict)
    rivals: tuple[tuple[str, ...], ...] = ()
    ratios: tuple[str, ...] = ()
    bind: Callable[[PathModel, Design], tuple[PathModel, Design]] | None = None
    levels: PathLevels | None = None

    def for_rows(self, design: Design) -> tuple[PathModel, Design]:
        """The model and its rows, with the columns that are made of others on the rows used."""
        return (self, design) if self.bind is None else self.bind(self, design)

    def compute(self, cross: np.ndarray, before: np.ndarray) -> np.ndarray:
        """All terms from cross-products, shape (draws, terms); NaN where one is not identified.

        Parameters
        ----------
        cross : shape (draws, k, k), all effects taken out.
        before : shape (k,), as for `sweep_columns`.
        """
        return self.effects(self.coefficients(cross, before))

    def coefficients(self, cross: np.ndarray, before: np.ndarray) -> np.ndarray:
        """The wanted coefficients of every equation, shape (draws, coefficients)."""
        parts: list[np.ndarray | None] = [None] * len(self.equations)
        for chain in _chains([equation.regressors for equation in self.equations]):
            starts = [0, *(len(regressors) for regressors in chain)]
            stages = [chain[-1][lo:hi] for lo, hi in pairwise(starts)]
            for regressors, swept in zip(chain, sweep_stages(cross, stages, before), strict=True):
                for at, equation in enumerate(self.equations):
                    if equation.regressors == regressors:
                        parts[at] = swept[equation.outcome, list(equation.wanted)]
        return np.concatenate([part for part in parts if part is not None]).T

    def richest(self) -> tuple[PathEquation, ...]:
        """Equations that hold every regressor of the others: if they are identified, all are."""
        sets = [frozenset(equation.regressors) for equation in self.equations]
        chosen: dict[frozenset[int], PathEquation] = {}
        for equation, held in zip(self.equations, sets, strict=True):
            if not any(held < other for other in sets):
                chosen.setdefault(held, equation)
        return tuple(chosen.values())


def _chains(sequences: Sequence[tuple[int, ...]]) -> Iterator[list[tuple[int, ...]]]:
    """Different sequences in chains, each of which begins with the one before it."""
    chain: list[tuple[int, ...]] = []
    for sequence in sorted(set(sequences)):
        if chain and sequence[: len(chain[-1])] != chain[-1]:
            yield chain
            chain = []
        chain.append(sequence)
    yield chain


def serial_routes(n_mediators: int) -> list[tuple[int, ...]]:
    """The ways from exposure to outcome along a chain of mediators, shortest first.

    >>> serial_routes(3)
    [(0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)]
    """
    sizes = range(1, n_mediators + 1)
    return [route for size in sizes for route in combinations(range(n_mediators), size)]


def linear_paths(
    *,
    outcome: DesignTerm,
    exposures: Sequence[DesignTerm],
    mediators: Sequence[DesignTerm],
    controls: Sequence[DesignTerm],
    serial: bool = False,
) -> PathModel:
    """Exposures to mediators, mediators to the outcome; in a serial model also to each other.

    Parameters
    ----------
    serial : each mediator also acts on all that follow it in `mediators`.

    Returns
    -------
    Terms a:<m>, b:<m>, (serial) d:<m1>-><m2>, direct, indirect:<path>, indirect, total,
    proportion_mediated. With several exposures these are a:<x>-><m>, b:<m>, d:<m1>-><m2>, and then
    for each exposure direct:<x>, indirect:<x>-><path>, indirect:<x>, total:<x>,
    proportion_mediated:<x>.

    Examples
    --------
    >>> x, y, m1, m2 = (DesignTerm(name) for name in ("x", "y", "m1", "m2"))
    >>> linear_paths(outcome=y, exposures=[x], mediators=[m1], controls=[]).terms[:4]
    ('a:m1', 'b:m1', 'direct', 'indirect:m1')
    >>> model = linear_paths(outcome=y, exposures=[x], mediators=[m1, m2], controls=[], serial=True)
    >>> model.terms[4:9]
    ('d:m1->m2', 'direct', 'indirect:m1', 'indirect:m2', 'indirect:m1->m2')
    """
    names = [m.term for m in mediators]
    shape = _Shape(
        exposures=tuple(x.term for x in exposures), mediators=tuple(names), serial=serial
    )
    return PathModel(
        columns=(outcome, *exposures, *mediators, *controls),
        equations=shape.equations(len(controls)),
        terms=shape.terms(),
        effects=shape.effects,
        implied=1,
        imply=shape.totals,
        steps=shape.steps(),
        rivals=tuple(
            tuple(shape.path(x, route) for route in shape.routes) for x in shape.exposures
        ),
        ratios=tuple(f"proportion_mediated{shape.suffix(x)}" for x in shape.exposures),
    )


@dataclass(frozen=True, kw_only=True)
class _Shape:
    """The arrows of a linear model; coefficients are those of its equations, in their order."""

    exposures: tuple[str, ...]
    mediators: tuple[str, ...]
    serial: bool

    @property
    def routes(self) -> list[tuple[int, ...]]:
        n = len(self.mediators)
        return serial_routes(n) if self.serial else [(m,) for m in range(n)]

    @property
    def links(self) -> list[tuple[int, int]]:
        """Pairs of mediators of which the first acts on the second."""
        return list(combinations(range(len(self.mediators)), 2)) if self.serial else []

    def suffix(self, exposure: str) -> str:
        return f":{exposure}" if len(self.exposures) > 1 else ""

    def first(self, exposure: str, mediator: int) -> str:
        return f"a:{self._from(exposure)}{self.mediators[mediator]}"

    def path(self, exposure: str, route: tuple[int, ...]) -> str:
        return f"indirect:{self._from(exposure)}{'->'.join(self.mediators[m] for m in route)}"

    def _from(self, exposure: str) -> str:
        return f"{exposure}->" if len(self.exposures) > 1 else ""

    def link(self, pair: tuple[int, int]) -> str:
        return f"d:{self.mediators[pair[0]]}->{self.mediators[pair[1]]}"

    def equations(self, n_controls: int) -> tuple[PathEquation, ...]:
        """Each mediator, the outcome given all of them, the outcome without them."""
        n_x, n_m = len(self.exposures), len(self.mediators)
        x = tuple(range(1, 1 + n_x))
        m = tuple(range(1 + n_x, 1 + n_x + n_m))
        first = (*x, *range(1 + n_x + n_m, 1 + n_x + n_m + n_controls))
        held = [m[:at] if self.serial else () for at in range(n_m)]
        return (
            *(
                PathEquation(outcome=at, regressors=(*first, *before), wanted=(*x, *before))
                for at, before in zip(m, held, strict=True)
            ),
            PathEquation(outcome=0, regressors=(*first, *m), wanted=(*x, *m)),
            PathEquation(outcome=0, regressors=first, wanted=x),
        )

    def terms(self) -> tuple[str, ...]:
        n_m = range(len(self.mediators))
        found = [self.first(x, m) for x in self.exposures for m in n_m]
        found += [f"b:{m}" for m in self.mediators]
        found += [self.link(pair) for pair in self.links]
        for x in self.exposures:
            end = self.suffix(x)
            paths = [self.path(x, route) for route in self.routes]
            whole = [f"indirect{end}", f"total{end}", f"proportion_mediated{end}"]
            found += [f"direct{end}", *paths, *whole]
        return tuple(found)

    def steps(self) -> dict[str, tuple[str, ...]]:
        return {
            self.path(x, route): (
                self.first(x, route[0]),
                *(self.link(pair) for pair in pairwise(route)),
                f"b:{self.mediators[route[-1]]}",
            )
            for x in self.exposures
            for route in self.routes
        }

    def _arrows(
        self, coef: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, dict[tuple[int, int], np.ndarray], np.ndarray]:
        """Per draw: a by exposure and mediator, b by mediator, d by link, direct by exposure."""
        n_x, n_m = len(self.exposures), len(self.mediators)
        a = np.empty((len(coef), n_x, n_m))
        d: dict[tuple[int, int], np.ndarray] = {}
        at = 0
        for m in range(n_m):
            a[:, :, m] = coef[:, at : at + n_x]
            at += n_x
            for before in range(m if self.serial else 0):
                d[before, m] = coef[:, at]
                at += 1
        return a, coef[:, at + n_x : at + n_x + n_m], d, coef[:, at : at + n_x]

    def _through(self, coef: np.ndarray) -> np.ndarray:
        """The product along each path, shape (draws, exposures, routes)."""
        a, b, d, _ = self._arrows(coef)
        routes = self.routes
        out = np.empty((len(coef), len(self.exposures), len(routes)))
        for at, route in enumerate(routes):
            onwards = b[:, route[-1]]
            for pair in pairwise(route):
                onwards = onwards * d[pair]
            out[:, :, at] = a[:, :, route[0]] * onwards[:, None]
        return out

    def totals(self, coef: np.ndarray) -> np.ndarray:
        """Direct and all indirect effects added up, shape (draws, exposures)."""
        return self._arrows(coef)[3] + self._through(coef).sum(axis=2)

    def effects(self, coef: np.ndarray) -> np.ndarray:
        """Every term from the coefficients of every equation, (draws, terms), each side by side."""
        a, b, d, direct = self._arrows(coef)
        through = self._through(coef)
        total = coef[:, -len(self.exposures) :]
        parts = [a.reshape(len(coef), -1), b, *(d[pair][:, None] for pair in self.links)]
        for x in range(len(self.exposures)):
            indirect = through[:, x].sum(axis=1)
            with np.errstate(divide="ignore", invalid="ignore"):
                share = indirect / total[:, x]
            parts += [direct[:, x, None], through[:, x]]
            parts += [indirect[:, None], total[:, x, None], share[:, None]]
        return np.concatenate([part.T for part in parts]).T

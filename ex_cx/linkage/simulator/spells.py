"""Spells: who belongs to a unit from which month to which, when exits are random and refilled."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Spells", "draw_spells"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Spells:
    """One row for each time that someone belonged to a unit.

    Attributes
    ----------
    unit, person : shape (n,), codes; a person who moves has a spell in each unit.
    start : month of joining; -1 for those there before the first month.
    end : month of leaving; the number of months for those still there.
    moved : did the spell end by moving to another unit (at the end of month `end`)?
    after_move : did it begin so (on the first of month `start`)?
    people : number of different persons.
    at_start : shape (N, T), members at the start of each month.
    """

    unit: np.ndarray
    person: np.ndarray
    start: np.ndarray
    end: np.ndarray
    moved: np.ndarray
    after_move: np.ndarray
    people: int
    at_start: np.ndarray


def draw_spells(
    *,
    plan: np.ndarray,
    exit_share: np.ndarray,
    move_share: np.ndarray,
    groups: np.ndarray,
    rng: np.random.Generator,
) -> Spells:
    """Let members leave and move at random, month by month, and fill what is vacant.

    Parameters
    ----------
    plan : shape (N, T), whole numbers: planned members; vacancies at the start of a month are
        filled in it. A unit planned from a later month on starts empty.
    exit_share, move_share : shape (N, T): chance that a member at the start of the month leaves,
        and that one who has not left moves.
    groups : shape (N,): moves go to a unit of the same group that is planned for next month; with
        no such unit the person leaves the company.
    """
    n_units, n_periods = plan.shape
    book = _Book()
    book.add(np.repeat(np.arange(n_units), plan[:, 0]), start=-1)
    at_start = np.zeros(plan.shape, dtype=np.int64)
    for month in range(n_periods):
        at_start[:, month] = np.bincount(book.unit, minlength=n_units)
        leaves = rng.random(len(book.unit)) < exit_share[book.unit, month]
        moves = ~leaves & (rng.random(len(book.unit)) < move_share[book.unit, month])
        last = month + 1 == n_periods
        eligible = plan[:, month if last else month + 1] > 0
        targets, found = _destinations(book.unit[moves], groups, eligible, rng)
        people = book.person[moves][found]
        book.end(leaves, moves, month)
        vacant = np.maximum(plan[:, month] - at_start[:, month], 0)
        book.add(np.repeat(np.arange(n_units), vacant), start=month)
        if not last:
            book.add(targets, start=month + 1, person=people)
    return book.close(n_periods, at_start)


class _Book:
    """The members of the moment, and every spell so far."""

    def __init__(self) -> None:
        self.unit = self.person = self.row = np.zeros(0, dtype=np.int64)
        self._spells: list[np.ndarray] = []  # unit, person, start, after_move
        self._ends: list[np.ndarray] = []  # row, end, moved
        self._rows = self._people = 0

    def add(self, unit: np.ndarray, *, start: int, person: np.ndarray | None = None) -> None:
        after_move = person is not None
        if person is None:
            person = self._people + np.arange(len(unit))
            self._people += len(unit)
        row = self._rows + np.arange(len(unit))
        self._rows += len(unit)
        same = np.ones(len(unit), dtype=np.int64)
        self._spells.append(np.stack([unit, person, same * start, same * after_move]))
        self.unit = np.concatenate([self.unit, unit])
        self.person = np.concatenate([self.person, person])
        self.row = np.concatenate([self.row, row])

    def end(self, leaves: np.ndarray, moves: np.ndarray, month: int) -> None:
        gone = leaves | moves
        rows = self.row[gone]
        self._ends.append(np.stack([rows, np.full(len(rows), month), moves[gone]]))
        self.unit, self.person, self.row = self.unit[~gone], self.person[~gone], self.row[~gone]

    def close(self, n_periods: int, at_start: np.ndarray) -> Spells:
        unit, person, start, after_move = np.concatenate(self._spells, axis=1)
        row, month, by_move = np.concatenate(self._ends, axis=1)
        end = np.full(len(unit), n_periods)
        moved = np.zeros(len(unit), dtype=bool)
        end[row], moved[row] = month, by_move.astype(bool)
        return Spells(
            unit=unit,
            person=person,
            start=start,
            end=end,
            moved=moved,
            after_move=after_move.astype(bool),
            people=self._people,
            at_start=at_start,
        )


def _destinations(
    origin: np.ndarray, groups: np.ndarray, eligible: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Another eligible unit of the same group for each mover, and for whom there was one."""
    target = np.full(len(origin), -1)
    pick = rng.random(len(origin))
    for group in np.unique(groups[origin]):
        movers = groups[origin] == group
        options = np.flatnonzero((groups == group) & eligible)
        others = len(options) - eligible[origin[movers]]
        chosen = np.minimum(pick[movers] * others, np.maximum(others - 1, 0)).astype(int)
        if len(options):
            own = np.searchsorted(options, origin[movers])
            chosen += eligible[origin[movers]] & (chosen >= own)
            target[movers] = np.where(others > 0, options[np.minimum(chosen, len(options) - 1)], -1)
    found = target >= 0
    return target[found], found

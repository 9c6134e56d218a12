"""Which cells of a table of counts may not be shown, so that no small one can be computed.

A cell is a unit, a group of units or all of them, in a period, a longer period or over the whole
time. Every study is withheld as if all of these were published side by side: a month study and a
quarter study, a report of a segment and one of all, and totals of a site that others publish.

Rules, for a least number of people `min_n`:

1. a cell of fewer than `min_n` people is withheld (0 people are not: nothing is said of anybody);
2. of the parts of a total that is shown, none is withheld, or at least two with `min_n` people
   together; else the next smallest part is withheld, too, and if there is none the total;
3. a total that is withheld has a part that is withheld;
4. no withheld cell follows from the totals all together: the equations between cells have more
   than one solution for each. (Rule 2 looks at one line at a time, and crossing lines can be
   solved where each alone cannot.)

The sets for 5, 6, ... people are made one out of the other, so that a higher threshold withholds
all that a lower one does, and two reports of different thresholds give away no more than one.

Source: Hundepool et al. (2012), Statistical Disclosure Control, Wiley, chapter 4 (secondary cell
suppression in linked and hierarchical tables; sum over cells in place of their intervals).
"""

from __future__ import annotations

import functools
import hashlib
import pickle
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ex_cx.linkage.schema import MIN_N

if TYPE_CHECKING:
    from scipy import sparse

__all__ = ["Layout", "lattice_sums", "withheld_cells", "withheld_everywhere"]

_DENSE = 800
"""Unknown cells that hang together up to which the equations are solved as a full matrix."""
_DETERMINED = 1e-6
"""What of a cell is left free by the equations below which it is determined."""
_NONE = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Layout:
    """How the cells of a table add up.

    Attributes
    ----------
    groups : attribute -> shape (units,), the group of each unit, from 0; units without a value are
        a group of their own.
    spans : for each longer time, shape (periods of the time before it,): which of its periods each
        belongs to, from 0. Months to quarters to years is two of them.
    """

    groups: Mapping[str, np.ndarray]
    spans: Sequence[np.ndarray] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Line:
    """Totals at one time and their parts, column by column.

    `part`, `total` are (people, withheld, number of the cell), each shape (rows, columns), views of
    one table; `code` is the row of the total of each part, `order` and `starts` sort parts by it.
    """

    part: tuple[np.ndarray, np.ndarray, np.ndarray]
    total: tuple[np.ndarray, np.ndarray, np.ndarray]
    code: np.ndarray
    order: np.ndarray
    starts: np.ndarray


def withheld_cells(
    n: np.ndarray,
    layout: Layout,
    thresholds: Sequence[int],
    known: Mapping[int, Mapping[int, np.ndarray]] | None = None,
) -> dict[int, list[np.ndarray]]:
    """For each threshold, which cells are withheld.

    Parameters
    ----------
    n : shape (units, periods), people behind each cell, at the finest time.
    layout : which groups and longer periods there are.
    thresholds : least numbers of people, such as 5 and 10.
    known : threshold -> time (0 the finest) -> mask (units, its periods) of cells that are
        withheld from that threshold on anyway, such as those that an earlier release withheld.

    Returns
    -------
    threshold -> for each time a mask (units, its periods). A mask of a higher threshold holds that
    of a lower one.

    >>> found = withheld_cells(np.array([[9], [3], [7], [8]]), Layout(groups={}), [5])
    >>> found[5][0].ravel().tolist()
    [False, True, True, False]
    """
    every = withheld_everywhere(np.asarray(n, dtype=np.int64), layout, thresholds, known)
    return {least: [mask[: len(n)] for mask in masks] for least, masks in every.items()}


def withheld_everywhere(
    n: np.ndarray,
    layout: Layout,
    thresholds: Sequence[int],
    known: Mapping[int, Mapping[int, np.ndarray]] | None = None,
    released: Mapping[int, Sequence[np.ndarray]] | None = None,
) -> dict[int, list[np.ndarray]]:
    """As `withheld_cells`, with the groups and all of them below the units.

    Parameters
    ----------
    known : masks of the units, or of all rows.
    released : threshold -> for each time a mask of all rows: cells that readers have already. To
        withhold one of them protects nothing, so that others are withheld in its place; if none
        is left the earlier releases have given the cell away, and nothing can be done.
    """
    given = (n, layout.groups, layout.spans, list(thresholds), known, released)
    digest = hashlib.sha256(pickle.dumps(given)).digest()
    asked = _Asked(digest, n, layout, thresholds, known, released)
    return {least: [mask.copy() for mask in masks] for least, masks in _withheld(asked).items()}


@dataclass(frozen=True, slots=True)
class _Asked:
    """The arguments of `withheld_everywhere`, equal where their digests are."""

    digest: bytes
    n: np.ndarray = field(compare=False)
    layout: Layout = field(compare=False)
    thresholds: Sequence[int] = field(compare=False)
    known: Mapping[int, Mapping[int, np.ndarray]] | None = field(compare=False)
    released: Mapping[int, Sequence[np.ndarray]] | None = field(compare=False)


@functools.lru_cache(maxsize=64)
def _withheld(asked: _Asked) -> dict[int, list[np.ndarray]]:
    """Asked again for the same cells when sources are linked, and when a release is drafted."""
    counts = lattice_sums(asked.n, asked.layout)
    masks = [np.zeros(each.shape, dtype=bool) for each in counts]
    lines = list(_lines(counts, masks, asked.layout, len(asked.n)))
    thresholds, found = asked.thresholds, {}
    for least in range(min(MIN_N, *thresholds), max(thresholds) + 1):
        for time, mask in (asked.known or {}).get(least, {}).items():
            masks[time][: len(mask)] |= mask & (counts[time][: len(mask)] > 0)
        for people, mask in zip(counts, masks, strict=True):
            mask |= (people > 0) & (people < least)
        wanted = [mask.copy() for mask in masks]
        there = (asked.released or {}).get(least) or [np.zeros_like(mask) for mask in masks]
        for mask, seen in zip(masks, there, strict=True):
            mask &= ~seen
        _close(lines, least, np.concatenate([seen.ravel() for seen in there]))
        for mask, own in zip(masks, wanted, strict=True):
            mask |= own
        if least in thresholds:
            found[least] = [mask.copy() for mask in masks]
    return found


def lattice_sums(n: np.ndarray, layout: Layout) -> list[np.ndarray]:
    """Units, groups and all of them (rows), at each time and over the whole (columns).

    >>> [each.tolist() for each in lattice_sums(np.array([[1, 2], [3, 4]]), Layout(groups={}))]
    [[[1, 2], [3, 4], [4, 6]], [[3], [7], [10]]]
    """
    parts = [n]
    for codes in layout.groups.values():
        sums = np.zeros((int(codes.max()) + 1, n.shape[1]), dtype=n.dtype)
        np.add.at(sums, codes, n)
        parts.append(sums)
    out = [np.vstack([*parts, n.sum(axis=0, keepdims=True)])]
    for span in _spans(layout, n.shape[1]):
        longer = np.zeros((len(out[-1]), int(span.max()) + 1), dtype=n.dtype)
        np.add.at(longer.T, span, out[-1].T)
        out.append(longer)
    return out


def _spans(layout: Layout, periods: int) -> list[np.ndarray]:
    """Those of the layout, and the whole time."""
    last = int(layout.spans[-1].max()) + 1 if len(layout.spans) else periods
    return [*layout.spans, np.zeros(last, dtype=np.int64)]


def _lines(
    counts: Sequence[np.ndarray], masks: Sequence[np.ndarray], layout: Layout, units: int
) -> Iterator[_Line]:
    """All totals: over units and over groups at each time, and over time for each of them."""
    first = np.cumsum([0, *(each.size for each in counts)])
    tables = [
        (n, mask, first[time] + np.arange(n.size).reshape(n.shape))
        for time, (n, mask) in enumerate(zip(counts, masks, strict=True))
    ]
    rows = _group_rows(layout, units)
    everyone = slice(len(counts[0]) - 1, len(counts[0]))
    for table in tables:
        yield _line(table, slice(0, units), everyone, np.zeros(units, dtype=np.int64))
        for name, codes in layout.groups.items():
            own = rows[name]
            yield _line(table, slice(0, units), own, codes)
            yield _line(table, own, everyone, np.zeros(own.stop - own.start, dtype=np.int64))
        for finer, coarser, code in _nested(layout):
            yield _line(table, rows[finer], rows[coarser], code)
    for time, span in enumerate(_spans(layout, counts[0].shape[1])):
        part, total = ((t[0].T, t[1].T, t[2].T) for t in tables[time : time + 2])
        yield _sorted_line(part, total, span)


def _group_rows(layout: Layout, units: int) -> dict[str, slice]:
    found, start = {}, units
    for name, codes in layout.groups.items():
        found[name] = slice(start, start + int(codes.max()) + 1)
        start = found[name].stop
    return found


def _nested(layout: Layout) -> Iterator[tuple[str, str, np.ndarray]]:
    """Attributes each of whose groups lies in one group of another, and in which it lies."""
    for finer, inner in layout.groups.items():
        for coarser, outer in layout.groups.items():
            code = np.zeros(int(inner.max()) + 1, dtype=np.int64)
            code[inner] = outer
            if finer != coarser and (code[inner] == outer).all():
                yield finer, coarser, code


def _line(
    table: tuple[np.ndarray, np.ndarray, np.ndarray], part: slice, total: slice, code: np.ndarray
) -> _Line:
    n, mask, cell = table
    return _sorted_line(
        (n[part], mask[part], cell[part]), (n[total], mask[total], cell[total]), code
    )


def _sorted_line(
    part: tuple[np.ndarray, np.ndarray, np.ndarray],
    total: tuple[np.ndarray, np.ndarray, np.ndarray],
    code: np.ndarray,
) -> _Line:
    order = np.argsort(code, kind="stable")
    starts = np.flatnonzero(np.diff(code[order], prepend=-1))
    return _Line(part=part, total=total, code=code, order=order, starts=starts)


def _close(lines: Sequence[_Line], least: int, released: np.ndarray) -> None:
    """Withhold further cells until every rule holds, or none is left that is not released."""
    if not any(line.part[1].any() or line.total[1].any() for line in lines):
        return
    while True:
        while sum(_mend(lines, line, least, released) for line in lines):
            pass
        determined = _determined(lines)
        if not len(determined) or not _loosen(lines, determined, released):
            return


def _mend(lines: Sequence[_Line], line: _Line, least: int, released: np.ndarray) -> bool:
    """Rules 2 and 3 in one line; was anything withheld for them?"""
    people, withheld, _ = line.part
    total, hidden, _ = line.total
    count = np.add.reduceat(withheld[line.order], line.starts, axis=0, dtype=np.int64)
    behind = np.where(withheld, people, 0)[line.order]
    behind = np.add.reduceat(behind, line.starts, axis=0)
    few = ~hidden & (count > 0) & ((count == 1) | (behind < least))
    need = few | (hidden & (count == 0) & (total > 0))
    return _withhold_next(lines, line, need, released)


def _withhold_next(
    lines: Sequence[_Line], line: _Line, need: np.ndarray, released: np.ndarray
) -> bool:
    """Withhold one more part of each total that needs it; the total where all parts are.

    The part is one that would be alone in the fewest of its lines, since there others would have
    to follow; of these the one of the fewest people, and of these the first. Cells by number that
    are `released` stay as they are. Was any withheld?
    """
    columns = np.flatnonzero(need.any(axis=0))
    if not len(columns):
        return False
    people, withheld, cell = line.part
    n, mask, number = people[:, columns], withheld[:, columns], cell[:, columns]
    alone = _alone(lines)[number]
    rank = (alone * (n.max() + 1) + n) * len(n) + np.arange(len(n))[:, None]
    rank = np.where((n > 0) & ~mask & ~released[number], rank, _NONE)[line.order]
    smallest = np.minimum.reduceat(rank, line.starts, axis=0)
    there = smallest != _NONE
    wanted = need[:, columns]
    at = np.nonzero(wanted & there)
    withheld[smallest[at] % len(n), columns[at[1]]] = True
    open_ = ~line.total[1][:, columns] & ~released[line.total[2][:, columns]]
    above = np.nonzero(wanted & ~there & open_)
    line.total[1][above[0], columns[above[1]]] = True
    return bool(len(at[0]) or len(above[0]))


def _alone(lines: Sequence[_Line]) -> np.ndarray:
    """For each cell, of how many totals it would be the only part that is withheld."""
    found = np.zeros(1 + max(int(line.total[2].max()) for line in lines), dtype=np.int64)
    for line in lines:
        none = ~np.maximum.reduceat(line.part[1][line.order], line.starts, axis=0)
        found[line.part[2]] += (none & ~line.total[1])[line.code]
    return found


def _loosen(lines: Sequence[_Line], determined: np.ndarray, released: np.ndarray) -> bool:
    """Withhold one more cell in a line of each cell that the equations determine; was it done?"""
    left, done = determined, False
    for line in lines:
        here = np.isin(line.part[2], left) & line.part[1]
        need = np.maximum.reduceat(here[line.order], line.starts, axis=0)
        need &= (line.total[0] > 0) & ~line.total[1]
        if need.any() and _withhold_next(lines, line, need, released):
            left, done = np.setdiff1d(left, line.part[2][here & need[line.code]]), True
        if not len(left):
            break
    return done


def _determined(lines: Sequence[_Line]) -> np.ndarray:
    """Numbers of withheld cells that have one solution only."""
    import scipy.sparse as sparse

    cells, matrix = _equations(lines)
    if not len(cells):
        return cells
    unknowns = matrix.shape[1]
    both = sparse.bmat([[None, matrix], [matrix.T, None]], format="csr")
    label = sparse.csgraph.connected_components(both, directed=False)[1]
    of_equation, of_cell = label[:-unknowns], label[-unknowns:]
    order, rows = np.argsort(of_cell, kind="stable"), np.argsort(of_equation, kind="stable")
    free = np.ones(unknowns)
    for each in np.unique(of_cell):
        own = order[slice(*np.searchsorted(of_cell, [each, each + 1], sorter=order))]
        its = rows[slice(*np.searchsorted(of_equation, [each, each + 1], sorter=rows))]
        free[own] = _freedom(matrix[its][:, own])
    return cells[free < _DETERMINED]


def _equations(lines: Sequence[_Line]) -> tuple[np.ndarray, sparse.csr_matrix]:
    """The withheld cells, and one row per total of which a part is withheld: parts 1, total -1."""
    import scipy.sparse as sparse

    entries, start = [], 0
    for line in lines:
        width = line.total[0].shape[1]
        row, column = np.nonzero(line.part[1])
        entries.append((start + line.code[row] * width + column, line.part[2][row, column], 1.0))
        row, column = np.nonzero(line.total[1])
        entries.append((start + row * width + column, line.total[2][row, column], -1.0))
        start += line.total[0].size
    equation = np.unique(np.concatenate([each[0] for each in entries]), return_inverse=True)[1]
    cells, unknown = np.unique(np.concatenate([each[1] for each in entries]), return_inverse=True)
    sign = np.concatenate([np.full(len(each[0]), each[2]) for each in entries])
    return cells, sparse.csr_matrix((sign, (equation, unknown)))


def _freedom(matrix: sparse.csr_matrix) -> np.ndarray:
    """How far each unknown can move while all equations hold; 0 where it is determined."""
    places = (each.astype(np.int32).tobytes() for each in (matrix.indices, matrix.indptr))
    return _solved(matrix.shape, matrix.shape[1] <= _DENSE, matrix.data.tobytes(), *places)


@functools.lru_cache(maxsize=512)
def _solved(
    shape: tuple[int, int], dense: bool, data: bytes, indices: bytes, indptr: bytes
) -> np.ndarray:
    """The same equations come again at the next threshold, and with the next source's groups."""
    import scipy.sparse as sparse

    numbers = (np.frombuffer(each, dtype=np.int32) for each in (indices, indptr))
    matrix = sparse.csr_matrix((np.frombuffer(data), *numbers), shape=shape)
    if dense:
        _, size, directions = np.linalg.svd(matrix.toarray(), full_matrices=False)
        fixed = directions[size > 1e-9 * size.max()]
        return np.clip(1 - (fixed**2).sum(axis=0), 0, None)
    from scipy.sparse.linalg import lsmr

    unknowns = shape[1]
    irregular = np.modf(1000 * np.sqrt(np.arange(2, unknowns + 2)))[0] - 0.5  # no sums cancel
    found = lsmr(matrix.T, irregular, atol=1e-13, btol=1e-13, conlim=0, maxiter=20 * unknowns)
    return np.abs(irregular - matrix.T @ found[0])

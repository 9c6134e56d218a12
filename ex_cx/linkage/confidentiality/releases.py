"""What earlier releases have shown, and what a new one withholds so that no difference tells it.

If one late answer comes in, the two values of its cell give it away. A register keeps of every
release how many people each cell counted, from which threshold on it was withheld, and of the
cells that were shown a keyed digest of their sum: no answer, no name, and neither units nor
numbers in the clear. A new release of the same answers is compared with each release before:

1. the people who changed are a table themselves, of which nothing small may be known: a cell that
   differs by fewer than `min_n` people, or by none although its sum does (then at least one answer
   was revised), is withheld, with others, so that the differences do not follow either;
2. a cell that was withheld and has not changed stays withheld;
3. a cell that was shown and has not changed is known: withholding it protects nobody, so that
   others take its place.

The people who changed in a cell are counted too low rather than too high: by the difference of the
two numbers, as one where only the sum differs, and by the sum of those over the parts of a total.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np

from ex_cx.linkage.confidentiality.disclosure import lattice_sums, withheld_everywhere
from ex_cx.linkage.confidentiality.withholding import CellTable, Plan
from ex_cx.linkage.schema import MIN_N, MeasureSpec

__all__ = [
    "Cell",
    "NamedCells",
    "Past",
    "Release",
    "ReleasedTable",
    "drafted",
    "not_planned",
    "release_name",
    "released_table",
    "replanned",
    "table_key",
]

Cell = tuple[int, int, str]
"""Number of people, sealed; threshold from which on it is withheld, 0: none; digest of its sum."""
_SEAL = 4294967296


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleasedTable:
    """The cells of one measure in one release, those of nobody left out.

    Attributes
    ----------
    columns : keyed hashes of the names of the unit and of its attributes.
    least, most : people that a value needed, and a standard error.
    cells : keyed hash of a cell's place -> what is known of it.
    """

    columns: tuple[str, ...]
    least: int
    most: int
    cells: Mapping[str, Cell]


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """What one study has shown at one time.

    Attributes
    ----------
    study : its name.
    made : day of the release.
    name : keyed hash of what it counts, of the answers and the thresholds: equal data, equal name.
    tables : key of source and measure -> its cells.
    """

    study: str
    made: str
    name: str
    tables: Mapping[str, ReleasedTable]


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """The releases so far, oldest first, and the key of their hashes."""

    key: bytes = field(repr=False)
    releases: tuple[Release, ...] = ()

    def before(self, name: str) -> tuple[Release, ...]:
        """The releases that came before one of this name; all, if there was none.

        >>> one, two = (Release(study="s", made="", name=n, tables={}) for n in "ab")
        >>> [len(Past(key=b"", releases=(one, two)).before(n)) for n in "abc"]
        [0, 1, 2]
        """
        names = [release.name for release in self.releases]
        return self.releases[: names.index(name)] if name in names else self.releases


def table_key(key: bytes, source: str, measure: MeasureSpec) -> str:
    """Equal for the same measure of the same source; `split_seed` does not change what it is."""
    rule = asdict(measure) | {"split_seed": None}
    return _hashed(key, json.dumps([source, rule], sort_keys=True)).hex()[:24]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NamedCells:
    """Cells time by time, for units, groups and all of them: name, seal, people and sum of each.

    `columns` are hashes of the names of the unit and its attributes.
    """

    columns: tuple[str, ...]
    names: list[np.ndarray]
    seals: list[np.ndarray]
    n: list[np.ndarray]
    sums: list[np.ndarray]

    def digest(self, key: bytes, time: int, row: int, column: int) -> str:
        """Of the cell's sum to nine digits, so that the order of rows does not matter."""
        total = f"{self.sums[time][row, column] + 0.0:.9g}"
        return _hashed(key, f"{self.names[time][row, column]} {total}").hex()[:16]


def drafted(
    key: bytes, table: str, n: np.ndarray, sums: np.ndarray, cells: CellTable
) -> NamedCells:
    """The cells of one measure, named.

    Parameters
    ----------
    n, sums : shape (units, finest periods).
    """
    counts, totals = lattice_sums(n, cells.layout), lattice_sums(sums, cells.layout)
    names, seals = [], []
    for time, people in enumerate(counts):
        whos = (json.dumps([table, who]) for who in cells.who)
        whens = [json.dumps(when) for when in cells.when[time]]
        found = [_hashed(key, who + when) for who in whos for when in whens]
        names.append(np.array([each.hex()[:24] for each in found]).reshape(people.shape))
        seals.append(
            np.array([int.from_bytes(each[16:20], "big") for each in found]).reshape(people.shape)
        )
    called = dict.fromkeys(column for column, _ in cells.who if column)
    columns = tuple(_hashed(key, json.dumps([table, name])).hex()[:24] for name in called)
    return NamedCells(columns=columns, names=names, seals=seals, n=counts, sums=totals)


def released_table(
    key: bytes, draft: NamedCells, plan: Plan, least: int, most: int
) -> ReleasedTable:
    """What the register keeps of a measure that is shown by a plan."""
    found: dict[str, Cell] = {}
    for time, people in enumerate(draft.n):
        level = np.zeros(people.shape, dtype=np.int64)
        for threshold in sorted(plan, reverse=True):
            level[plan[threshold][time]] = threshold
        for row, column in np.argwhere(people > 0):
            sealed = (int(people[row, column]) + int(draft.seals[time][row, column])) % _SEAL
            at = int(level[row, column])
            shown = at == 0 or at > least
            digest = draft.digest(key, time, row, column) if shown else ""
            found[str(draft.names[time][row, column])] = (sealed, at, digest)
    return ReleasedTable(columns=draft.columns, least=least, most=most, cells=found)


def release_name(
    key: bytes, study: str, tables: Mapping[str, ReleasedTable], about: Sequence[str]
) -> str:
    """The name of a release of these tables, as they are before any other release is looked at.

    Parameters
    ----------
    about : what else makes one release differ from another, such as the frequency.
    """
    parts = [
        [
            name,
            table.columns,
            table.least,
            table.most,
            sorted([cell, *kept] for cell, kept in table.cells.items()),
        ]
        for name, table in sorted(tables.items())
    ]
    return _hashed(key, json.dumps([study, list(about), parts])).hex()[:24]


def replanned(
    key: bytes,
    draft: NamedCells,
    cells: CellTable,
    plan: Plan,
    earlier: Sequence[ReleasedTable],
) -> Plan:
    """The plan with what must be withheld further because of earlier releases of the measure."""
    if not earlier:
        return plan
    known = {least: dict(enumerate(mask.copy() for mask in masks)) for least, masks in plan.items()}
    shown = {least: [np.zeros_like(mask) for mask in masks] for least, masks in plan.items()}
    for table in earlier:
        seen = _Seen.of(key, draft, table)
        for least, differing in seen.differing(draft, cells, sorted(plan)).items():
            hidden = seen.hidden(least)
            for time, mask in enumerate(differing):
                known[least][time] |= (mask & ~hidden[time]) | (hidden[time] & seen.same[time])
                shown[least][time] |= seen.there[time] & seen.same[time] & ~hidden[time]
    return withheld_everywhere(draft.n[0][: _units(cells)], cells.layout, list(plan), known, shown)


def not_planned(draft: NamedCells, earlier: Sequence[ReleasedTable]) -> list[int]:
    """Which earlier releases are of other units, in a way that no release knows how both add up.

    Of teams and sites, one of them must have named the other as its attribute, or a third both.
    """
    own = draft.columns[0]
    lists = [set(table.columns) for table in earlier]
    return [
        at
        for at, table in enumerate(earlier)
        if table.columns[0] not in draft.columns
        and not any({own, table.columns[0]} <= each for each in lists)
    ]


def _units(cells: CellTable) -> int:
    groups = sum(int(codes.max()) + 1 for codes in cells.layout.groups.values())
    return len(cells.who) - groups - 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Seen:
    """An earlier release at the cells of the new one, time by time.

    Attributes
    ----------
    there : was the cell in it? n : its people then, 0 where it was not.
    level : the threshold from which on it was withheld; `least`, `most` : those of the release.
    revised : the same number of people, another sum. same : neither is different.
    """

    there: list[np.ndarray]
    n: list[np.ndarray]
    level: list[np.ndarray]
    revised: list[np.ndarray]
    same: list[np.ndarray]
    least: int
    most: int

    @classmethod
    def of(cls, key: bytes, draft: NamedCells, table: ReleasedTable) -> _Seen:
        parts: dict[str, list[np.ndarray]] = {name: [] for name in ("there", "n", "level")}
        parts |= {"revised": [], "same": []}
        for time, people in enumerate(draft.n):
            there, revised = (np.zeros(people.shape, dtype=bool) for _ in range(2))
            n, level = (np.zeros(people.shape, dtype=np.int64) for _ in range(2))
            for row, column in np.ndindex(*people.shape):
                cell = table.cells.get(str(draft.names[time][row, column]))
                if cell is None:
                    continue
                there[row, column], level[row, column] = True, cell[1]
                n[row, column] = (cell[0] - int(draft.seals[time][row, column])) % _SEAL
                if cell[2] and n[row, column] == people[row, column]:
                    revised[row, column] = cell[2] != draft.digest(key, time, row, column)
            same = there & (n == people) & ~revised
            for name, each in zip(parts, (there, n, level, revised, same), strict=True):
                parts[name].append(each)
        return cls(**parts, least=table.least, most=table.most)

    def hidden(self, least: int) -> list[np.ndarray]:
        """Which cells readers did not have of what needs `least` people now."""
        asked = min(max(least, self.least), self.most)
        return [(level > 0) & (level <= asked) for level in self.level]

    def differing(self, draft: NamedCells, cells: CellTable, every: Sequence[int]) -> Plan:
        """Threshold -> the cells whose difference may not be known."""
        units = _units(cells)
        moved = np.abs(draft.n[0] - self.n[0])
        moved = np.where(self.revised[0] & (moved == 0), 1, moved)[:units]
        known: dict[int, dict[int, np.ndarray]] = {}
        for least in range(min(MIN_N, *every), max(every) + 1):
            known[least] = {}
            for time, hidden in enumerate(self.hidden(least)):
                apart = np.abs(draft.n[time] - self.n[time])
                few = self.there[time] & (((apart > 0) & (apart < least)) | self.revised[time])
                known[least][time] = few | hidden
        found = withheld_everywhere(moved, cells.layout, every, known)
        return {
            least: [
                mask | (known[least][time] & ~self.hidden(least)[time])
                for time, mask in enumerate(masks)
            ]
            for least, masks in found.items()
        }


def _hashed(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), hashlib.sha256)

"""Sources that are linked, withheld together: the attributes of one group the units of another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from ex_cx.errors import LinkError
from ex_cx.linkage.calendar import calendar_codes
from ex_cx.linkage.confidentiality.releases import (
    NamedCells,
    Past,
    Release,
    ReleasedTable,
    drafted,
    not_planned,
    release_name,
    released_table,
    replanned,
    table_key,
)
from ex_cx.linkage.confidentiality.together import apart, check_together, hidden_totals
from ex_cx.linkage.confidentiality.withholding import (
    CellTable,
    Plan,
    cell_table,
    hide,
    planned,
    spread,
    thresholds,
    withhold,
)
from ex_cx.linkage.measure import MeasuredSource

__all__ = ["ReleaseAsked", "protect_release", "protect_sources"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseAsked:
    """A release that is to be compared with those before.

    Attributes
    ----------
    past : the register.
    study : who releases. made : the day.
    """

    past: Past
    study: str
    made: str = ""


def protect_sources(
    sources: Sequence[MeasuredSource],
) -> tuple[list[MeasuredSource], frozenset[tuple[str, str, str]]]:
    """The sources without the values that follow from totals of any group that one of them knows.

    A source by itself withholds for the groups of its own attributes; linked, the site of a team
    may stand in another file. Of two measures of the same answers, by nearly the same people, the
    second is withheld where less the first it would tell of few. What is withheld further is
    counted under `withheld_for_others`. Also source, measure and period whose total is withheld.

    Raises
    ------
    LinkError : a source shows, unprotected, the answers that another one of its file protects.
    """
    check_together(sources)
    groups = _all_groups(sources)
    found = [_protected(source, groups) for source in sources]
    each = [_apart(source, found[:at], groups) for at, source in enumerate(found)]
    return [source for source, _ in each], frozenset().union(*(hidden for _, hidden in each))


def protect_release(
    sources: Sequence[MeasuredSource], asked: ReleaseAsked
) -> tuple[list[MeasuredSource], Release, frozenset[tuple[str, str, str]]]:
    """The sources, protected already, without what differences from earlier releases would tell.

    What is withheld further is counted under `withheld_for_release`. A release of the same
    data as an earlier one is compared with those before that one only, so that it is the same.
    Also what the register is to keep; and source, measure and period whose total is withheld.

    Raises
    ------
    LinkError : an earlier release is of other units, and nothing says how the two add up.
    """
    groups = _all_groups(sources)
    drafts = [draft for source in sources for draft in _drafts(source, groups, sources, asked.past)]
    before = {draft.key: draft.table(asked.past.key, draft.plan) for draft in drafts}
    about = sorted(f"{source.name} {source.frequency}" for source in sources)
    name = release_name(asked.past.key, asked.study, before, about)
    earlier = asked.past.before(name)
    plans: dict[str, dict[str, Plan]] = {}
    tables: dict[str, ReleasedTable] = {}
    hidden: set[tuple[str, str, str]] = set()
    for draft in drafts:
        kept = [each for each in earlier if draft.key in each.tables]
        past = [each.tables[draft.key] for each in kept]
        _refuse(draft, [kept[at] for at in not_planned(draft.cells, past)])
        plan = replanned(asked.past.key, draft.cells, draft.layout, draft.plan, past)
        plans.setdefault(draft.source, {})[draft.measure] = plan
        hidden |= {
            (draft.source, draft.measure, label)
            for label in hidden_totals(draft.layout, plan[draft.least])
        }
        same = plan is draft.plan
        tables[draft.key] = before[draft.key] if same else draft.table(asked.past.key, plan)
    found = [_without(source, plans.get(source.name, {})) for source in sources]
    release = Release(study=asked.study, made=asked.made, name=name, tables=tables)
    return found, release, frozenset(hidden)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Drafted:
    """One measure of one source as it would be shown if there were no earlier release."""

    key: str
    source: str
    measure: str
    cells: NamedCells
    layout: CellTable
    plan: Plan
    least: int
    most: int

    def table(self, key: bytes, plan: Plan) -> ReleasedTable:
        """What the register keeps of it, shown by a plan."""
        return released_table(key, self.cells, plan, self.least, self.most)


def _refuse(draft: _Drafted, strangers: Sequence[Release]) -> None:
    if strangers:
        unit = draft.layout.who[0][0]
        raise LinkError(
            f"{draft.source!r} was released by other units than {unit!r} before (study "
            f"{strangers[0].study!r}, {strangers[0].made}), and neither study says which of them "
            "lie in which: together they could tell of few people. In the study of the smaller "
            "units name the larger ones as an attribute, and run it before the other; or take the "
            "earlier release back: ex-cx releases --forget."
        )


def _drafts(
    source: MeasuredSource, groups: pd.DataFrame, sources: Sequence[MeasuredSource], past: Past
) -> Iterator[_Drafted]:
    """The measures of a source that are about people."""
    spec, people = source.spec, source.people
    if spec is None or not people.n:
        return
    columns = {
        new: old
        for each in sources
        if each.spec is not None
        for new, old in each.spec.attributes.items()
    }
    own = [cell_table(people, each, spec.unit) for each in (source.attributes, groups)]
    own.append(cell_table(people, groups, spec.unit, whole=True))
    called = [set(each.layout.groups) for each in own]
    own = [each for at, each in enumerate(own) if called[at] not in called[at + 1 :]]
    layout = replace(own[-1], who=[(columns.get(name, name), label) for name, label in own[-1].who])
    for name in people.n:
        measure = spec.measures[name]
        n, sums = (spread(people, each[name]) for each in (people.n, people.sums))
        key = table_key(past.key, source.name, measure)
        least, most = thresholds(measure, spec)
        yield _Drafted(
            key=key,
            source=source.name,
            measure=name,
            cells=drafted(past.key, key, n, sums, layout),
            layout=layout,
            plan=planned(people, name, own, spec),
            least=least,
            most=most,
        )


def _all_groups(sources: Sequence[MeasuredSource]) -> pd.DataFrame:
    """Unit and every attribute; of two values of one unit the first (linking refuses them)."""
    whole = pd.concat([source.attributes for source in sources], ignore_index=True)
    return whole.groupby("unit", sort=True, as_index=False).first()


def _protected(source: MeasuredSource, groups: pd.DataFrame) -> MeasuredSource:
    own = source.attributes.columns
    if source.spec is None or not source.people.n or not set(groups.columns) - set(own):
        return source
    position = calendar_codes(source.frame["period"])
    frame, lost = withhold(
        source.frame, position, source.people, source.spec, source.attributes, groups
    )
    return replace(source, frame=frame, suppressed=_counted(source, lost, "withheld_for_others"))


def _apart(
    source: MeasuredSource, earlier: Sequence[MeasuredSource], groups: pd.DataFrame
) -> tuple[MeasuredSource, frozenset[tuple[str, str, str]]]:
    frame, lost, hidden = apart(source, earlier, groups)
    if any(lost.values()):
        suppressed = _counted(source, lost, "withheld_for_others")
        source = replace(source, suppressed=suppressed)
    return replace(source, frame=frame), hidden


def _without(source: MeasuredSource, plans: Mapping[str, Plan]) -> MeasuredSource:
    if source.spec is None or not plans:
        return source
    position = calendar_codes(source.frame["period"])
    frame, lost = hide(source.frame, position, source.people, source.spec, plans)
    return replace(source, frame=frame, suppressed=_counted(source, lost, "withheld_for_release"))


def _counted(source: MeasuredSource, lost: Mapping[str, int], why: str) -> pd.DataFrame:
    """What is shown and withheld, with the values that are withheld for one more reason."""
    more = source.suppressed["measure"].map(dict(lost)).fillna(0).astype(int)
    shown = source.suppressed["shown"] - more
    return source.suppressed.assign(shown=shown, **{why: source.suppressed[why] + more})

"""No withheld cell follows from what is shown: hand cases, and an audit of ranks."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ex_cx.linkage.confidentiality import disclosure
from ex_cx.linkage.confidentiality.disclosure import Layout, withheld_cells, withheld_everywhere
from tests.linkage.companies import quick


def test_the_next_smallest_part_of_a_total_goes_too():
    found = withheld_cells(np.array([[9], [3], [7], [8]]), Layout(groups={}), [5])[5][0]
    assert found.ravel().tolist() == [False, True, True, False]


def test_two_small_parts_of_four_people_together_take_a_third():
    found = withheld_cells(np.array([[9], [2], [2], [8]]), Layout(groups={}), [5])[5][0]
    assert found.ravel().tolist() == [False, True, True, True]


def test_a_month_between_two_that_are_shown_follows_from_the_quarter():
    layout = Layout(groups={}, spans=[np.array([0, 0, 0])])
    months, quarter, whole = withheld_cells(np.array([[6, 3, 7], [9, 9, 9]]), layout, [5])[5]
    assert months.tolist() == [[True, True, False], [True, True, False]]
    assert not quarter.any()
    assert not whole.any()


def test_a_region_less_its_other_sites_is_the_small_site():
    n = np.array([[20], [30], [3], [40], [50]])
    site = np.array([0, 0, 1, 2, 2])
    region = np.array([0, 0, 0, 1, 1])
    alone = withheld_cells(n, Layout(groups={}), [5])[5][0].ravel()
    assert alone.tolist() == [True, False, True, False, False]
    both = withheld_cells(n, Layout(groups={"site": site, "region": region}), [5])[5][0].ravel()
    # the site of two needs a second: else its total gives the first, and the region the small one
    assert both[2]
    assert both[:2].any()
    assert not both[3:].any()


def test_nobody_is_not_a_small_group_and_large_groups_are_all_shown():
    assert not withheld_cells(np.array([[0, 9], [8, 7]]), Layout(groups={}), [5])[5][0].any()


def every_total(units: int, groups: dict[str, np.ndarray], spans: list[np.ndarray], periods: int):
    """All cells of the table, time by time, as rows of 0 and 1 over the unit-periods."""
    rows = [np.eye(units), *(np.eye(codes.max() + 1)[codes].T for codes in groups.values())]
    who = np.vstack([*rows, np.ones((1, units))])
    times, each = [np.eye(periods)], np.arange(periods)
    for span in spans:
        each = span[each]
        times.append(np.eye(each.max() + 1)[each].T)
    times.append(np.ones((1, periods)))
    return [np.kron(who, time) for time in times]


def residual(shown: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """How far each row of `wanted` is from every combination of the rows `shown`."""
    basis = np.linalg.svd(shown, full_matrices=False)
    directions = basis.Vh[basis.S > 1e-9]
    return np.linalg.norm(wanted - wanted @ directions.T @ directions, axis=1)


GROUPS = {
    "none": {},
    "sites": {"site": np.arange(8) // 2},
    "nested": {"site": np.arange(8) // 2, "region": np.arange(8) // 4},
    "crossed": {"site": np.arange(8) // 2, "kind": np.arange(8) % 2},
}
SPANS = [np.arange(6) // 3]


def audit(n: np.ndarray, grouped: str, least: int) -> tuple[int, int]:
    """Withheld cells, and how many of them are combinations of the cells that are not."""
    layout = Layout(groups=GROUPS[grouped], spans=SPANS)
    masks = withheld_everywhere(n, layout, [least])[least]
    cells = np.vstack(every_total(len(n), GROUPS[grouped], SPANS, n.shape[1]))
    hidden = np.concatenate([mask.ravel() for mask in masks])
    people = cells @ n.ravel()
    assert hidden[(people > 0) & (people < least)].all()
    assert not hidden[people == 0].any()
    if not hidden.any():
        return 0, 0
    return int(hidden.sum()), int((residual(cells[~hidden], cells[hidden]) < 1e-8).sum())


@quick(40)
@given(
    seed=st.integers(0, 2**32 - 1),
    mean=st.sampled_from([4, 7, 12]),
    grouped=st.sampled_from(sorted(GROUPS)),
    least=st.sampled_from([5, 8]),
)
def test_no_withheld_cell_is_a_combination_of_all_the_others(seed, mean, grouped, least):
    n = np.random.default_rng(seed).poisson(mean, (8, 6))
    assert audit(n, grouped, least)[1] == 0


def test_the_audit_finds_what_primary_suppression_alone_leaves_open(monkeypatch):
    n = np.random.default_rng(3).poisson(9, (8, 6))
    assert audit(n, "nested", 5)[1] == 0
    monkeypatch.setattr(disclosure, "_withheld", disclosure._withheld.__wrapped__)
    monkeypatch.setattr(disclosure, "_close", lambda *given: None)
    hidden, open_ = audit(n, "nested", 5)
    assert open_ == hidden > 0


def test_two_blocks_joined_by_one_cell_do_not_give_that_cell_away(monkeypatch):
    n = np.full((4, 4), 20)
    mask = np.zeros((4, 4), dtype=bool)
    mask[:2, :2] = mask[2:, 2:] = mask[1, 2] = True  # every row and column holds two at least
    cells = np.vstack(every_total(4, {}, [], 4))

    def given_away() -> int:
        masks = withheld_everywhere(n, Layout(groups={}), [5], {5: {0: mask}})[5]
        hidden = np.concatenate([each.ravel() for each in masks])
        return int((residual(cells[~hidden], cells[hidden]) < 1e-8).sum())

    assert given_away() == 0
    monkeypatch.setattr(disclosure, "_withheld", disclosure._withheld.__wrapped__)
    monkeypatch.setattr(disclosure, "_determined", lambda lines: np.zeros(0, dtype=np.int64))
    assert given_away() == 1


@quick(25)
@given(seed=st.integers(0, 2**32 - 1), grouped=st.sampled_from(sorted(GROUPS)))
def test_a_higher_threshold_withholds_all_that_a_lower_one_does(seed, grouped):
    n = np.random.default_rng(seed).poisson(8, (8, 6))
    layout = Layout(groups=GROUPS[grouped], spans=SPANS)
    found = withheld_cells(n, layout, [5, 7, 10])
    for low, high in ((5, 7), (7, 10)):
        assert all((~a | b).all() for a, b in zip(found[low], found[high], strict=True))
    # a study at one threshold and another at a higher one show together what the first shows
    assert all(
        (a == b).all() for a, b in zip(found[5], withheld_cells(n, layout, [5])[5], strict=True)
    )


def test_large_tables_are_solved_without_a_full_matrix(monkeypatch):
    n = np.random.default_rng(1).poisson(9, (30, 12))
    layout = Layout(groups={"site": np.arange(30) // 3}, spans=[np.arange(12) // 3])
    full = withheld_cells(n, layout, [5])[5]
    monkeypatch.setattr(disclosure, "_withheld", disclosure._withheld.__wrapped__)
    monkeypatch.setattr(disclosure, "_DENSE", 0)
    sparse = withheld_cells(n, layout, [5])[5]
    assert full[0].any()
    assert all((a == b).all() for a, b in zip(full, sparse, strict=True))

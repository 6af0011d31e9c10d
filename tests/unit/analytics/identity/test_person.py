"""Persons against a union-find: whatever the edges, whatever was revoked, from whichever end one begins."""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics_svc.identity import person
from analytics_svc.identity.end import Edge, End, EndKind, end_of_person, end_of_value_id, person_id_of, value_id
from analytics_svc.identity.person import Link, Person, Walk
from tests.unit.analytics.identity.union_find import persons, suspicious_ends

AT = datetime(2026, 3, 2, 12, tzinfo=UTC)
KINDS = (EndKind.VISITOR, EndKind.VISITOR, EndKind.LOGIN, EndKind.EMAIL, EndKind.ORDER)
ends = st.builds(End, st.sampled_from(KINDS), st.sampled_from([str(number) for number in range(6)]))
edges = st.builds(Edge.between, ends, ends).filter(lambda edge: edge.one != edge.other)


def visitor(number: object) -> End:
    return End(EndKind.VISITOR, f"usr_{number}")


def login(number: object) -> End:
    return End(EndKind.LOGIN, str(number))


def walked(
    starts: Sequence[End], known: Collection[Edge], revoked: Collection[Edge] = (), *, most_neighbours: int = 50
) -> Person:
    """Walk over edges as the store would tell them."""
    walk = Walk(starts, most_neighbours=most_neighbours)
    while walk.frontier:
        at = set(walk.frontier)
        walk.step(
            Link(edge, AT, AT, "", is_revoked=edge in revoked) for edge in known if edge.one in at or edge.other in at
        )
    return walk.person()


@given(st.sets(edges, max_size=25), st.data(), st.integers(1, 4))
def test_a_walk_finds_what_a_union_find_over_all_edges_finds(
    known: set[Edge], data: st.DataObject, most_neighbours: int
) -> None:
    revoked = data.draw(st.sets(st.sampled_from(sorted(known, key=str)))) if known else set()
    everybody = {end for edge in known for end in (edge.one, edge.other)}
    left = known - revoked
    wanted = persons(everybody, left, most_neighbours)
    for end in everybody:
        found = walked([end], known, revoked, most_neighbours=most_neighbours)
        assert frozenset(found.ends) == wanted[end]
        assert found.person_id == person_id_of(wanted[end])
        out = suspicious_ends(left, most_neighbours)
        for link in found.links:
            assert link.is_active == (link.edge in left and out.isdisjoint((link.edge.one, link.edge.other)))


@given(st.sets(edges, max_size=20))
def test_what_is_revoked_and_restored_is_as_if_it_had_never_been(known: set[Edge]) -> None:
    for edge in known:
        for end in (edge.one, edge.other):
            without = walked([end], known, {edge})
            assert frozenset(without.ends) == persons([end, *_ends(known)], known - {edge}, 50)[end]
            assert walked([end], known) == walked([end], sorted(known, key=str, reverse=True))


def _ends(known: Collection[Edge]) -> set[End]:
    return {end for edge in known for end in (edge.one, edge.other)}


def test_a_login_on_more_visitors_than_the_limit_joins_none_of_them() -> None:
    known = [Edge.between(login(1), visitor(number)) for number in range(4)]
    assert walked([visitor(0)], known, most_neighbours=3).user_ids == ("usr_0",)
    assert not any(link.is_active for link in walked([visitor(0)], known, most_neighbours=3).links)
    assert len(walked([visitor(0)], known, most_neighbours=4).user_ids) == 4


def test_revoking_enough_of_its_edges_lets_a_value_join_the_others_again() -> None:
    known = [Edge.between(login(1), visitor(number)) for number in range(5)]
    found = walked([visitor(0)], known, known[3:], most_neighbours=3)
    assert found.user_ids == ("usr_0", "usr_1", "usr_2")


def test_a_computer_that_many_log_in_on_joins_nobody() -> None:
    known = [Edge.between(login(number), visitor("kiosk")) for number in range(5)]
    known.append(Edge.between(login(0), visitor("home")))
    assert walked([visitor("home")], known, most_neighbours=4).user_ids == ("usr_home",)
    assert walked([visitor("kiosk")], known, most_neighbours=4).user_ids == ("usr_kiosk",)


def test_any_number_of_orders_is_one_persons() -> None:
    known = [Edge.between(End(EndKind.ORDER, f"{number:04}"), visitor(1)) for number in range(200)]
    known.append(Edge.between(End(EndKind.ORDER, "0007"), visitor(2)))
    assert walked([visitor(2)], known).user_ids == ("usr_1", "usr_2")


def test_what_hangs_together_without_end_is_nobody_from_whichever_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(person, "MOST_VISITORS", 5)
    known = [Edge.between(login(number), visitor(number + step)) for number in range(5) for step in (0, 1)]
    for number in range(6):
        found = walked([visitor(number)], known)
        assert (found.user_ids, found.is_melted) == ((f"usr_{number}",), True)
    assert len(walked([visitor(0)], known[:-1]).user_ids) == 5


def test_a_conversion_without_a_visitor_belongs_to_whom_its_login_belongs() -> None:
    sale = End(EndKind.EVENT, "0197e3f2-7a70-7d1c-8a53-1f6b2c9d4e5f")
    found = walked([visitor(1)], [Edge.between(login(1), visitor(1)), Edge.between(sale, login(1))])
    assert (found.user_ids, found.event_ids) == (("usr_1",), (sale.value,))


@given(ends, ends)
def test_ids_say_what_they_are_about(one: End, other: End) -> None:
    edge = Edge.between(one, other)
    assert Edge.of_id(edge.edge_id) == Edge.between(other, one)
    assert end_of_value_id(value_id(one)) == one
    assert end_of_person(person_id_of([one])) == one


@pytest.mark.parametrize("text", ["edg_", "edg_é", "edg_AAAA", "val_x", "usr_1", "edg_dmlzaXRvcl91c3JfMQ", ""])
def test_an_id_that_names_no_edge_is_told(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - it depends on which step stumbles
        Edge.of_id(text)

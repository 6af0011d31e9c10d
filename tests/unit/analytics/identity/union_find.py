"""Persons by a plain union-find over the whole set of edges: what any walk must find."""

from collections.abc import Collection, Iterable

from analytics_svc.identity.end import OF_PEOPLE, Edge, End


def suspicious_ends(edges: Collection[Edge], most_neighbours: int) -> set[End]:
    """Return the ends with too many neighbours of a kind, over edges that nobody revoked."""
    neighbours: dict[tuple[End, str], set[End]] = {}
    for edge in set(edges):
        for end, far in ((edge.one, edge.other), (edge.other, edge.one)):
            neighbours.setdefault((end, far.kind), set()).add(far)
    return {end for (end, kind), found in neighbours.items() if kind in OF_PEOPLE and len(found) > most_neighbours}


def persons(ends: Iterable[End], edges: Collection[Edge], most_neighbours: int) -> dict[End, frozenset[End]]:
    """Return the person of each end."""
    parent = {end: end for end in ends}

    def root(end: End) -> End:
        while parent[end] != end:
            end = parent[end]
        return end

    out = suspicious_ends(edges, most_neighbours)
    for edge in edges:
        if edge.one not in out and edge.other not in out:
            parent[root(edge.one)] = root(edge.other)
    members: dict[End, set[End]] = {}
    for end in parent:
        members.setdefault(root(end), set()).add(end)
    return {end: frozenset(members[root(end)]) for end in parent}

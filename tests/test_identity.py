"""Who may speak for a node: names of certificates against the one that is asked for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.identity import NODE, Names, asked_of, may_speak, names_of
from weirflow.config.fields import NAME_PATTERN


def names(*uris, dns=()):
    return Names(frozenset(uris), frozenset(dns))


@pytest.mark.parametrize(
    ("pattern", "held", "may"),
    [
        ("spiffe://mesh/{node}", names("spiffe://mesh/front-1"), True),
        ("spiffe://mesh/{node}", names("spiffe://mesh/front-10"), False),
        ("spiffe://mesh/{node}", names("spiffe://mesh/front-1/x"), False),
        ("spiffe://mesh/{node}", names("spiffe://other/front-1"), False),
        ("spiffe://mesh/{node}", names("spiffe://mesh/a", "spiffe://mesh/front-1"), True),
        ("spiffe://mesh/{node}", names(dns=["spiffe://mesh/front-1"]), False),
        ("spiffe://mesh/{node}", names(), False),
        ("{node}", names(dns=["front-1"]), True),
        ("{node}", names(dns=["*", "front-*", "FRONT-1", "front-1.mesh", ""]), False),
        ("{node}", names("front-1"), False),
        ("{node}.mesh.example", names(dns=["front-1.mesh.example"]), True),
        ("{node}.mesh.example", names(dns=["*.mesh.example"]), False),
    ],
)
def test_a_certificate_speaks_for_a_node_when_it_bears_the_very_name_that_is_asked_for(pattern, held, may):
    assert may_speak(held, asked_of("front-1", pattern)) is may


_NODES = st.from_regex(NAME_PATTERN, fullmatch=True)
_AROUND = st.text("abc.-/:", max_size=8)


@given(_NODES, _NODES, _AROUND, _AROUND)
def test_by_no_pattern_does_the_certificate_of_one_node_speak_for_another(one, other, before, after):
    pattern = before + NODE + after
    asked = asked_of(one, pattern)
    both = names(asked, dns=[asked])
    assert may_speak(both, asked)
    assert may_speak(both, asked_of(other, pattern)) is (one == other)


def test_names_are_those_that_grpc_has_verified_and_a_message_shows_few_of_them():
    held = names_of({"peer_uri": [b"spiffe://mesh/a"], "peer_dns": [b"a", b"\xff"], "x509_common_name": [b"front-1"]})
    assert held == names("spiffe://mesh/a", dns=["a", "\ufffd"])
    assert str(held) == "'spiffe://mesh/a', 'a', '\ufffd'"
    assert str(names_of({})) == "no name"
    assert str(names(*(f"u://{n}" for n in range(9)))).endswith("'u://4' and 4 more")

"""Names become addresses, again and again, and an answer that is worse than none changes nothing."""

from __future__ import annotations

import asyncio

from dataplane.mesh import EndpointSpec, Mesh, NodeSpec, ServiceSpec
from weirflow import discovery
from weirflow.discovery import MAX_RECORDS, Resolver


def mesh(*endpoints: EndpointSpec) -> Mesh:
    return Mesh((NodeSpec("front-1"),), (), (), (ServiceSpec("orders", endpoints),))


def addresses(resolved: Mesh) -> list[str]:
    return [e.address for e in resolved.services[0].endpoints]


class Names:
    """A DNS that says what it is told to say."""

    def __init__(self, **answers: list[str] | Exception) -> None:
        self.answers = answers
        self.problems: list[str] = []
        self.resolver = Resolver(self.problems.append, self.lookup)

    async def lookup(self, name: str) -> list[str]:
        answer = self.answers[name]
        if isinstance(answer, Exception):
            raise answer
        return answer


async def test_a_name_becomes_all_its_addresses_sorted_each_with_its_weight_and_zone():
    names = Names(a=["10.0.0.10", "10.0.0.9", "10.0.0.9", "2001:db8::1"])
    resolved = await names.resolver.resolve(mesh(EndpointSpec("a:80", 3, "east"), EndpointSpec("10.0.0.1:81", 2)))
    assert resolved.services[0].endpoints == (
        EndpointSpec("10.0.0.9:80", 3, "east"),
        EndpointSpec("10.0.0.10:80", 3, "east"),
        EndpointSpec("[2001:db8::1]:80", 3, "east"),
        EndpointSpec("10.0.0.1:81", 2),
    )
    assert names.problems == []


async def test_the_same_answer_in_another_order_is_the_same_mesh():
    names = Names(a=["10.0.0.2", "10.0.0.1"])
    one = await names.resolver.resolve(mesh(EndpointSpec("a:80")))
    names.answers["a"] = ["10.0.0.1", "10.0.0.2"]
    assert await names.resolver.resolve(mesh(EndpointSpec("a:80"))) == one


async def test_members_come_and_go_with_the_answers():
    names = Names(a=["10.0.0.1", "10.0.0.2"])
    await names.resolver.resolve(mesh(EndpointSpec("a:80")))
    names.answers["a"] = ["10.0.0.2", "10.0.0.3"]
    assert addresses(await names.resolver.resolve(mesh(EndpointSpec("a:80")))) == ["10.0.0.2:80", "10.0.0.3:80"]


async def test_a_failure_or_an_empty_answer_keeps_the_last_good_one_for_as_long_as_it_lasts():
    names = Names(a=["10.0.0.1"])
    spec = mesh(EndpointSpec("a:80"))
    good = await names.resolver.resolve(spec)
    for bad in (OSError("no such host"), [], ["not an address"], UnicodeError("label too long")):
        names.answers["a"] = bad
        assert await names.resolver.resolve(spec) == good
    assert len(names.problems) == 4
    assert names.problems[0] == "a does not resolve: no such host; keeping its last 1 addresses"


async def test_a_name_that_never_resolved_has_no_endpoints_yet_and_is_told():
    names = Names(a=OSError("no such host"), b=["10.0.0.1"])
    resolved = await names.resolver.resolve(mesh(EndpointSpec("a:80"), EndpointSpec("b:80")))
    assert addresses(resolved) == ["10.0.0.1:80"]
    assert names.problems == ["a does not resolve: no such host; it has no endpoints until it does resolve"]


async def test_a_name_that_nobody_answers_for_does_not_hold_the_others_up(monkeypatch):
    monkeypatch.setattr(discovery, "LOOKUP_DEADLINE_S", 0.01)
    names = Names(b=["10.0.0.1"])

    async def lookup(name: str) -> list[str]:
        if name == "a":
            await asyncio.Event().wait()
        return await names.lookup(name)

    resolver = Resolver(names.problems.append, lookup)
    assert addresses(await resolver.resolve(mesh(EndpointSpec("a:80"), EndpointSpec("b:80")))) == ["10.0.0.1:80"]
    assert "no answer within" in names.problems[0]


async def test_two_names_of_one_address_are_one_endpoint():
    names = Names(a=["10.0.0.1"], b=["10.0.0.1"])
    resolved = await names.resolver.resolve(mesh(EndpointSpec("a:80", 5), EndpointSpec("b:80", 7)))
    assert resolved.services[0].endpoints == (EndpointSpec("10.0.0.1:80", 5),)


async def test_an_answer_of_thousands_is_cut_and_told():
    names = Names(a=[f"10.0.{i // 256}.{i % 256}" for i in range(5000)])
    assert len(addresses(await names.resolver.resolve(mesh(EndpointSpec("a:80"))))) == MAX_RECORDS
    assert "only the first 256 are used" in names.problems[0]


async def test_the_system_resolves_localhost():
    problems: list[str] = []
    resolved = await Resolver(problems.append).resolve(mesh(EndpointSpec("localhost:80")))
    assert "127.0.0.1:80" in addresses(resolved)
    assert problems == []

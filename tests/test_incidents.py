"""Incidents: what belongs together is one, the cause comes first, and it keeps its name until it is over."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

import pytest

from brain.alerts import Condition
from brain.decision import IncidentView
from brain.findings import KINDS, Finding
from brain.incidents import EVIDENCE, FOLLOWS_S, HARMFUL, QUIET_S, SETTLES_S, Incidents, ranked

ZONES = defaultdict(lambda: {"": 4}, shop={"a": 3, "b": 3, "c": 3})


def found(
    kind: str,
    service: str = "shop",
    endpoint: str = "",
    *,
    zone: str = "",
    caller: str = "",
    since: float = 0.0,
    value: float = 1.0,
    times: float = 3.0,
    harm: float = 0.1,
) -> Finding:
    said = f"{endpoint or service} is odd"
    return Finding(kind, service, since, value, 0.1, 0.5, times, harm, said, endpoint, zone, caller)


class Watched:
    """Incidents told of findings, second by second."""

    def __init__(self, calls: Mapping[str, Iterable[str]] | None = None) -> None:
        self.incidents, self.now, self.calls = Incidents(), 0.0, calls or {}
        self.conditions: list[Condition] = []

    def of(self, *findings: Finding, seconds: float = 1.0) -> list[IncidentView]:
        out: list[IncidentView] = []
        for _ in range(int(seconds)):
            self.now += 1.0
            out, self.conditions = self.incidents.judge(findings, self.calls, ZONES, lambda _: "nothing", self.now)
        return out


def test_one_finding_is_one_incident_that_says_what_where_and_what_to_do() -> None:
    watched = Watched()
    (incident,) = watched.of(found("EndpointSlow", endpoint="10.0.0.1:80", zone="a"), seconds=3)
    assert (incident.kind, incident.labels) == ("EndpointSlow", {"service": "shop", "endpoint": "10.0.0.1:80"})
    (condition,) = watched.conditions
    assert condition.summary == "10.0.0.1:80 is odd"
    assert "touches 10.0% of the requests" in condition.description
    assert KINDS["EndpointSlow"].advice in condition.description


def test_it_waits_a_moment_for_a_better_cause() -> None:
    watched = Watched()
    assert watched.of(found("ServiceSlow", since=1.0)) == []
    (incident,) = watched.of(found("ServiceSlow", since=1.0), found("EndpointHangs", endpoint="e", since=2.0),
                             seconds=SETTLES_S)  # fmt: skip
    assert incident.kind == "EndpointHangs"


@pytest.mark.parametrize("kind", ["TrafficDrop", "TrafficSurge"])
def test_for_traffic_no_better_cause_is_waited_for(kind: str) -> None:
    (incident,) = Watched().of(found(kind, since=1.0), seconds=1)
    assert (incident.kind, incident.labels) == (kind, {"service": "shop"})


def test_what_flickers_away_before_that_is_no_incident() -> None:
    watched = Watched()
    watched.of(found("ServiceSlow", since=1.0))
    watched.of(seconds=1)
    assert watched.of(found("ServiceSlow", since=3.0)) == []


def test_all_that_is_found_of_a_service_is_one_incident_the_endpoint_first() -> None:
    watched = Watched()
    (incident,) = watched.of(found("ServiceSlow"), found("EndpointSlow", endpoint="e"), found("TrafficDrop"), seconds=3)
    assert incident.causes == ("EndpointSlow e", "ServiceSlow shop", "TrafficDrop shop")


def test_an_endpoint_whose_failures_are_few_of_its_services_is_not_the_cause_of_them() -> None:
    """All fail two in a hundred; at one of nine chance brought a few more, and so it was found first."""
    everywhere, one = found("ServiceFailing", harm=0.02), found("EndpointFailing", endpoint="e", harm=0.004)
    (incident,) = Watched().of(one, everywhere, found("ServiceSlow"), seconds=3)
    assert incident.causes == ("ServiceFailing shop", "EndpointFailing e", "ServiceSlow shop")
    (incident,) = Watched().of(found("EndpointFailing", endpoint="e", harm=0.011), everywhere, seconds=3)
    assert incident.causes == ("EndpointFailing e", "ServiceFailing shop"), "most of them are its own"


def test_of_an_endpoint_that_makes_its_service_slow_in_the_mean_the_endpoints_own_requests_are_touched() -> None:
    """In the demo one slow endpoint of four was told to touch all requests."""
    watched, mean, one = Watched(), found("ServiceSlow", harm=1.0), found("EndpointSlow", endpoint="e", harm=0.25)
    (incident,) = watched.of(mean, seconds=3)
    assert incident.harm == 1.0, "while nothing else is known"
    (incident,) = watched.of(mean, one, seconds=3)
    assert (incident.harm, incident.causes[0]) == (0.25, "EndpointSlow e")
    again = Watched()
    again.incidents.restore(watched.incidents.state(), {"shop"}, watched.now)
    again.now = watched.now
    assert again.of(mean, one)[0].harm == 0.25
    assert again.of(mean, found("ServiceFailing", harm=0.4), seconds=20)[0].harm == 1.0, (
        "it is all of the service by now"
    )


def test_it_keeps_its_labels_whatever_is_found_later() -> None:
    watched = Watched()
    watched.of(found("ServiceFailing"), seconds=3)
    (incident,) = watched.of(found("ServiceFailing"), found("EndpointFailing", endpoint="e"), seconds=3)
    assert incident.labels == {"service": "shop"}
    assert incident.kind == "ServiceFailing"
    assert incident.causes[0] == "EndpointFailing e"
    assert incident.summary == "e is odd"


def test_it_is_over_when_nothing_was_found_for_a_while_and_no_sooner() -> None:
    watched = Watched()
    (first,) = watched.of(found("ServiceFailing"), seconds=3)
    assert watched.of(seconds=QUIET_S)[0].id == first.id
    assert watched.of(found("ServiceFailing", since=18.0), seconds=1)[0].id == first.id, "it came back: the same one"
    assert watched.of(seconds=QUIET_S + 1) == []
    (second,) = watched.of(found("ServiceFailing", since=36.0), seconds=3)
    assert second.id != first.id


def test_a_zone_whose_endpoints_are_odd_is_the_cause() -> None:
    sick = [found("EndpointSlow", endpoint=f"e{i}", zone="a") for i in range(3)]
    (incident,) = Watched().of(*sick, seconds=3)
    assert (incident.kind, incident.labels) == ("ZoneSlow", {"service": "shop", "zone": "a"})
    assert "3 of its 3 endpoints" in incident.summary


def test_one_odd_endpoint_of_a_zone_is_not_the_zone() -> None:
    (incident,) = Watched().of(found("EndpointSlow", endpoint="e0", zone="a"), seconds=3)
    assert incident.kind == "EndpointSlow"


def placed(zones: Mapping[str, int], kind: str = "EndpointSlow", **odd: int) -> tuple[Finding, ...]:
    """The causes where so many endpoints of each zone are odd."""
    sick = [found(kind, endpoint=f"{z}{i}", zone=z.strip("_")) for z, n in odd.items() for i in range(n)]
    return ranked(sick, {z.strip("_"): n for z, n in zones.items()}, "shop")


def kinds(causes: tuple[Finding, ...]) -> list[str]:
    return [f.kind for f in causes]


def test_it_is_a_zones_when_more_than_half_of_it_is_odd_and_hardly_anybody_else() -> None:
    assert kinds(placed({"a": 5, "b": 9}, a=3)) == ["ZoneSlow"] + 3 * ["EndpointSlow"]
    assert kinds(placed({"a": 4, "b": 9}, a=2)) == 2 * ["EndpointSlow"], "half of it"
    assert kinds(placed({"a": 1, "b": 9}, a=1)) == ["EndpointSlow"], "one endpoint is itself"
    assert kinds(placed({"a": 2, "b": 20}, a=2, b=2)) == 4 * ["EndpointSlow"], "as many elsewhere"
    assert kinds(placed({"a": 5, "b": 2, "c": 20}, a=5, b=2)) == 7 * ["EndpointSlow"], (
        "two zones have not failed at once"
    )
    assert kinds(placed({"_": 3, "b": 9}, _=3)) == 3 * ["EndpointSlow"], "those without a zone are none"
    assert kinds(placed({"a": 3}, a=3)) == ["ServiceSlow"], "its only zone is the service"


def test_it_is_the_services_when_more_than_half_are_odd_and_not_when_half_are() -> None:
    assert kinds(placed({"": 4}, _=3)) == ["ServiceSlow"]
    assert kinds(placed({"": 4}, _=2)) == 2 * ["EndpointSlow"]
    assert kinds(placed({"": 4}, "EndpointHangs", _=3)) == ["ServiceSlow"]


def test_one_kind_does_not_make_up_the_numbers_of_another() -> None:
    sick = [found(kind, endpoint=f"e{i}") for i, kind in enumerate(("EndpointSlow", "EndpointSlow", "EndpointFailing"))]
    assert kinds(ranked(sick, {"": 4}, "shop")) == ["EndpointFailing", "EndpointSlow", "EndpointSlow"]


def test_what_is_a_zones_or_the_services_harms_as_many_as_all_its_endpoints_and_is_told_by_the_worst() -> None:
    def sick(zone: str, *harms: float) -> list[Finding]:
        each = enumerate(harms)
        return [found("EndpointSlow", endpoint=f"e{i}", zone=zone, times=3.0 + i % 2, harm=h) for i, h in each]

    zone, *_ = ranked(sick("a", 0.1, 0.2, 0.1), {"a": 3, "b": 9}, "shop")
    assert (zone.harm, zone.times) == (pytest.approx(0.4), 4.0)
    assert zone.said == "zone a: 3 of its 3 endpoints are odd, as e0 is odd"
    assert ranked(sick("a", 0.5, 0.5, 0.5), {"a": 3, "b": 9}, "shop")[0].harm == 1.0
    (service,) = ranked(sick("", 0.1, 0.2, 0.1), {"": 4}, "shop")
    assert (service.harm, service.times) == (pytest.approx(0.4), 4.0)
    assert service.said == "3 of the 4 endpoints of shop are odd, as e1 is odd"
    assert ranked(sick("", 0.5, 0.5, 0.5), {"": 4}, "shop")[0].harm == 1.0


def test_of_one_kind_the_one_with_the_most_harm_times_how_odd_it_is_goes_first_then_by_address() -> None:
    def first(*some: tuple[str, float, float]) -> str:
        sick = [found("EndpointSlow", endpoint=e, times=times, harm=harm) for e, times, harm in some]
        return ranked(sick, {"": 9}, "shop")[0].endpoint

    assert first(("a", 3.0, 0.1), ("b", 9.0, 0.1)) == "b"
    assert first(("a", 3.0, 0.1), ("b", 3.0, 0.2)) == "b"
    assert first(("a", 9.0, 0.1), ("b", 3.0, 0.2)) == "a", "by both"
    assert first(("b", 3.0, 0.1), ("a", 3.0, 0.1)) == "a"


def test_no_more_than_a_handful_of_findings_is_told_of_one_incident() -> None:
    many = [found("EndpointSlow", endpoint=f"e{i}", zone="abc"[i % 3]) for i in range(4)]
    others = [found(kind) for kind in ("ServiceSlow", "ServiceFailing", "TrafficDrop", "TrafficSurge")]
    (incident,) = Watched().of(*many, *others, seconds=3)
    assert (len(incident.causes), len(incident.evidence)) == (8, EVIDENCE)


CAUSES = ["ZoneHangs", "EndpointHangs", "ZoneFailing", "EndpointFailing", "ServiceShort", "ZoneSlow", "EndpointSlow",
          "NodeFailing", "EdgeFailing", "ServiceFailing", "TrafficSurge", "SaturationAhead", "NodeSlow", "EdgeSlow",
          "ServiceSlow", "TrafficDrop", "RequestSize", "ResponseSize"]  # fmt: skip


def test_kinds_rank_by_how_near_they_are_to_the_root_of_a_trouble() -> None:
    """What one endpoint does before what it does to the service, what is asked before the slowness that follows."""
    assert sorted(KINDS, key=lambda kind: KINDS[kind].rank) == CAUSES
    every = [found(kind, endpoint="e" if kind.startswith("Endpoint") else "") for kind in CAUSES]
    assert kinds(ranked(every[::-1], {"": 9}, "shop")) == CAUSES


def test_where_most_endpoints_are_odd_it_is_the_service() -> None:
    sick = [found("EndpointFailing", endpoint=f"e{i}", zone="abc"[i % 3]) for i in range(7)]
    (incident,) = Watched().of(*sick, seconds=3)
    assert (incident.kind, incident.labels) == ("ServiceFailing", {"service": "shop"})
    assert incident.causes == ("ServiceFailing shop",)


# Over the call graph.

CHAIN = {"shop": {"cart"}, "cart": {"store"}, "store": set[str]()}


def test_a_callers_symptoms_belong_to_the_callee_two_hops_down() -> None:
    (incident,) = Watched(CHAIN).of(
        found("ServiceSlow", "shop"), found("ServiceSlow", "cart"), found("EndpointSlow", "store", "e"), seconds=3
    )
    assert incident.labels == {"service": "store", "endpoint": "e"}
    assert incident.causes == ("EndpointSlow e", "ServiceSlow shop", "ServiceSlow cart")


def test_services_that_do_not_call_each_other_have_an_incident_each() -> None:
    watched = Watched({"shop": {"cart"}})
    both = watched.of(found("ServiceSlow", "shop"), found("ServiceSlow", "store"), seconds=3)
    assert {i.labels["service"] for i in both} == {"shop", "store"}


def test_trouble_that_a_callee_has_much_later_is_its_own() -> None:
    watched = Watched({"shop": {"cart"}})
    watched.of(found("ServiceFailing", "shop", since=1.0), seconds=30)
    both = watched.of(
        found("ServiceFailing", "shop", since=1.0), found("EndpointSlow", "cart", "e", since=31.0), seconds=3
    )
    assert {i.labels["service"] for i in both} == {"shop", "cart"}


def test_an_incident_taken_for_the_callers_is_the_callees_when_that_is_found_and_stays_one() -> None:
    watched = Watched(CHAIN)
    (first,) = watched.of(found("ServiceSlow", "shop", since=1.0), seconds=3)
    (again,) = watched.of(
        found("ServiceSlow", "shop", since=1.0), found("EndpointHangs", "cart", "e", since=4.0), seconds=3
    )
    assert (again.id, again.labels) == (first.id, {"service": "shop"})
    assert again.causes[0] == "EndpointHangs e"


def test_symptoms_that_outlive_their_cause_stay_with_its_incident_and_tell_no_other_cause() -> None:
    watched = Watched({"shop": {"store"}})
    slow, sick = found("ServiceSlow", "shop"), found("EndpointFailing", "shop", "s")
    (first,) = watched.of(slow, sick, found("EndpointFailing", "store", "e"), seconds=3)
    (left,) = watched.of(slow, sick, seconds=QUIET_S + 5)
    watched.of(seconds=3)
    (last,) = watched.of(found("EndpointFailing", "shop", "s", since=watched.now), seconds=1)
    assert (first.id, first.causes[0]) == (left.id, left.causes[0]) == (last.id, last.causes[0])
    assert first.causes[0] == "EndpointFailing e"
    assert watched.of(seconds=QUIET_S + 1) == []


def test_a_caller_whose_symptom_outlives_that_of_the_hop_between_stays_with_the_cause() -> None:
    watched = Watched(CHAIN)
    sick, symptom = found("EndpointFailing", "store", "e"), found("EndpointFailing", "shop", "s")
    (first,) = watched.of(sick, found("ServiceFailing", "cart"), symptom, seconds=3)
    (again,) = watched.of(sick, symptom, seconds=3)
    assert (again.id, again.causes) == (first.id, ("EndpointFailing e", "EndpointFailing s"))


def test_what_a_caller_shows_anew_beside_such_symptoms_is_of_the_same_incident_and_its_own() -> None:
    watched = Watched({"shop": {"store"}})
    slow = found("ServiceSlow", "shop")
    (first,) = watched.of(slow, found("EndpointFailing", "store", "e"), seconds=3)
    watched.of(slow, seconds=3)
    (again,) = watched.of(slow, found("EndpointHangs", "shop", "s", since=7.0), seconds=3)
    assert (again.id, again.causes[0]) == (first.id, "EndpointHangs s")


def test_services_that_call_each_other_in_a_ring_are_one_incident_at_the_likeliest_of_them() -> None:
    watched = Watched({"shop": {"cart"}, "cart": {"shop"}})
    (incident,) = watched.of(found("ServiceSlow", "shop"), found("ServiceFailing", "cart", harm=0.4), seconds=3)
    assert incident.labels == {"service": "cart"}
    assert incident.causes == ("ServiceFailing cart", "ServiceSlow shop")
    assert incident.harm == 0.4


def test_a_ring_that_calls_one_in_trouble_as_well_shows_the_trouble_of_that_one() -> None:
    watched = Watched({"shop": {"cart"}, "cart": {"shop", "store"}})
    (incident,) = watched.of(
        found("ServiceFailing", "shop"), found("ServiceFailing", "cart"), found("ServiceSlow", "store"), seconds=3
    )
    assert incident.labels == {"service": "store"}


def test_of_two_callees_in_trouble_it_is_put_to_the_likelier_then_the_earlier_then_by_name() -> None:
    calls = {"shop": ("cart", "store")}

    def of_shop(cart: Finding, store: Finding) -> str:
        both = Watched(calls).of(found("ServiceSlow", "shop", since=3.0), cart, store, seconds=5)
        (of,) = {i.labels["service"] for i in both if "ServiceSlow shop" in i.causes}
        return of

    def slow(service: str, since: float = 2.0) -> Finding:
        return found("ServiceSlow", service, since=since)

    assert of_shop(slow("cart"), found("EndpointHangs", "store", "e", since=2.5)) == "store"
    assert of_shop(slow("cart"), slow("store", since=1.0)) == "store"
    assert of_shop(slow("cart"), slow("store")) == "cart"
    alike = [slow(f"store-{i:02}") for i in range(20)]
    incidents = Watched({"shop": [f.service for f in alike]}).of(found("ServiceSlow", "shop"), *alike, seconds=5)
    assert [i.labels["service"] for i in incidents if "ServiceSlow shop" in i.causes] == ["store-00"]


def test_trouble_that_a_callee_has_a_little_later_than_its_caller_is_still_the_cause() -> None:
    watched = Watched({"shop": {"cart"}})
    (incident,) = watched.of(
        found("ServiceSlow", "shop", since=1.0), found("ServiceSlow", "cart", since=1.0 + FOLLOWS_S), seconds=3
    )
    assert incident.causes[0] == "ServiceSlow cart"


def test_a_service_is_in_trouble_since_the_first_that_was_found_of_it() -> None:
    late = found("ServiceFailing", "cart", since=60.0)
    watched = Watched({"shop": {"cart"}})
    (incident,) = watched.of(
        found("ServiceSlow", "shop", since=1.0), found("EndpointSlow", "cart", "e", since=2.0), late, seconds=3
    )
    assert (incident.since_s, incident.labels["service"]) == (1.0, "cart")


def test_what_is_the_roots_goes_before_all_that_its_callers_show_and_their_endpoints_are_not_its_own() -> None:
    hanging = [found("EndpointHangs", "cart", f"c{i}") for i in range(3)]
    (incident,) = Watched(CHAIN).of(*hanging, found("ServiceSlow", "store"), seconds=3)
    assert incident.causes == ("ServiceSlow store", "EndpointHangs c0", "EndpointHangs c1", "EndpointHangs c2")


def test_the_harm_is_that_of_the_service_at_the_root() -> None:
    (incident,) = Watched(CHAIN).of(
        found("ServiceSlow", "shop", harm=1.0), found("EndpointSlow", "cart", "e", harm=0.01), seconds=3
    )
    assert (incident.harm, incident.severity) == (0.01, "warning")


def test_two_incidents_that_turn_out_to_be_one_go_on_as_the_one_that_people_know_and_the_older_of_two() -> None:
    alone = [found("ServiceSlow", "shop", since=1.0), found("ServiceSlow", "cart", since=1.0)]
    watched = Watched()
    both = watched.of(*alone, seconds=3)
    assert [i.id for i in both] == ["I-1", "I-2"]
    watched.calls = {"cart": {"shop"}}
    (one,) = watched.of(*alone)
    assert (one.id, one.causes) == ("I-1", ("ServiceSlow shop", "ServiceSlow cart"))

    shop, cart = found("ServiceSlow", "shop", since=1.5), found("EndpointSlow", "cart", "e", since=2.0)
    watched = Watched()
    assert watched.of(shop) == [], "the older one, but it waits for a better cause"
    assert [i.id for i in watched.of(shop, cart)] == ["I-2"]
    watched.calls = {"cart": {"shop"}}
    (one,) = watched.of(shop, cart)
    assert one.id == "I-2", "people know this one"


def test_severity_follows_the_harm_at_the_worst_moment() -> None:
    watched = Watched()
    (mild,) = watched.of(found("EndpointFailing", endpoint="e", harm=0.01), seconds=3)
    assert mild.severity == "warning"
    watched.of(found("EndpointFailing", endpoint="e", harm=0.3))
    (worst,) = watched.of(found("EndpointFailing", endpoint="e", harm=0.001))
    assert (worst.severity, worst.harm) == ("critical", 0.3)


def test_one_in_twenty_requests_harmed_is_critical() -> None:
    for harm, severity in ((HARMFUL, "critical"), (0.99 * HARMFUL, "warning")):
        (incident,) = Watched().of(found("EndpointFailing", endpoint="e", harm=harm))
        assert incident.severity == severity
    assert HARMFUL == 0.05


# One caller's.


def test_an_edges_incident_names_the_caller_and_goes_before_what_shows_of_it_at_the_service() -> None:
    watched = Watched()
    edge = found("EdgeFailing", caller="web", harm=0.1)
    (incident,) = watched.of(edge, found("ServiceFailing", harm=0.1), seconds=3)
    assert (incident.kind, incident.labels) == ("EdgeFailing", {"service": "shop", "caller": "web"})
    assert incident.causes == ("EdgeFailing web to shop", "ServiceFailing shop")


def test_the_proxies_that_stand_beside_no_service_are_a_caller_without_a_label() -> None:
    (incident,) = Watched().of(found("EdgeSlow"), seconds=3)
    assert incident.labels == {"service": "shop"}
    assert incident.causes == ("EdgeSlow clients to shop",)


def test_endpoints_that_chance_took_first_of_one_callers_failures_are_not_the_cause_of_them() -> None:
    """Of all requests one in ten fails, because of that caller, so a tenth fails at each endpoint, more or less."""
    edge = found("EdgeFailing", caller="web", value=0.3, harm=0.1)
    (incident,) = Watched().of(found("EndpointFailing", endpoint="e", value=0.19), edge, seconds=3)
    assert incident.causes == ("EdgeFailing web to shop", "EndpointFailing e")
    (incident,) = Watched().of(found("EndpointFailing", endpoint="e", value=0.21), edge, seconds=3)
    assert incident.causes[0] == "EndpointFailing e", "it fails more than that"
    (incident,) = Watched().of(found("EndpointHangs", endpoint="e", value=0.1), edge, seconds=3)
    assert incident.causes[0] == "EndpointHangs e", "that is another trouble"


def test_an_endpoint_that_chance_took_first_of_one_callers_slow_requests_is_not_the_cause_of_them() -> None:
    """A sixth of all requests takes five times as long: at each endpoint they take two thirds longer, more or less."""
    edge = found("EdgeSlow", caller="web", times=5.0, harm=1 / 6)
    (incident,) = Watched().of(found("EndpointSlow", endpoint="e", times=2.3), edge, seconds=3)
    assert incident.causes == ("EdgeSlow web to shop", "EndpointSlow e")
    (incident,) = Watched().of(found("EndpointSlow", endpoint="e", times=2.4), edge, seconds=3)
    assert incident.causes[0] == "EndpointSlow e", "it takes longer than that"


def test_a_callers_own_symptoms_belong_to_the_incident_of_its_edge() -> None:
    (incident,) = Watched({"shop": {"store"}}).of(
        found("ServiceSlow", "shop"), found("EdgeSlow", "store", caller="shop"), seconds=3
    )
    assert incident.labels == {"service": "store", "caller": "shop"}
    assert incident.causes == ("EdgeSlow shop to store", "ServiceSlow shop")


def test_a_caller_in_trouble_with_several_services_is_one_incident_and_two_callers_are_two() -> None:
    slow = [found("EdgeSlow", service, caller="web") for service in ("cart", "store")]
    (incident,) = Watched({"web": ("cart", "store")}).of(*slow, found("ServiceSlow", "web"), seconds=3)
    assert incident.labels == {"service": "cart", "caller": "web"}
    assert incident.causes[:2] == ("EdgeSlow web to cart", "EdgeSlow web to store")
    both = Watched().of(slow[0], found("EdgeSlow", "store", caller="jobs"), seconds=3)
    assert {(i.labels["service"], i.labels["caller"]) for i in both} == {("cart", "web"), ("store", "jobs")}


def test_two_edges_of_a_service_are_one_incident_and_each_is_told() -> None:
    both = [found("EdgeFailing", caller=c, harm=h) for c, h in (("cart", 0.1), ("web", 0.2))]
    (incident,) = Watched().of(*both, seconds=3)
    assert incident.causes == ("EdgeFailing web to shop", "EdgeFailing cart to shop")
    alike = [found("EdgeFailing", caller=c) for c in ("web", "cart")]
    assert Watched().of(*alike, seconds=3)[0].causes == ("EdgeFailing cart to shop", "EdgeFailing web to shop")


def test_an_edges_incident_does_not_wait_for_a_better_cause() -> None:
    assert Watched().of(found("EdgeSlow", caller="web", since=1.0))
    assert not Watched().of(found("ServiceSlow", since=1.0))


def test_another_caller_is_another_finding_also_among_symptoms_that_outlive_their_cause() -> None:
    watched = Watched({"shop": {"store"}})
    watched.of(found("EdgeSlow", caller="web"), found("EndpointFailing", "store", "e"), seconds=3)
    (left,) = watched.of(found("EdgeSlow", caller="web"), seconds=3)
    assert left.causes[0] == "EndpointFailing e"
    (again,) = watched.of(found("EdgeSlow", caller="jobs", since=7.0), found("EdgeSlow", caller="web"), seconds=3)
    assert again.causes == ("EdgeSlow jobs to shop", "EdgeSlow web to shop")


# Over a restart.


def restarted(watched: Watched, services: set[str], **changes: object) -> Watched:
    """Another brain's, that takes up its state."""
    again, state = Watched(watched.calls), watched.incidents.state()
    for kept in state["open"]:
        kept.update(changes)
    again.now = watched.now
    again.incidents.restore(state, services, again.now)
    return again


def test_an_incident_has_as_long_to_be_found_again_after_a_restart_as_ever() -> None:
    watched = Watched()
    watched.of(found("ServiceFailing"), seconds=100)
    again = restarted(watched, {"shop"})
    assert [i.id for i in again.of(seconds=QUIET_S)] == ["I-1"]
    assert again.of() == []
    (new,) = again.of(found("ServiceFailing", since=again.now), seconds=3)
    assert new.id == "I-2", "a number is never used twice"


def test_what_cannot_be_told_any_more_is_not_taken_up() -> None:
    watched = Watched()
    watched.of(found("ServiceFailing"), seconds=3)
    (cause,) = watched.incidents.state()["open"][0]["causes"]
    assert restarted(watched, {"shop"}).of()
    assert restarted(watched, set()).of() == [], "its service is gone"
    of_before = {name: value for name, value in cause.items() if name != "caller"}
    assert restarted(watched, {"shop"}, causes=[of_before]).of(), "from before callers were told of"
    assert restarted(watched, {"shop"}, causes=[]).of() == []
    assert restarted(watched, {"shop"}, causes=[cause | {"kind": "OfAnotherWeirflow"}]).of() == []


def test_a_restart_never_takes_numbers_back() -> None:
    watched, later = Watched(), Watched()
    watched.of(found("ServiceFailing"), seconds=3)
    later.of(found("ServiceFailing"), found("ServiceSlow", "cart"), seconds=3)
    later.incidents.restore(watched.incidents.state(), {"shop"}, later.now)
    assert {i.id for i in later.of(found("ServiceFailing"), found("ServiceSlow", "store"), seconds=3)} == {"I-1", "I-3"}


def test_traffic_that_surged_is_the_cause_of_the_slowness_that_follows_and_as_severe_as_that() -> None:
    watched = Watched()
    (surge,) = watched.of(found("TrafficSurge", harm=0.0), seconds=3)
    assert surge.severity == "warning", "nobody is harmed by being asked"
    (slow,) = watched.of(found("TrafficSurge", harm=0.0), found("ServiceSlow", harm=1.0), seconds=3)
    assert (slow.id, slow.causes[0], slow.severity) == (surge.id, "TrafficSurge shop", "critical")

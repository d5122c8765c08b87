"""Incidents: what belongs together is one, the cause comes first, and it keeps its name until it is over."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from brain.alerts import Condition
from brain.decision import IncidentView
from brain.findings import KINDS, Finding
from brain.incidents import QUIET_S, SETTLES_S, Incidents

ZONES = {"shop": {"a": 3, "b": 3, "c": 3}, "cart": {"": 4}, "store": {"": 4}}


def found(
    kind: str,
    service: str = "shop",
    endpoint: str = "",
    *,
    zone: str = "",
    since: float = 0.0,
    times: float = 3.0,
    harm: float = 0.1,
) -> Finding:
    said = f"{endpoint or service} is odd"
    return Finding(kind, service, since, 1.0, 0.1, 0.5, times, harm, said, endpoint, zone)


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


def test_what_flickers_away_before_that_is_no_incident() -> None:
    watched = Watched()
    watched.of(found("ServiceSlow", since=1.0))
    watched.of(seconds=1)
    assert watched.of(found("ServiceSlow", since=3.0)) == []


def test_all_that_is_found_of_a_service_is_one_incident_the_endpoint_first() -> None:
    watched = Watched()
    (incident,) = watched.of(found("ServiceSlow"), found("EndpointSlow", endpoint="e"), found("TrafficDrop"), seconds=3)
    assert incident.causes == ("EndpointSlow e", "ServiceSlow shop", "TrafficDrop shop")


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


def test_services_that_call_each_other_in_a_ring_end_somewhere() -> None:
    watched = Watched({"shop": {"cart"}, "cart": {"shop"}})
    assert watched.of(found("ServiceSlow", "shop"), found("ServiceSlow", "cart"), seconds=3)


def test_severity_follows_the_harm_at_the_worst_moment() -> None:
    watched = Watched()
    (mild,) = watched.of(found("EndpointFailing", endpoint="e", harm=0.01), seconds=3)
    assert mild.severity == "warning"
    watched.of(found("EndpointFailing", endpoint="e", harm=0.3))
    (worst,) = watched.of(found("EndpointFailing", endpoint="e", harm=0.001))
    assert (worst.severity, worst.harm) == ("critical", 0.3)


def test_traffic_that_surged_is_the_cause_of_the_slowness_that_follows_and_as_severe_as_that() -> None:
    watched = Watched()
    (surge,) = watched.of(found("TrafficSurge", harm=0.0), seconds=3)
    assert surge.severity == "warning", "nobody is harmed by being asked"
    (slow,) = watched.of(found("TrafficSurge", harm=0.0), found("ServiceSlow", harm=1.0), seconds=3)
    assert (slow.id, slow.causes[0], slow.severity) == (surge.id, "TrafficSurge shop", "critical")

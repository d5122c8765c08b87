"""One node's ADS stream, as dialogues: `>>` what the node or the driver does, `<<` what the stream answers."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from dataplane.contract import Plan, ServicePlan
from dataplane.mesh import EndpointSpec, ListenerSpec, Mesh, NodeSpec, Registry, RouteSpec, ServiceSpec
from dataplane.xds.kinds import ORDER, WHOLE, Kind
from dataplane.xds.playbook import Ack, Ask, Late, Nack, Playbook, Push, Renew, Says, Sends, Wait
from dataplane.xds.snapshot import Snapshot
from dataplane.xds.stream import Stream

TTL_S = 3.0
NOTHING_LEASED = "e.0"


def service(name, *addresses):
    return ServiceSpec(name, tuple(EndpointSpec(a) for a in addresses or ("127.0.0.1:1", "127.0.0.1:2")))


EVERYWHERE = ListenerSpec("in", "127.0.0.1", 0)


def mesh(*services, nodes=("n1", "n2"), listeners=(EVERYWHERE,)):
    return Mesh(
        nodes=tuple(NodeSpec(n) for n in nodes),
        listeners=listeners,
        routes=tuple(RouteSpec(f"to-{s.name}", s.name, prefix=f"/{s.name}") for s in services),
        services=services,
    )


@pytest.fixture
def registry():
    return Registry()


@pytest.fixture
def world(registry):
    """A snapshot with the services `api` and `web`."""
    rules = mesh(service("web"), service("api"))
    return Snapshot.first("e", rules, registry.topology(rules))


def plan(version, share=100.0, **weights):
    """Weights by service name, `api` being service 1 and `web` service 0, two endpoints each."""
    ids = {"web": (0, 0), "api": (1, 2)}
    services = {
        ids[name][0]: ServicePlan(share, dict(enumerate(pair, start=ids[name][1]))) for name, pair in weights.items()
    }
    return Plan(version, services)


ALL = ("api", "api~adaptive", "web", "web~adaptive")


def connected(snapshot, name="n1"):
    """A node that has come up: it asked for everything in Envoy's order, and accepted it."""
    book = Playbook(Stream(0, name, snapshot, ttl_s=TTL_S))
    return (
        book
        >> Ask("RTDS", ("weirflow",))
        << Sends("RTDS", NOTHING_LEASED, "weirflow")
        >> Ack("RTDS")
        << Says("RTDS", NOTHING_LEASED)
        >> Ask("CDS")
        << Sends("CDS", "e.1", *ALL)
        >> Ack("CDS")
        << Says("CDS", "e.1")
        >> Ask("EDS", ALL)
        << Sends("EDS", "e.1", *ALL)
        >> Ack("EDS")
        << Says("EDS", "e.1")
        >> Ask("LDS")
        << Sends("LDS", "e.1", "in")
        >> Ack("LDS")
        << Says("LDS", "e.1")
        >> Ask("RDS", ("in",))
        << Sends("RDS", "e.1", "in")
        >> Ack("RDS")
        << Says("RDS", "e.1")
    )


def leased(snapshot):
    """A node that holds plan 1 and its lease."""
    book = connected(snapshot)
    return (
        book
        >> Push(snapshot.then(plan=plan(1, web=(100, 300))))
        << Sends("EDS", "e.2", "web~adaptive")
        >> Renew()
        >> Ack("EDS")
        << Says("EDS", "e.2")
        << Sends("RTDS", "e.1", "weirflow", ttl_s=TTL_S)
        >> Ack("RTDS")
        << Says("RTDS", "e.1")
    )


# How a node comes up and is kept up to date


def test_a_node_that_starts_is_given_everything_in_the_order_in_which_it_asks(world):
    assert connected(world)


def test_endpoints_do_not_wait_for_the_answer_to_clusters_for_envoy_answers_when_they_are_warm(world):
    book = Playbook(Stream(0, "n1", world, ttl_s=TTL_S))
    assert (
        book
        >> Ask("CDS")
        << Sends("CDS", "e.1", *ALL)
        >> Ask("EDS", ALL)
        << Sends("EDS", "e.1", *ALL)
        >> Ask("LDS")
        >> Ack("EDS")
        << Says("EDS", "e.1")
        >> Ack("CDS")
        << Says("CDS", "e.1")
        << Sends("LDS", "e.1", "in")
    )


def test_only_the_assignments_that_changed_are_sent_again(world):
    book = connected(world)
    assert book >> Push(world.then(plan=plan(1, web=(1, 3)))) << Sends("EDS", "e.2", "web~adaptive")


def test_a_snapshot_without_news_for_the_node_sends_nothing(world, registry):
    assert connected(world) >> Push(world.then(topology=registry.topology(world.mesh)))


def test_snapshots_that_come_while_a_response_is_unanswered_are_merged_into_the_newest(world):
    first = world.then(plan=plan(1, web=(1, 2)))
    second = first.then(plan=plan(2, web=(1, 3)))
    third = second.then(plan=plan(3, web=(1, 4), api=(5, 6)))
    assert (
        connected(world)
        >> Push(first)
        << Sends("EDS", "e.2", "web~adaptive")
        >> Push(second)
        >> Push(third)
        >> Ack("EDS")
        << Says("EDS", "e.2")
        << Sends("EDS", "e.4", "web~adaptive", "api~adaptive")
    )


def test_a_stale_nonce_is_ignored(world):
    assert (
        connected(world)
        >> Push(world.then(plan=plan(1, web=(1, 3))))
        << Sends("EDS", "e.2", "web~adaptive")
        >> Late("EDS", nonce="3", names=("web",))
        >> Ack("EDS", ALL)
        << Says("EDS", "e.2")
    )


def test_a_newly_requested_name_is_sent_although_it_has_not_changed(world):
    book = connected(world)
    assert (
        book
        >> Ack("EDS", ("web",))
        >> Ack("EDS", ALL)
        << Sends("EDS", "e.1", "api", "api~adaptive", "web~adaptive")
        >> Ack("EDS")
    )


def test_a_name_that_comes_into_being_later_is_sent_then(world, registry):
    rules = mesh(service("web"), service("api"), service("new"))
    grown = world.then(mesh=rules, topology=registry.topology(rules))
    book = Playbook(Stream(0, "client", world, ttl_s=TTL_S))
    assert book >> Ask("EDS", ("new",)) >> Push(grown) << Sends("EDS", "e.2", "new")


def test_a_client_that_names_its_clusters_gets_those_and_may_stop_asking(world):
    book = Playbook(Stream(0, "client", world, ttl_s=TTL_S))
    assert (
        book
        >> Ask("CDS", ("web",))
        << Sends("CDS", "e.1", "web")
        >> Ack("CDS", ("web", "api"))
        << Says("CDS", "e.1")
        << Sends("CDS", "e.1", "web", "api")
        >> Ack("CDS", ("*",))
        << Sends("CDS", "e.1", *ALL)
        >> Ack("CDS", ())
    )


def test_a_node_without_listeners_is_told_so_at_once(registry):
    rules = mesh(service("web"), listeners=(ListenerSpec("in", "127.0.0.1", 0, nodes=("n2",)),))
    snapshot = Snapshot.first("e", rules, registry.topology(rules))
    assert (
        Playbook(Stream(0, "n1", snapshot, ttl_s=TTL_S))
        >> Ask("LDS")
        << Sends("LDS", "e.1")
        >> Ack("LDS")
        << Says("LDS", "e.1")
    )


def test_a_request_for_a_type_that_we_do_not_serve_is_ignored_and_counted(world):
    stream = Stream(0, "n1", world, ttl_s=TTL_S)
    request = type("Request", (), {"type_url": "type.googleapis.com/secret", "response_nonce": ""})()
    assert stream.on_request(request, 0.0) == []
    assert stream.ignored == 1


# Coming back


def test_a_node_that_comes_back_with_our_versions_gets_only_what_we_cannot_know_that_it_has(world):
    book = Playbook(Stream(0, "n1", world, ttl_s=TTL_S))
    assert (
        book
        >> Ask("CDS", version="e.1")
        >> Ask("EDS", ALL, version="e.1")
        << Sends("EDS", "e.1", *ALL)
        >> Ask("LDS", version="e.1")
        >> Ack("EDS")
        << Says("EDS", "e.1")
        >> Ask("RDS", ("in",), version="e.1")
        << Sends("RDS", "e.1", "in")
    )


def test_a_node_that_comes_back_from_another_run_gets_everything_and_loses_the_lease_of_that_run(world):
    book = Playbook(Stream(0, "n1", world.then(plan=plan(1, web=(1, 3))), ttl_s=TTL_S))
    assert (
        book
        >> Ask("RTDS", ("weirflow",), version="old.7")
        << Sends("RTDS", NOTHING_LEASED, "weirflow")
        >> Ack("RTDS")
        << Says("RTDS", NOTHING_LEASED)
        >> Ask("CDS", version="old.1")
        << Sends("CDS", "e.1", *ALL)
        >> Ask("LDS", version="old.1")
        >> Ack("CDS")
        << Says("CDS", "e.1")
        >> Ask("EDS", ALL, version="old.9")
        << Sends("EDS", "e.2", *ALL)
        >> Ack("EDS")
        << Says("EDS", "e.2")
        << Sends("LDS", "e.1", "in")
    )


def test_a_node_that_comes_back_keeps_the_lease_it_has_until_it_is_renewed_or_ends(world):
    held = world.then(plan=plan(1, web=(1, 3)))
    book = Playbook(Stream(0, "n1", held, ttl_s=TTL_S))
    assert (
        book
        >> Ask("RTDS", ("weirflow",), version="e.1")
        >> Ask("EDS", ALL)
        << Sends("EDS", "e.2", *ALL)
        >> Ack("EDS")
        << Says("EDS", "e.2")
        >> Renew()
        << Sends("RTDS", "e.1", "weirflow", ttl_s=TTL_S)
    )


# NACK


def test_a_nack_parks_that_version_for_that_node_and_touches_no_other(world):
    one, other = connected(world, "n1"), connected(world, "n2")
    bad = world.then(plan=plan(1, web=(1, 3)))
    mended = bad.then(plan=plan(2, web=(1, 2)))
    assert (
        one
        >> Push(bad)
        << Sends("EDS", "e.2", "web~adaptive")
        >> Nack("EDS", "no such weight")
        << Says("EDS", "e.2", "no such weight")
        >> Push(bad)
        >> Ack("EDS")  # asks for the same names again: still parked
        >> Push(mended)
        << Sends("EDS", "e.3", "web~adaptive")
        >> Ack("EDS")
        << Says("EDS", "e.3")
    )
    assert other >> Push(bad) << Sends("EDS", "e.2", "web~adaptive") >> Ack("EDS") << Says("EDS", "e.2")


def test_what_a_node_refused_is_shown_until_it_accepts_another_version(world):
    book = connected(world)
    bad = world.then(plan=plan(1, web=(1, 3)))
    assert book >> Push(bad) << Sends("EDS", "e.2", "web~adaptive") >> Nack("EDS", "why") << Says("EDS", "e.2", "why")
    assert book.stream.status()["EDS"] == {"sent": "e.2", "acked": "e.1", "parked": "why"}
    assert not book.stream.settled(Kind.EDS)
    assert (
        book
        >> Push(bad.then(plan=plan(2, web=(9, 9))))
        << Sends("EDS", "e.3", "web~adaptive")
        >> Ack("EDS")
        << Says("EDS", "e.3")
    )
    assert book.stream.status()["EDS"] == {"sent": "e.3", "acked": "e.3", "parked": ""}
    assert book.stream.settled(Kind.EDS)


def test_a_parked_version_still_answers_for_names_that_were_not_refused(world):
    book = connected(world)
    assert (
        book
        >> Ack("EDS", ("web~adaptive",))
        >> Push(world.then(plan=plan(1, web=(1, 3))))
        << Sends("EDS", "e.2", "web~adaptive")
        >> Nack("EDS", "no")
        << Says("EDS", "e.2", "no")
        >> Ack("EDS", ("web~adaptive", "api"))
        << Sends("EDS", "e.2", "api")
    )


def test_a_node_that_refuses_new_weights_keeps_its_lease_of_the_old_ones(world):
    book = leased(world)
    bad = world.then(plan=plan(1, web=(100, 300))).then(plan=plan(2, web=(100, 500)))
    assert (
        book
        >> Push(bad)
        << Sends("EDS", "e.3", "web~adaptive")
        >> Nack("EDS", "no")
        << Says("EDS", "e.3", "no")
        >> Renew()
        << Sends("RTDS", "e.1", "weirflow", ttl_s=TTL_S)
    )


def test_a_node_that_refuses_the_layer_is_not_sent_it_again_so_its_lease_ends(world):
    assert (
        leased(world)
        >> Renew()
        << Sends("RTDS", "e.1", "weirflow", ttl_s=TTL_S)
        >> Nack("RTDS", "bad key")
        << Says("RTDS", "e.1", "bad key")
        >> Renew()
        >> Renew()
    )


# The lease


def test_a_new_stream_is_told_that_nothing_is_leased_until_the_next_renewal(world):
    held = world.then(plan=plan(1, web=(1, 3)))
    book = Playbook(Stream(0, "n1", held, ttl_s=TTL_S))
    assert book >> Ask("RTDS", ("weirflow",)) << Sends("RTDS", NOTHING_LEASED, "weirflow")
    assert not book.bodies["RTDS"]["weirflow"].layer.fields


def test_the_share_is_not_turned_on_before_the_adaptive_endpoints_are_accepted(world):
    held = world.then(plan=plan(1, web=(1, 3)))
    book = Playbook(Stream(0, "n1", held, ttl_s=TTL_S))
    assert (
        book
        >> Ask("RTDS", ("weirflow",))
        << Sends("RTDS", NOTHING_LEASED, "weirflow")
        >> Ack("RTDS")
        << Says("RTDS", NOTHING_LEASED)
        >> Renew()
        >> Ask("CDS")
        << Sends("CDS", "e.1", *ALL)
        >> Ack("CDS")
        << Says("CDS", "e.1")
        >> Renew()
        >> Ask("EDS", ALL)
        << Sends("EDS", "e.2", *ALL)
        >> Renew()
        >> Ack("EDS")
        << Says("EDS", "e.2")
        << Sends("RTDS", "e.1", "weirflow", ttl_s=TTL_S)
    )


def test_a_renewal_carries_the_layer_with_its_body_each_time(world):
    book = leased(world) >> Wait(1.0) >> Renew() << Sends("RTDS", "e.1", "weirflow", ttl_s=TTL_S)
    assert "weirflow.adaptive.web" in book.bodies["RTDS"]["weirflow"].layer.fields
    assert book >> Ack("RTDS")


def test_a_snapshot_alone_renews_nothing(world):
    held = world.then(plan=plan(1, web=(100, 300)))
    assert (
        leased(world)
        >> Push(held.then(plan=plan(2, share=50.0, web=(100, 300))))
        >> Wait(1.0)
        >> Renew()
        << Sends("RTDS", "e.2", "weirflow", ttl_s=TTL_S)
    )


def test_a_renewal_that_had_to_wait_leases_only_what_is_left_of_it(world):
    book = connected(world) >> Push(world.then(plan=plan(1, web=(1, 3)))) << Sends("EDS", "e.2", "web~adaptive")
    assert (
        book
        >> Renew()
        >> Wait(1.0)
        >> Ack("EDS")
        << Says("EDS", "e.2")
        << Sends("RTDS", "e.1", "weirflow", ttl_s=TTL_S - 1.0)
    )


def test_a_renewal_that_had_to_wait_for_its_whole_time_leases_nothing(world):
    book = connected(world) >> Push(world.then(plan=plan(1, web=(1, 3)))) << Sends("EDS", "e.2", "web~adaptive")
    assert book >> Renew() >> Wait(TTL_S) >> Ack("EDS") << Says("EDS", "e.2")


def test_a_share_of_none_takes_the_keys_away_at_once(world):
    held = world.then(plan=plan(1, web=(100, 300)))
    book = leased(world) >> Push(held.then(plan=plan(2, share=0.0, web=(100, 300))))
    assert book << Sends("RTDS", "e.2", "weirflow") >> Ack("RTDS") << Says("RTDS", "e.2") >> Renew()
    assert not book.bodies["RTDS"]["weirflow"].layer.fields


# Make before break


def test_a_reload_adds_clusters_before_routes_and_takes_clusters_away_after_them(world, registry):
    rules = mesh(service("web"), service("new"))
    after = world.then(mesh=rules, topology=registry.topology(rules))
    both = (*ALL, "new", "new~adaptive")
    assert (
        connected(world)
        >> Push(after)
        << Sends("CDS", "e.2+leaving", *both)
        >> Ack("EDS", both)
        << Sends("EDS", "e.2", "new", "new~adaptive")
        >> Ack("EDS")
        << Says("EDS", "e.2")
        >> Ack("CDS")
        << Says("CDS", "e.2+leaving")
        << Sends("RDS", "e.2", "in")
        >> Ack("RDS")
        << Says("RDS", "e.2")
        << Sends("CDS", "e.2", "web", "web~adaptive", "new", "new~adaptive")
        >> Ack("CDS")
        << Says("CDS", "e.2")
    )


def test_a_cluster_that_changed_gets_its_endpoints_again_for_it_warms_until_they_come(world, registry):
    rules = mesh(replace(service("web"), connect_timeout_s=9.0), service("api"))
    after = world.then(mesh=rules, topology=registry.topology(rules))
    assert (
        connected(world)
        >> Push(after)
        << Sends("CDS", "e.2", *ALL)
        << Sends("EDS", "e.1", "web", "web~adaptive")
        >> Ack("EDS")
        >> Ack("CDS")
        << Says("CDS", "e.2")
    )


def test_a_cluster_that_changed_while_its_endpoints_were_on_the_way_gets_them_once_more(world, registry):
    weighed = world.then(plan=plan(1, web=(1, 3)))
    rules = mesh(replace(service("web"), connect_timeout_s=9.0), service("api"))
    assert (
        connected(world)
        >> Push(weighed)
        << Sends("EDS", "e.2", "web~adaptive")
        >> Push(weighed.then(mesh=rules, topology=registry.topology(rules)))
        << Sends("CDS", "e.2", *ALL)
        >> Ack("EDS")
        << Says("EDS", "e.2")
        << Sends("EDS", "e.2", "web", "web~adaptive")
    )


def test_a_cluster_that_is_to_go_before_it_was_warm_gets_its_endpoints_all_the_same(world, registry):
    rules = mesh(service("web"), service("api"), service("new"))
    grown = world.then(mesh=rules, topology=registry.topology(rules))
    back = grown.then(mesh=world.mesh, topology=registry.topology(world.mesh))
    more = (*ALL, "new", "new~adaptive")
    assert (
        connected(world)
        >> Push(grown)
        << Sends("CDS", "e.2", *more)
        >> Push(back)
        >> Ack("EDS", more)
        << Sends("EDS", "e.3", "new", "new~adaptive")
        >> Ack("EDS")
        << Says("EDS", "e.3")
        >> Ack("CDS")
        << Says("CDS", "e.2")
        << Sends("CDS", "e.3", *ALL)
    )


def test_routes_wait_while_the_clusters_that_they_need_are_refused(world, registry):
    rules = mesh(service("web"), service("api"), service("new"))
    after = world.then(mesh=rules, topology=registry.topology(rules))
    assert (
        connected(world)
        >> Push(after)
        << Sends("CDS", "e.2", *ALL, "new", "new~adaptive")
        >> Nack("CDS", "no")
        << Says("CDS", "e.2", "no")
        >> Push(world.then(plan=plan(1, web=(1, 3))))
        << Sends("EDS", "e.2", "web~adaptive")
    )


def test_clusters_refused_with_those_that_leave_are_not_sent_again_without_them(world, registry):
    rules = mesh(service("web"), service("new"))
    assert (
        connected(world)
        >> Push(world.then(mesh=rules, topology=registry.topology(rules)))
        << Sends("CDS", "e.2+leaving", *ALL, "new", "new~adaptive")
        >> Nack("CDS", "no")
        << Says("CDS", "e.2+leaving", "no")
        >> Ack("RDS", ())  # asks for no routes any more: none of them is in the way
    )


def test_a_first_start_with_a_cluster_refused_serves_what_works(world):
    book = Playbook(Stream(0, "n1", world, ttl_s=TTL_S))
    assert (
        book
        >> Ask("CDS")
        << Sends("CDS", "e.1", *ALL)
        >> Nack("CDS", "no")
        << Says("CDS", "e.1", "no")
        >> Ask("LDS")
        << Sends("LDS", "e.1", "in")
    )


# Whatever happens, in whatever order


SERVICES = ("a", "b", "c")


class AnyStory(RuleBasedStateMachine):
    """An Envoy as the page describes one, which answers when it likes, against snapshots that come when they like.

    It holds what it accepted, asks for the endpoints of its clusters and the routes of its listeners, answers clusters
    once they are warm, refuses now and then, and may be started anew. It reads its one stream in order: endpoints that
    were sent after clusters are not taken before these.
    """

    def __init__(self):
        super().__init__()
        self.registry = Registry()
        rules = mesh(service("a"))
        self.snapshot = Snapshot.first("e", rules, self.registry.topology(rules))
        self.plans = 0
        self.start_anew()

    @rule()
    def start_anew(self):
        self.book = Playbook(Stream(0, "n1", self.snapshot, ttl_s=TTL_S))
        self.held = {kind.value: {} for kind in ORDER}
        self.warm = set()  # clusters that had endpoints since they came
        self.cold = set()  # clusters that came or changed, and had none since
        self.open = {}
        self.sent = {}  # by kind, when its newest response was
        self.taken = None  # the clusters that were applied last
        self.asked = set()
        self.refused = set()

    @rule(kind=st.sampled_from(ORDER))
    def ask(self, kind):
        if kind == Kind.LDS and Kind.CDS not in self.asked:
            return  # an Envoy asks for clusters first
        if kind not in self.asked and (self.names(kind) or kind in WHOLE):
            self.asked.add(kind.value)
            self.do(Ask(kind.value, self.names(kind)))

    @rule(data=st.data())
    @precondition(lambda self: self.answerable())
    def accept(self, data):
        self.accept_one(data.draw(st.sampled_from(self.answerable())))

    @rule(data=st.data())
    @precondition(lambda self: self.answerable())
    def refuse(self, data):
        kind = data.draw(st.sampled_from(self.answerable()))
        if kind == "CDS" and self.taken == self.open[kind]:
            return  # it is applied already
        said = self.open.pop(kind)
        self.refused.add((kind, said.version, said.names))
        self.do(Nack(kind, "no"))

    @rule(names=st.sets(st.sampled_from(("a", "b", "c")), min_size=1), connect_timeout_s=st.integers(1, 2))
    def reload(self, names, connect_timeout_s):
        rules = mesh(*(replace(service(n), connect_timeout_s=connect_timeout_s) for n in sorted(names)))
        self.snapshot = self.snapshot.then(mesh=rules, topology=self.registry.topology(rules))
        self.do(Push(self.snapshot))

    @rule(weight=st.integers(1, 5), share=st.sampled_from((0.0, 50.0)))
    def publish(self, weight, share):
        self.plans += 1
        services = {
            s.id: ServicePlan(share, {e.id: weight + i for i, e in enumerate(s.endpoints)})
            for s in self.snapshot.topology.services
        }
        self.snapshot = self.snapshot.then(plan=Plan(self.plans, services))
        self.do(Push(self.snapshot))
        self.do(Renew())

    @invariant()
    def no_route_leads_to_a_cluster_that_is_not_there(self):
        # A node that refused clusters at its start is served what works, so there a route may lead nowhere.
        if not any(kind in ("CDS", "EDS") for kind, _, _ in self.refused):
            for cluster in self.routed():
                assert cluster in self.warm

    @rule(seconds=st.sampled_from((1.0, TTL_S)))
    def wait(self, seconds):
        self.do(Wait(seconds))

    @invariant()
    def no_key_turns_traffic_to_a_cluster_without_endpoints(self):
        for layer in self.held["RTDS"].values():
            for key in layer.layer.fields:
                name = key.removeprefix("weirflow.adaptive.") + "~adaptive"
                assert name in self.warm or name not in self.routed()

    def teardown(self):
        """However it began: a node that refuses nothing comes to hold the snapshot, in a bounded number of steps."""
        if self.refused:
            self.start_anew()
        for _ in range(40):
            for kind in ORDER:
                self.ask(kind)
            for kind in self.answerable():
                self.accept_one(kind)
        for kind in ("CDS", "EDS", "LDS", "RDS"):
            assert self.book.stream.settled(Kind(kind)), f"{kind} did not converge"
        assert self.held["CDS"].keys() == self.snapshot.parts[Kind.CDS].resources.keys()

    def routed(self):
        return {r.route.cluster for routes in self.held["RDS"].values() for v in routes.virtual_hosts for r in v.routes}

    def names(self, kind):
        parents = {"EDS": "CDS", "RDS": "LDS"}
        if kind in parents:
            return tuple(sorted(self.held[parents[kind]]))
        return ("weirflow",) if kind == "RTDS" else ()

    def answerable(self):
        waits = self.cold and "CDS" in self.open and self.taken == self.open["CDS"]
        unread = "CDS" in self.open and self.taken != self.open["CDS"]
        behind = unread and self.sent.get("EDS", 0) > self.sent["CDS"]
        return [kind for kind in sorted(self.open) if not (kind == "CDS" and waits) and not (kind == "EDS" and behind)]

    def accept_one(self, kind):
        if kind == "CDS" and self.taken != self.open[kind]:
            self.take_clusters()
            return
        self.open.pop(kind)
        if kind != "CDS":
            bodies = self.book.bodies[kind]
            self.held[kind] = dict(bodies) if kind in WHOLE else self.held[kind] | bodies
        if kind == "EDS":
            self.warm |= self.held["CDS"].keys() & bodies.keys()
            self.cold -= bodies.keys()
        self.do(Ack(kind, self.names(kind)))
        if kind == "LDS":
            self.ask_for_more("RDS")

    def take_clusters(self):
        """Apply them; the answer waits until they are warm."""
        self.taken = self.open["CDS"]
        before, after = self.held["CDS"], self.book.bodies["CDS"]
        self.held["CDS"] = dict(after)
        self.warm &= after.keys()
        self.cold = {name for name in after if before.get(name) != after[name] or name in self.cold}
        self.ask_for_more("EDS")

    def ask_for_more(self, kind):
        if kind in self.asked and kind not in self.open:
            self.do(Ack(kind, self.names(kind)))

    def do(self, line):
        for output in self.book.carry_out(line):
            if isinstance(output, Sends):
                assert output.kind not in self.open, "two responses of a kind are unanswered"
                assert (output.kind, output.version, output.names) not in self.refused, "a refused one was sent again"
                self.open[output.kind] = output
                self.sent[output.kind] = 1 + max(self.sent.values(), default=0)


TestAnyStory = AnyStory.TestCase
TestAnyStory.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@given(st.integers(0, 200), st.integers(0, 200))
def test_weights_in_the_assignment_are_those_of_the_plan(a, b):
    rules = mesh(service("web"), service("api"))
    snapshot = Snapshot.first("e", rules, Registry().topology(rules)).then(plan=plan(1, web=(a, b)))
    book = Playbook(Stream(0, "n1", snapshot, ttl_s=TTL_S)) >> Ask("EDS", ("web~adaptive",))
    assert book << Sends("EDS", "e.2" if (max(a, 1), max(b, 1)) != (1, 1) else "e.1", "web~adaptive")
    sent = [e.load_balancing_weight.value for e in book.bodies["EDS"]["web~adaptive"].endpoints[0].lb_endpoints]
    assert sent == [max(a, 1), max(b, 1)]

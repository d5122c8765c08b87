"""The brain, as dialogues: what it is told, what an operator says, what it decides."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from brain.brain import Brain
from brain.commands import Freeze, Rollback, SetMode
from brain.course import Course
from brain.decision import Decision, ServiceView
from brain.settings import Guard, Learning, Mode, Proof, Settings
from dataplane.contract import Endpoint, Felt, Node, Outcome, Presence, Service, Topology, Verdict
from dataplane.simulated.drive import run
from dataplane.simulated.endpoint import Behaviour, Fault
from dataplane.simulated.mesh import Load, SimulatedMesh

SHADOW, ADAPTIVE = Settings(), Settings(mode=Mode.ADAPTIVE)
SLOW = {"10.0.0.0:80": Behaviour(faults=(Fault("slow", 5, 1e9),))}
NODES = (Node(0, "edge", 1),)


def endpoint(i: int, weight: int = 1) -> Endpoint:
    return Endpoint(i, f"10.0.0.{i}:80", weight)


def topology(*ids: int, version: int = 1, slots: int = 0) -> Topology:
    return Topology(version, (Service(0, "app", tuple(endpoint(i) for i in ids or range(4))),), NODES, (), (), slots)


class Dialogue:
    """A brain over a mesh whose first endpoint turns ten times slower after 5 s."""

    def __init__(self, settings: Settings = ADAPTIVE, first: Topology | None = None, seed: int = 3) -> None:
        self.topology = first or topology()
        self.mesh = SimulatedMesh(self.topology, [Load("app", 200)], SLOW, np.random.default_rng(seed))
        self.brain = Brain(self.topology, settings)

    def live(self, seconds: float) -> list[Decision]:
        return list(run(self.mesh, self.brain, self.mesh.now + seconds))

    def after(self, seconds: float) -> ServiceView:
        return self.live(seconds)[-1].services[0]

    def say(self, command: Freeze | Rollback | SetMode) -> None:
        self.brain.command(command, self.mesh.now)

    def moved(self, to: Topology) -> None:
        self.brain.moved(to, self.mesh.now)
        self.mesh.moved(to)


def weights(view: ServiceView) -> list[int]:
    return [e.weight for e in view.endpoints]


def test_in_shadow_all_is_decided_and_explained_and_nothing_is_applied() -> None:
    it = Dialogue(SHADOW)
    decisions = it.live(30)
    view = decisions[-1].services[0]
    assert (view.state, view.share_percent, weights(view)) == ("shadow", 0.0, [100] * 4)
    assert view.endpoints[0].proposed < 40
    assert "weight 100 kept, would go to " in view.endpoints[0].reason
    assert ": shadow" in view.endpoints[0].reason
    assert {d.plan.version for d in decisions if d.plan} == {1}
    assert not any(r.arm for r in it.mesh.ended)


def test_from_shadow_to_adaptive_the_first_plan_has_the_operators_weights_and_the_next_ones_step() -> None:
    it = Dialogue(SHADOW)
    it.live(30)
    it.say(SetMode("app", Mode.ADAPTIVE, 90))
    first, second = it.live(2)
    assert (first.services[0].state, first.services[0].share_percent) == ("adaptive", 90.0)
    assert weights(first.services[0]) == [100] * 4
    assert weights(second.services[0])[0] < 50


def test_the_same_plan_object_comes_again_while_no_number_changes() -> None:
    plans = [d.plan for d in Dialogue(SHADOW).live(20)]
    assert all(p is plans[0] for p in plans)


def test_a_new_version_comes_with_every_change_and_never_without() -> None:
    decisions = Dialogue().live(40)
    for before, after in pairwise(decisions):
        assert before.plan is not None
        assert after.plan is not None
        same = [(p.share_percent, p.weights) for p in before.plan.services.values()] == [
            (p.share_percent, p.weights) for p in after.plan.services.values()
        ]
        assert after.plan.version == before.plan.version + (not same)


def test_a_frozen_brain_holds_its_plan_and_goes_on_renewing_it() -> None:
    it = Dialogue()
    it.live(4)
    before = it.after(8)
    it.say(Freeze())
    frozen = it.live(30)
    assert {d.services[0].state for d in frozen} == {"frozen"}
    assert all(d.frozen and d.plan is frozen[0].plan for d in frozen)
    assert weights(frozen[-1].services[0]) == weights(before)
    it.say(Freeze(on=False))
    assert it.after(10).state == "adaptive"


def test_a_frozen_plan_holds_through_lost_telemetry() -> None:
    it = Dialogue()
    it.live(20)
    it.say(Freeze())
    it.mesh.nodes[0].reports_lost = ((0, 1e9),)
    assert it.after(20).share_percent == 95.0


def test_a_frozen_plan_is_adapted_to_the_members_the_departed_go_and_newcomers_enter_at_the_neutral_weight() -> None:
    it = Dialogue()
    before = weights(it.after(30))
    it.say(Freeze())
    it.moved(topology(0, 1, 2, 4, version=2))
    view = it.after(1)
    assert [e.id for e in view.endpoints] == [0, 1, 2, 4]
    assert weights(view)[0] == pytest.approx(before[0], abs=5)
    assert weights(view)[3] == pytest.approx(100, abs=10)
    assert sum(weights(view)) == 400


def test_of_an_endpoint_that_too_little_is_known_of_it_is_said_so_and_that_the_operators_weight_is_taken() -> None:
    it = Dialogue()
    assert not any("new: believed" in e.reason for e in it.after(5).endpoints), "the brain is new, and not they"
    known = it.after(25).endpoints
    assert not any("too few attempts to learn from" in e.reason for e in known)
    it.moved(topology(0, 1, 2, 3, 4, version=2))
    *_, newcomer = it.brain.tick(it.mesh.now).services[0].endpoints
    said = "nothing finished lately; too few attempts to learn from: the operator's weight, new: believed to bear"
    assert newcomer.reason.startswith(said)
    assert "weight 58 -> " in newcomer.reason, "half of its own, beside a gray one's"


def test_a_newcomer_has_its_share_when_it_has_shown_what_it_bears_and_the_others_keep_theirs() -> None:
    it = Dialogue()
    before = weights(it.after(30))
    it.moved(topology(0, 1, 2, 3, 4, version=2))
    view = it.after(20)
    assert len(view.endpoints) == 5
    assert weights(view)[4] == pytest.approx(110, abs=15)
    assert weights(view)[0] == pytest.approx(before[0], rel=0.3)
    assert weights(it.after(20))[0] < 40


def test_a_plan_has_a_positive_weight_for_every_member_and_no_other() -> None:
    it = Dialogue()
    for version, ids in enumerate([(0, 1), (1, 2, 3), (3,), (0, 3, 5, 6), (6,)], start=2):
        it.moved(topology(*ids, version=version, slots=7))
        for d in it.live(10):
            assert d.plan is not None
            assert set(d.plan.services[0].weights) == set(ids)
            assert all(w >= 1 for w in d.plan.services[0].weights.values())


def test_a_service_may_come_and_go() -> None:
    it = Dialogue()
    it.live(10)
    web = Service(1, "web", (endpoint(7), endpoint(8)))
    it.brain.moved(Topology(2, (*it.topology.services, web), NODES), it.mesh.now)
    assert [s.name for s in it.live(2)[-1].services] == ["app", "web"]
    it.brain.moved(Topology(3, (web,), NODES, (), (), 9, 2), it.mesh.now)
    decision = it.live(2)[-1]
    assert [s.name for s in decision.services] == ["web"]
    assert decision.plan is not None
    assert list(decision.plan.services) == [1]


def test_rollback_puts_every_service_into_shadow_at_once_even_when_frozen() -> None:
    it = Dialogue()
    it.live(30)
    it.say(Freeze())
    it.live(2)
    it.say(Rollback())
    view = it.after(1)
    assert (view.mode, view.share_percent, weights(view)) == ("shadow", 0.0, [100] * 4)


def test_static_mode_decides_nothing() -> None:
    it = Dialogue(replace(ADAPTIVE, modes={"app": Mode.STATIC}))
    view = it.after(30)
    assert (view.state, view.share_percent, weights(view)) == ("static", 0.0, [100] * 4)


def test_a_command_for_an_unknown_service_names_the_nearest_right_one() -> None:
    with pytest.raises(KeyError, match="there is no service 'ap'; did you mean 'app'"):
        Dialogue().say(SetMode("ap", Mode.ADAPTIVE))


@pytest.mark.parametrize("share", [-1.0, 100.5, float("nan")])
def test_a_share_that_is_no_percentage_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="from 0 to 100"):
        Dialogue().say(SetMode("app", Mode.ADAPTIVE, share))


def test_a_share_of_100_is_allowed_and_noted_for_it_leaves_no_holdout() -> None:
    it = Dialogue()
    it.say(SetMode("app", Mode.ADAPTIVE, 100))
    assert it.live(1)[0].notes == ("app: at 100 % there is no holdout, so no gain can be told",)
    assert it.after(20).share_percent == 100.0


def test_a_reload_changes_the_mode_unless_an_operator_commanded_another() -> None:
    it = Dialogue(SHADOW)
    it.live(10)
    it.brain.configured(replace(SHADOW, mode=Mode.ADAPTIVE), it.mesh.now)
    assert it.after(1).mode == "adaptive"
    it.say(SetMode("app", Mode.STATIC))
    it.brain.configured(replace(SHADOW, mode=Mode.ADAPTIVE, share_percent=50), it.mesh.now)
    assert it.after(1).mode == "static"


def test_a_reload_of_the_guard_settles_the_weights_in_force_into_the_new_rails() -> None:
    it = Dialogue()
    assert weights(it.after(40))[0] < 40
    it.brain.configured(replace(ADAPTIVE, guard=Guard(floor_share_of_mean=0.5)), it.mesh.now)
    assert weights(it.after(1))[0] == 50


def test_a_reload_of_the_way_of_learning_starts_learning_anew() -> None:
    it = Dialogue()
    it.live(20)
    it.brain.configured(replace(ADAPTIVE, learning=Learning(half_life_s=6.0)), it.mesh.now)
    assert it.after(1).share_percent in (0.0, 95.0)
    assert it.after(20).state == "adaptive"


def test_a_nack_is_shown_counted_and_alerted_and_ends_with_an_ack() -> None:
    it = Dialogue()
    it.live(3)
    it.brain.heard(Verdict(0, "EDS", "7", accepted=False, plan=1, detail="weight 0 is not allowed"), it.mesh.now)
    parked = it.live(1)[0]
    assert (parked.nodes[0].nacks, parked.nodes[0].parked) == (1, {"EDS": "weight 0 is not allowed"})
    assert [(a.kind, a.opened, dict(a.labels)) for a in parked.alerts] == [
        ("NackParked", True, {"node": "edge", "type": "EDS"})
    ]
    assert parked.alerts[0].summary == "node edge refuses its EDS: weight 0 is not allowed"
    assert it.live(1)[0].alerts == ()
    it.brain.heard(Verdict(0, "EDS", "8", accepted=True, plan=2), it.mesh.now)
    over = it.live(1)[0]
    assert (over.nodes[0].nacks, over.nodes[0].parked) == (1, {})
    assert [(a.kind, a.opened) for a in over.alerts] == [("NackParked", False)]


def test_a_node_that_leaves_is_gone_and_not_unknown() -> None:
    two = Topology(1, topology().services, (*NODES, Node(1, "edge-2")))
    it = Dialogue(ADAPTIVE, two)
    it.live(4)
    it.mesh.nodes[1].reports_lost = it.mesh.nodes[1].log_lost = ((0, 1e9),)
    it.brain.heard(Presence(1, connected=False), it.mesh.now)
    lived = it.live(20)
    assert lived[-1].services[0].state == "adaptive"
    assert weights(lived[-1].services[0])[0] < 60, "what is left in sight is all there is, so weights still move"
    assert not lived[-1].nodes[1].connected
    assert not any(a.kind == "TelemetryStale" for d in lived for a in d.alerts)


def test_skipped_ticks_are_alerted() -> None:
    it = Dialogue()
    it.live(3)
    it.brain.overran(4, it.mesh.now)
    alerts = [a for d in it.live(70) for a in d.alerts]
    assert [(a.kind, a.opened) for a in alerts] == [("TickOverrun", True), ("TickOverrun", False)]
    assert alerts[0].summary == "4 ticks were skipped: the last one came too late"


def test_a_proven_loss_steps_the_share_back_and_alerts() -> None:
    backwards = replace(
        ADAPTIVE,
        share_percent=50,
        learning=Learning(error_exponent=0.01, prior_samples=1e9),  # learns nothing, so the arms are alike
        proof=Proof(window_s=60, min_requests=50, negative_for_s=10, retry_after_s=60),
    )
    it = Dialogue(backwards, topology(1, 2, 3))
    it.live(10)
    told = it.brain.told

    def slower(batch: object, now: float) -> None:  # what the adaptive arm's users feel is made worse than it was
        if hasattr(batch, "felt_s"):
            batch = replace(batch, felt_s=batch.felt_s * np.where(batch.arm == 1, 3.0, 1.0).astype("f4"))
        told(batch, now)  # type: ignore[arg-type]

    it.brain.told = slower  # type: ignore[method-assign, assignment]
    lived = it.live(90)
    stepped, after = [d for d in lived if d.services[0].state == "stepped back"][:2]
    assert stepped.services[0].share_percent == 10.0
    assert after.services[0].gain.value is None, "the evidence was gathered under another share"
    assert "below zero for 10 s: share down to 10 %" in " ".join(stepped.notes)
    assert ("ShareSteppedBack", True) in [(a.kind, a.opened) for a in stepped.alerts]


def test_an_endpoint_is_explained_with_numbers_the_rail_and_the_counterfactual() -> None:
    it = Dialogue(replace(ADAPTIVE, guard=Guard(floor_share_of_mean=0.4)))
    reason = it.after(40).endpoints[0]
    assert reason.guard == "floor"
    assert reason.reason.startswith("p50 ")
    assert " against peers' " in reason.reason
    assert f"; without the guard: {reason.proposed}" in reason.reason
    assert "held by floor; without" in reason.reason


def test_the_same_calls_give_the_same_decisions_bit_for_bit() -> None:
    def lived() -> str:
        it = Dialogue(seed=9)
        decisions = it.live(20)
        it.say(SetMode("app", Mode.ADAPTIVE, 50))
        it.moved(topology(0, 1, 2, 4, version=2))
        return json.dumps([d.to_dict() for d in decisions + it.live(20)])

    assert lived() == lived()


def test_a_decision_is_ready_for_json() -> None:
    for d in Dialogue().live(10):
        json.dumps(d.to_dict(), allow_nan=False)


def test_a_service_without_endpoints_or_nodes_is_no_special_case() -> None:
    assert Brain(Topology(1, (Service(0, "app", ()),), ()), ADAPTIVE).tick(1.0).services[0].endpoints == ()


def test_what_was_learned_survives_a_restart_by_name_though_the_integers_changed() -> None:
    it = Dialogue()
    it.say(SetMode("app", Mode.ADAPTIVE, 90))
    before = it.after(60)
    kept = it.brain.state()
    other = Topology(1, (Service(0, "web", ()), Service(1, "app", tuple(
        Endpoint(10 + i, f"10.0.0.{3 - i}:80") for i in range(4)
    ))), NODES)  # fmt: skip
    brain = Brain(other, ADAPTIVE)
    brain.restore(kept, it.mesh.now + 5)
    view = brain.tick(it.mesh.now + 6).services[1]
    assert view.commanded_share_percent == 90.0
    assert view.endpoints[3].address == "10.0.0.0:80"
    for e in view.endpoints:
        same = next(old for old in before.endpoints if old.address == e.address)
        assert e.capacity == pytest.approx(same.capacity)
    assert (view.state, weights(view)) == ("learning", [100] * 4)
    assert view.gain.static_requests == pytest.approx(before.gain.static_requests * 0.5 ** (5 / 120), rel=0.05)


def test_a_restart_under_a_file_that_says_something_new_follows_the_file() -> None:
    it = Dialogue(SHADOW)
    it.say(SetMode("app", Mode.ADAPTIVE))
    it.live(3)
    kept = it.brain.state()
    for settings, mode in ((SHADOW, "adaptive"), (replace(SHADOW, mode=Mode.STATIC), "static")):
        brain = Brain(it.topology, settings)
        brain.restore(kept, it.mesh.now)
        assert brain.tick(it.mesh.now + 1).services[0].mode == mode


def test_a_freeze_survives_a_restart_and_holds_what_the_restart_left() -> None:
    it = Dialogue()
    it.live(20)
    it.say(Freeze())
    kept = it.brain.state()
    it.brain = Brain(it.topology, ADAPTIVE)
    it.brain.restore(kept, it.mesh.now)
    view = it.after(20)
    assert (view.state, view.share_percent, weights(view)) == ("frozen", 0.0, [100] * 4)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda s: s.update(kind="something"),
        lambda s: s.update(version=99),
        lambda s: s.pop("features"),
        lambda s: s.pop("learners"),
        lambda s: s["learners"]["models"]["queueing"].pop("capacity"),
        lambda s: s.update(services={"app": {"mode": "sideways"}}),
        lambda s: s["services"]["app"].update(sums=np.zeros(3)),
        lambda s: s["services"]["app"].update(moments=np.full((4, 4), np.nan)),
        lambda s: s.update(plan_version="many"),
        lambda s: s.update(services=None),
    ],
)
def test_a_state_that_is_not_of_this_brain_is_refused_and_changes_nothing(spoil: object) -> None:
    it = Dialogue()
    it.live(20)
    kept = it.brain.state()
    spoil(kept)  # type: ignore[operator]
    brain = Brain(it.topology, ADAPTIVE)
    with pytest.raises(ValueError, match=r"state|evidence|invalid literal"):
        brain.restore(kept, it.mesh.now)
    fresh = Brain(it.topology, ADAPTIVE)
    assert brain.tick(99.0).to_dict() == fresh.tick(99.0).to_dict()


def test_what_our_own_limit_refuses_proves_nothing_of_the_pick_and_what_the_operators_refuse_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    it = Dialogue()
    it.live(60)

    def gathered_over_ten_ticks_of_refusals() -> float:
        """By how many requests on the adaptive arm the proof's evidence grew, fading aside."""
        before = it.after(1).gain.adaptive_requests
        ended = dict.fromkeys(Felt.dtypes(), np.zeros(20)) | {
            "arm": np.ones(20),
            "outcome": np.full(20, Outcome.REJECTED),
        }
        for _ in range(10):
            it.brain.told(Felt.of(**ended), it.mesh.now)
            it.live(1)
        return it.after(1).gain.adaptive_requests - before

    assert not it.after(1).limited
    assert gathered_over_ten_ticks_of_refusals() > 1000
    monkeypatch.setattr(Course, "limited", True)
    assert gathered_over_ten_ticks_of_refusals() < 0

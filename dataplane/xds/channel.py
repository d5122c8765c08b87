"""One resource type on one node's stream: what it asked for, what was sent, what it holds and what it refused.

The rules are those of the "xDS REST and gRPC protocol" page of Envoy's documentation, state-of-the-world variant;
titles in brackets are sections of it. Two choices within them keep the machine small:

* At most one response of a kind is unanswered at a time. A node that is slow to answer gets the newest state when it
  does, and never a queue. The page allows it: a server need not answer each request, nor send each version.
* What a node lacks is found by comparing content, not versions, and only that is sent where the page allows it. To send
  again an assignment that has not changed is "needless work" [When to send an update].

No I/O, no clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dataplane.xds.kinds import WHOLE, Kind
from dataplane.xds.resources import Rendered

WILDCARD = "*"
LEAVING = "+leaving"
"""Ends the version of a response that still has clusters which the snapshot has no more (see `stream`)."""
DETAIL_CHARS = 2000
"""What is kept of a node's words: they go to logs and to people."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A response that went out, and the plan that its version carries."""

    version: str
    plan: int
    resources: Mapping[str, Rendered]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the node said of a response. `news`: it had not said so before."""

    sent: Sent
    accepted: bool
    news: bool
    detail: str = ""


@dataclass(slots=True)
class Channel:
    """The state of one kind.

    `kept` is the version that the node brought along from an earlier stream, if any; `held` what it has accepted on
    this one; `again` names what it needs once more although it may hold it.
    """

    kind: Kind
    asked: bool = False
    names: frozenset[str] = frozenset()
    has_named: bool = False
    kept: str = ""
    nonce: str = ""
    sent_version: str = ""
    acked_version: str = ""
    open: Sent | None = None
    held: dict[str, Rendered] = field(default_factory=dict)
    again: frozenset[str] = frozenset()
    refused_version: str = ""
    refused_names: frozenset[str] = frozenset()
    refused_detail: str = ""

    @classmethod
    def begun(cls, request: Any, kind: Kind, version: str, goal: Mapping[str, Rendered]) -> Channel:
        """The state after the first request of the kind on a stream, or after one that has forgotten our nonces.

        [Basic Protocol Overview]: all but the first request carry the newest nonce, and nonces do not outlive a stream.
        """
        channel = cls(kind, asked=True, kept=request.version_info)
        channel._subscribe(request.resource_names)
        if channel.wildcard and channel.kept == version:
            # [ACK/NACK and resource type instance version]: what the node saw on its previous stream need not be sent
            # again, which is safe for a wildcard subscription to LDS and CDS. For other kinds we cannot know that it
            # asks for the same names, and send.
            channel.held = channel.wanted(goal)
            channel.sent_version = channel.acked_version = version
        return channel

    def hear(self, request: Any) -> Answer | None:
        """Take a later request: an answer to what is open, a changed subscription, or both. None: it answers nothing.

        The caller has checked that the nonce is the newest [Resource updates].
        """
        answer = self._answer(self.open, request) if self.open is not None else None
        self._subscribe(request.resource_names)
        return answer

    def _answer(self, sent: Sent, request: Any) -> Answer:
        self.open = None
        if request.HasField("error_detail"):
            # [NACK], [ACK and NACK semantics summary]: error_detail is what tells a NACK; versions do not. The node
            # goes on with what it held.
            before = self.refused_names if self._parks(sent.version) else frozenset()
            self.refused_version = sent.version.removesuffix(LEAVING)
            self.refused_names = before | frozenset(sent.resources)
            self.refused_detail = request.error_detail.message[:DETAIL_CHARS] or "refused without a word"
            return Answer(sent, accepted=False, news=True, detail=self.refused_detail)
        # [ACK]: the node holds what was sent.
        # [Deleting Resources]: an LDS or CDS response deletes what it does not have; others delete nothing.
        self.held = {**({} if self.kind in WHOLE else self.held), **sent.resources}
        news = self.acked_version != sent.version
        self.acked_version = sent.version
        if not self._parks(sent.version):
            self.refused_version, self.refused_names, self.refused_detail = "", frozenset(), ""
        return Answer(sent, accepted=True, news=news)

    def _subscribe(self, requested: Any) -> None:
        """[How the client specifies what resources to return]: the newest names are the whole subscription.

        A newly requested resource must be sent even if it was sent before and has not changed, and one that is no
        longer requested may be forgotten by the client: so neither counts as held.
        """
        names = frozenset(requested)
        if names != self.names and self.kind in WHOLE:
            self.held = {}
        for name in names ^ self.names:
            self.held.pop(name, None)
        self.names = names
        self.has_named = self.has_named or bool(names)

    @property
    def wildcard(self) -> bool:
        """Whether the node leaves the choice to us: by "*", or, for LDS and CDS, by never having named anything."""
        return self.kind in WHOLE and (WILDCARD in self.names or not self.has_named)

    def wanted(self, goal: Mapping[str, Rendered]) -> dict[str, Rendered]:
        """What of `goal` the node asks for."""
        if not self.asked:
            return {}
        if self.wildcard:
            return dict(goal)
        return {name: goal[name] for name in self.names if name in goal}

    def settled(self, goal: Mapping[str, Rendered]) -> bool:
        """Whether the node has said that it holds all of `goal` that it asks for, and nothing is open."""
        if self.open is not None:
            return False
        wanted = self.wanted(goal)
        if self.kind in WHOLE:
            return self.held == wanted
        return all(self.held.get(name) == r for name, r in wanted.items())

    def lacking(self, version: str, goal: Mapping[str, Rendered]) -> dict[str, Rendered] | None:
        """What to send now so that the node comes to hold `goal`; None when there is nothing to send.

        What the node has refused at this version is not sent again at it: it would be refused again.
        """
        if not self.asked or self.open is not None:
            return None
        wanted = self.wanted(goal)
        if self.kind in WHOLE:
            # [Grouping Resources into Responses]: all of them or none. The first request is answered even when there
            # is nothing for this node, for it waits for the word.
            if self._parks(version) or (self.sent_version and self.held == wanted):
                return None
            return wanted
        parked = self.refused_names if self._parks(version) else frozenset()
        out = {
            name: r
            for name, r in wanted.items()
            if name not in parked and (self.held.get(name) != r or name in self.again)
        }
        return out or None

    def _parks(self, version: str) -> bool:
        """Whether the node has refused this version, be it with or without the clusters that are to leave after it."""
        return self.refused_version == version.removesuffix(LEAVING)

    def send(self, sent: Sent, nonce: str) -> None:
        """Note that this goes out now."""
        self.open, self.nonce, self.sent_version = sent, nonce, sent.version
        self.again -= sent.resources.keys()

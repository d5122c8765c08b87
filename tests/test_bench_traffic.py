"""The bench's made-up traffic is what the decoder takes for real: else its figures would be about something else."""

from __future__ import annotations

from itertools import islice

from bench.traffic import Traffic, mesh
from dataplane.als.decoder import Decoder
from dataplane.contract import Felt, Outcome, Requests

START_S = 1_800_000_000.0


def test_every_entry_of_every_flush_is_new_and_understood() -> None:
    topology = mesh(2, 4)
    traffic, decoder = Traffic(topology, 2000, start_s=START_S, flush_s=0.1), Decoder(0, topology)
    told = []
    for now, messages in islice(traffic.flushes(), 3):
        for message in messages:
            decoder.decode(message, now)
        told += decoder.flush(now)
    assert {type(batch) for batch in told} == {Requests, Felt}  # nothing dropped
    rows = sum(len(batch) for batch in told)
    assert rows == 3 * traffic.entries
    attempts = Requests.concat([batch for batch in told if isinstance(batch, Requests)])
    assert set(attempts.outcome.tolist()) == set(Outcome)
    assert set(attempts.endpoint.tolist()) == set(range(8))
    assert 0.0 < decoder.offset_s < 0.3  # an entry ends before its flush, 0.3 s or more after it began

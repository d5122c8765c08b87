"""The lab's own processes: what the endpoints and the client say is what happened, row by row, and they die with us."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest

from dataplane.simulated.fleet import Fleet, Trace
from weirflow.lab import child, client
from weirflow.lab.client import Client, Seen
from weirflow.lab.endpoints import Endpoints, Met
from weirflow.lab.overhead import Watch, idle_run, refusal
from weirflow.lab.scenario import Group, Scenario

LAB = Scenario("s", "S", "ours", (Group("a", 2),), load=0.5, timeout_s=1.0)


def a_fleet(workers: int = 4, **pieces: object) -> Fleet:
    """Two endpoints alike; `pieces` replace what holds all the time."""
    told = {
        "since_s": np.zeros((2, 1)),
        "speed": np.ones((2, 1)),
        "extra_s": np.zeros((2, 1)),
        "error_share": np.zeros((2, 1)),
        "status": np.full((2, 1), 503),
        "after_s": np.full((2, 1), 0.001),
        "hang": np.zeros((2, 1), dtype=bool),
    } | {name: np.array(value) for name, value in pieces.items()}
    return Fleet(
        names=("a-0", "a-1"),
        zones=("", ""),
        group=np.zeros(2, np.int64),
        weight=np.ones(2, np.int64),
        workers=np.full(2, workers),
        joins_s=np.zeros(2),
        leaves_s=np.full(2, np.inf),
        **told,
    )


def a_trace(*rows: tuple[float, int, float, float], klass: int = 0) -> Trace:
    at_s, node, demand_s, luck = zip(*rows, strict=True)
    return Trace.of(at_s=at_s, node=node, klass=[klass] * len(rows), demand_s=demand_s, luck=luck)


async def straight(fleet: Fleet, trace: Trace, folder: Path, lab: Scenario = LAB) -> tuple[Seen, Met]:
    """The client speaks to the endpoints themselves: `node` of the trace is the endpoint."""
    async with Endpoints(fleet, folder) as endpoints:
        ports = [int(a.rpartition(":")[2]) for a in endpoints.addresses]
        async with Client(trace, lab, ports, folder) as sends:
            start = asyncio.get_running_loop().time() + 0.1
            endpoints.begin(start)
            sends.begin(start)
            return await sends.seen(), await endpoints.ended(len(trace))


async def test_each_row_of_the_fate_is_that_row_of_the_trace(tmp_path: Path) -> None:
    trace = a_trace((0.0, 0, 0.4, 0.9), (0.1, 1, 0.1, 0.9), (0.15, 0, 0.2, 0.1), (0.2, 1, 0.3, 0.9))
    seen, met = await straight(a_fleet(error_share=[[0.5], [0.0]]), trace, tmp_path)
    assert seen.fate.endpoint.tolist() == [0, 1, 0, 1] == met.endpoint.tolist()
    assert seen.fate.status.tolist() == [200, 200, 503, 200]
    assert seen.fate.ok.tolist() == [True, True, False, True]
    assert seen.fate.latency_s == pytest.approx([0.4, 0.1, 0.001, 0.3], abs=0.2)
    assert (seen.fate.latency_s >= [0.4, 0.1, 0.001, 0.3]).all()


async def test_a_wait_in_the_queue_is_part_of_the_latency(tmp_path: Path) -> None:
    seen, _ = await straight(a_fleet(workers=1), a_trace(*[(0.0, 0, 0.25, 0.9)] * 3), tmp_path)
    assert np.sort(seen.fate.latency_s) == pytest.approx([0.25, 0.5, 0.75], abs=0.2)


async def test_latency_counts_from_the_time_a_request_was_meant_to_leave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "MOST_CONNECTIONS", 1)  # so that the second waits in the client
    async with Endpoints(a_fleet(), tmp_path) as endpoints:
        trace = a_trace((0.0, 0, 0.3, 0.9), (0.1, 0, 0.3, 0.9))
        sender = client.Sender(trace, [int(endpoints.addresses[0].rpartition(":")[2])], ["all"], 2.0, False)
        await sender.send(asyncio.get_running_loop().time())
    assert sender.fate().latency_s[1] >= 0.5  # 0.2 s for a connection and 0.3 s of work
    late_s = sender.late_s()
    assert late_s is not None
    assert late_s >= 0.19


async def test_who_gets_no_answer_gave_up_at_the_timeout_and_it_is_known_where(tmp_path: Path) -> None:
    seen, met = await straight(a_fleet(hang=[[False], [True]]), a_trace((0.0, 1, 0.1, 0.9)), tmp_path)
    assert (seen.fate.status.item(), seen.fate.ok.item(), seen.fate.latency_s.item()) == (0, False, LAB.timeout_s)
    assert seen.fate.endpoint.tolist() == [-1]  # the client cannot know
    assert met.endpoint.tolist() == [1]


@pytest.mark.parametrize(("good_body", "ok"), [(True, False), (False, True)])
async def test_an_empty_200_is_no_good_answer_where_the_scenario_says_so(
    tmp_path: Path, good_body: bool, ok: bool
) -> None:
    sinkhole = a_fleet(error_share=[[1.0], [1.0]], status=[[200], [200]])
    seen, _ = await straight(sinkhole, a_trace((0.0, 0, 0.1, 0.9)), tmp_path, replace(LAB, good_body=good_body))
    assert (seen.fate.status.item(), seen.fate.ok.item()) == (200, ok)


async def test_an_endpoint_tells_its_load_as_orca_has_it(tmp_path: Path) -> None:
    async with Endpoints(a_fleet(), tmp_path) as endpoints:
        host, _, port = endpoints.addresses[1].rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET / HTTP/1.1\r\nx-lab-work: 0 0.001 0.5\r\n\r\nGET / HTTP/1.1\r\n\r\n")
        answer = await reader.readuntil(b"ok\n")
        refused = await reader.readuntil(b"\n")
        writer.close()
    assert b"\r\nx-backend: 1\r\n" in answer
    assert b"\r\nendpoint-load-metrics: TEXT cpu_utilization=0." in answer
    assert b",rps_fractional=" in answer
    assert b",eps=0.000,named_metrics.in_flight=0\r\n" in answer
    assert refused == b"HTTP/1.1 400 Bad Request\r\n"  # a request that names no work


async def test_an_idle_run_tells_what_the_lab_itself_adds() -> None:
    told = await idle_run(LAB, a_fleet(speed=[[0.01], [0.01]]), 100.0)  # the runs' speed is not the idle run's
    assert set(told) == {"before.idle", "idle_run.added_p50_s", "idle_run.added_p99_s"}
    assert 0 < told["idle_run.added_p50_s"] < 0.02
    assert told["idle_run.added_p50_s"] <= told["idle_run.added_p99_s"]


async def test_a_process_that_ended_and_one_that_starved_the_others_are_named() -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
        watch = Watch({"endpoints": dead.pid, "node-0": busy.pid, "client": os.getpid()})
        await asyncio.sleep(0.5)
        told = watch.end()
        busy.kill()
    assert np.isnan(told["cpu.endpoints"])
    assert told["cpu.node-0"] > 0.1
    assert 0 <= told["idle"] <= 1
    assert "endpoints ended during the run" in refusal(told, 1.0)


GOOD = {"client_late_s": 0.001, "timers_late_s": 0.002, "cpu.client": 0.2, "cpu.node-0": 0.8, "idle": 0.3}


@pytest.mark.parametrize(
    ("told", "demand_s", "words"),
    [
        ({}, 0.2, ""),
        ({"client_late_s": 0.021}, 0.2, "the client was 21.0 ms late at p99, more than 20.0 ms"),
        ({"timers_late_s": 0.021}, 0.2, "the endpoints' timers were 21.0 ms late at p99, more than 20.0 ms"),
        ({"timers_late_s": 0.0009}, 0.001, ""),  # no proxy is as exact as that
        ({"cpu.node-0": 0.86}, 0.2, "node-0 used 86% of a core, more than 85%"),
        ({"idle": 0.05}, 0.2, "only 5% of the machine was idle, less than 10%"),
        ({"idle": float("nan"), "cpu.client": float("nan"), "cpu.node-0": float("nan")}, 0.2, ""),  # there is no /proc
    ],
)
def test_a_run_is_refused_when_the_machine_and_not_the_policy_made_its_figures(
    told: dict[str, float], demand_s: float, words: str
) -> None:
    assert refusal(GOOD | told, demand_s) == words


async def test_the_endpoints_die_with_whoever_started_them(tmp_path: Path) -> None:
    starts = f"""
import asyncio, pathlib, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_lab_processes import *
async def main():
    async with Endpoints(a_fleet(), pathlib.Path({str(tmp_path)!r})) as e:
        print(e.process.pid, flush=True)
        await asyncio.sleep(60)
asyncio.run(main())
"""
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", starts, stdout=asyncio.subprocess.PIPE)
    assert parent.stdout is not None
    orphan = psutil.Process(int(await parent.stdout.readline()))
    parent.kill()
    await parent.wait()
    await asyncio.to_thread(psutil.wait_procs, [orphan], timeout=5)
    assert not orphan.is_running() or orphan.status() == psutil.STATUS_ZOMBIE


async def test_a_child_that_does_not_start_is_named() -> None:
    with pytest.raises(child.ChildError, match=r"weirflow\.lab\.endpoints ended with status"):
        async with child.Child("weirflow.lab.endpoints", "no-such-file.npz") as c:
            await c.hear()

"""KEDA's external scaler: a gRPC client over a real port asks, as KEDA does, and a brain that runs answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataplane.contract import InFlight
from weirflow.clock import Clock
from weirflow.config import load
from weirflow.config.build import Keda
from weirflow.keda import Scaler, messages
from weirflow.keda.trigger import MetadataError, Trigger, read
from weirflow.staged import StagedOperations, example_decision, example_service
from weirflow.wiring import Running

pytestmark = pytest.mark.timeout(60)

ANSWERS = {
    "IsActive": messages.IsActiveResponse,
    "GetMetricSpec": messages.GetMetricSpecResponse,
    "GetMetrics": messages.GetMetricsResponse,
}


class Asking:
    """What KEDA's operator does, over one channel."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel

    async def __call__(self, method: str, metric: str = "", **metadata: str) -> Any:
        ref = messages.ScaledObjectRef(name="orders", namespace="shop", scalerMetadata=metadata)
        message = messages.GetMetricsRequest(scaledObjectRef=ref, metricName=metric) if method == "GetMetrics" else ref
        call = self._channel.unary_unary(
            f"/externalscaler.ExternalScaler/{method}",
            request_serializer=lambda m: m.SerializeToString(),
            response_deserializer=ANSWERS[method].FromString,
        )
        return await call(message, timeout=10)

    def stream(self, **metadata: str) -> Any:
        call = self._channel.unary_stream(
            "/externalscaler.ExternalScaler/StreamIsActive",
            request_serializer=lambda m: m.SerializeToString(),
            response_deserializer=messages.IsActiveResponse.FromString,
        )
        return call(messages.ScaledObjectRef(scalerMetadata=metadata))

    async def refused(self, method: str, **metadata: str) -> tuple[grpc.StatusCode, str]:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await self(method, **metadata)
        return caught.value.code(), caught.value.details() or ""


@pytest.fixture
def mesh() -> StagedOperations:
    return StagedOperations(example_decision())


@pytest.fixture
async def ask(mesh: StagedOperations) -> AsyncIterator[Asking]:
    scaler = Scaler(mesh, Keda("127.0.0.1", 0), stale_after_s=5.0, look_every_s=0.01)
    async with grpc.aio.insecure_channel(await scaler.start()) as channel:
        yield Asking(channel)
    await scaler.stop()


# What is asked and answered.


async def test_the_metric_is_the_forecast_at_the_quantile_so_far_ahead(ask: Asking) -> None:
    (spec,) = (await ask("GetMetricSpec", service="orders")).metricSpecs
    assert spec.metricName == "weirflow-demand-orders-5m-high"
    (found,) = (await ask("GetMetrics", spec.metricName, service="orders")).metricValues
    assert (found.metricName, found.metricValueFloat, found.metricValue) == (spec.metricName, 110.0, 110)
    for quantile, value in (("p50", 85.0), ("high", 142.0), ("p99", 168.0)):
        (found,) = (await ask("GetMetrics", service="orders", ahead="30m", quantile=quantile)).metricValues
        assert found.metricValueFloat == value
        assert found.metricName == f"weirflow-demand-orders-30m-{quantile}"


async def test_between_two_horizons_the_forecast_is_between_theirs(ask: Asking) -> None:
    (found,) = (await ask("GetMetrics", service="orders", ahead="10m")).metricValues
    assert found.metricValueFloat == pytest.approx(115.0)


async def test_the_target_is_what_one_endpoint_bears_at_the_utilization_or_what_is_asked_for(ask: Asking) -> None:
    for told, size in (({}, 0.7 * 64.5), ({"utilization": "0.5"}, 32.25), ({"target": "12.5"}, 12.5)):
        (spec,) = (await ask("GetMetricSpec", service="orders", **told)).metricSpecs
        assert spec.targetSizeFloat == pytest.approx(size)
        assert spec.targetSize == np.ceil(size)


async def test_it_is_active_while_more_is_foretold_than_the_threshold(ask: Asking) -> None:
    assert (await ask("IsActive", service="orders")).result
    assert (await ask("IsActive", service="orders", activationThreshold="109")).result
    assert not (await ask("IsActive", service="orders", activationThreshold="110")).result


async def test_a_stream_tells_of_every_change_and_of_nothing_else(ask: Asking, mesh: StagedOperations) -> None:
    stream = ask.stream(service="orders", activationThreshold="100")
    assert (await asyncio.wait_for(stream.read(), 5)).result
    waiting = asyncio.create_task(stream.read())
    await asyncio.sleep(0.1)
    assert not waiting.done()
    mesh.shown = None  # unknown is no change
    await asyncio.sleep(0.05)
    assert not waiting.done()
    busy = example_service()
    assert busy.forecast is not None
    idle = replace(busy, forecast=replace(busy.forecast, high=(90.0,) * 6))
    mesh.shown = example_decision(services=(idle,))
    assert not (await asyncio.wait_for(waiting, 5)).result
    mesh.shown = example_decision(services=())  # the service has left
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await asyncio.wait_for(stream.read(), 5)
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND


async def test_a_later_kedas_stream_of_targets_is_declined_as_its_proto_says(ask: Asking) -> None:
    call = ask._channel.unary_stream("/externalscaler.ExternalScaler/StreamMetricSpec")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(b"").read()
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


# What is not known is an error, and never 0.


@pytest.mark.parametrize("method", ["IsActive", "GetMetrics"])
async def test_demand_that_is_not_known_is_unavailable_and_not_nought(ask: Asking, method: str) -> None:
    code, words = await ask.refused(method, service="search")
    assert code == grpc.StatusCode.UNAVAILABLE
    assert words == "the demand of 'search' is not known yet, by 12 s of traffic in sight"


async def test_a_target_that_is_not_known_is_unavailable_and_says_what_to_give(ask: Asking) -> None:
    code, words = await ask.refused("GetMetricSpec", service="search")
    assert code == grpc.StatusCode.UNAVAILABLE
    assert "give 'target'" in words
    assert (await ask("GetMetricSpec", service="search", target="9")).metricSpecs[0].targetSizeFloat == 9.0


@pytest.mark.parametrize("method", list(ANSWERS))
async def test_a_brain_that_does_not_tick_knows_nothing(ask: Asking, mesh: StagedOperations, method: str) -> None:
    mesh.shown = example_decision(now=example_decision().now - 60)
    code, words = await ask.refused(method, service="orders")
    assert (code, words) == (
        grpc.StatusCode.UNAVAILABLE,
        "the last decision is 60 s old: the brain does not tick",
    )
    mesh.shown = None
    assert (await ask.refused(method, service="orders"))[0] == grpc.StatusCode.UNAVAILABLE


async def test_where_nobody_foretells_it_says_why(ask: Asking, mesh: StagedOperations) -> None:
    mesh.shown = example_decision(services=(example_service(forecast=None),))
    code, words = await ask.refused("GetMetrics", service="orders")
    assert code == grpc.StatusCode.UNAVAILABLE
    assert "adaptive.models.demand" in words


# What cannot be meant is refused, with the mend.


@pytest.mark.parametrize(
    ("told", "mend"),
    [
        ({}, "has no 'service'"),
        ({"servise": "orders"}, "did you mean 'service'?"),
        ({"service": "orders", "ahead": "300"}, "a number with a unit, as in 250ms, 5s, 1m or 1h"),
        ({"service": "orders", "ahead": "2h"}, "from 1s to 30m"),
        ({"service": "orders", "quantile": "p90"}, "did you mean 'p99'?"),
        ({"service": "orders", "target": "0"}, "a number above 0"),
        ({"service": "orders", "target": "nan"}, "a number above 0"),
        ({"service": "orders", "target": "inf"}, "a number above 0"),
        ({"service": "orders", "utilization": "70"}, "above 0 and at most 1"),
        ({"service": "orders", "activationThreshold": "-1"}, "0 or more"),
    ],
)
async def test_metadata_that_cannot_be_meant_are_refused_with_the_mend(ask: Asking, told: dict, mend: str) -> None:
    for method in ANSWERS:
        code, words = await ask.refused(method, **told)
        assert code == grpc.StatusCode.INVALID_ARGUMENT
        assert mend in words


@pytest.mark.parametrize("method", list(ANSWERS))
async def test_a_service_that_is_not_there_is_not_found_and_the_nearest_is_named(ask: Asking, method: str) -> None:
    code, words = await ask.refused(method, service="oders")
    assert (code, words) == (grpc.StatusCode.NOT_FOUND, "no service is named 'oders'; did you mean 'orders'?")


async def test_bytes_that_are_no_message_are_refused_and_the_next_call_is_served(ask: Asking) -> None:
    call = ask._channel.unary_unary("/externalscaler.ExternalScaler/IsActive")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(b"\xff\xff\xff")
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert (await ask("IsActive", service="orders")).result


def test_kedas_own_keys_pass_and_what_it_took_from_the_environment_is_taken() -> None:
    told = {"scalerAddress": "weirflow:18001", "enableTLS": "false", "serviceFromEnv": "orders", "somethingNew": "x"}
    assert read(told) == Trigger("orders")


def test_the_metrics_name_is_one_that_kubernetes_takes() -> None:
    assert Trigger("Web.v2_eu", 90.0, "p99").metric == "weirflow-demand-web-v2-eu-90s-p99"


@settings(max_examples=300, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["service", "ahead", "quantile", "target", "utilization", "activationThreshold"])
        | st.text(max_size=12),
        st.sampled_from(["orders", "5m", "high", "1e3", "0", "-1", "nan", "1e999", ""]) | st.text(max_size=12),
    )
)
def test_any_metadata_are_a_trigger_in_range_or_refused(metadata: dict[str, str]) -> None:
    try:
        found = read(metadata)
    except MetadataError:
        return
    assert found.service
    assert 1 <= found.ahead_s <= 1800
    assert found.target is None or 0 < found.target < np.inf
    assert 0 < found.utilization <= 1
    assert 0 <= found.activation < np.inf


# The wire, as KEDA's externalscaler.proto has it.


def test_names_and_numbers_on_the_wire_are_kedas() -> None:
    """By hand: each byte is a field's number and wire type, or its length, or its value."""
    one = b"\x00\x00\x00\x00\x00\x00\xf0\x3f"  # 1.0
    ref = messages.ScaledObjectRef(name="n", namespace="s", scalerMetadata={"k": "v"})
    assert ref.SerializeToString() == b"\x0a\x01n\x12\x01s\x1a\x06\x0a\x01k\x12\x01v"
    assert messages.IsActiveResponse(result=True).SerializeToString() == b"\x08\x01"
    spec = messages.MetricSpec(metricName="m", targetSize=2, targetSizeFloat=1.0)
    assert spec.SerializeToString() == b"\x0a\x01m\x10\x02\x19" + one
    specs = messages.GetMetricSpecResponse(metricSpecs=[spec]).SerializeToString()
    assert specs == b"\x0a\x0e" + spec.SerializeToString()
    request = messages.GetMetricsRequest(scaledObjectRef=messages.ScaledObjectRef(name="n"), metricName="m")
    assert request.SerializeToString() == b"\x0a\x03\x0a\x01n\x12\x01m"
    value = messages.MetricValue(metricName="m", metricValue=2, metricValueFloat=1.0)
    assert value.SerializeToString() == b"\x0a\x01m\x10\x02\x19" + one
    values = messages.GetMetricsResponse(metricValues=[value]).SerializeToString()
    assert values == b"\x0a\x0e" + value.SerializeToString()


# A mesh that runs.

MESH = """\
nodes: [{name: front-1, spawn: false}]
services:
  - name: orders
    endpoints: [127.0.0.1:8081]
routes: [{name: all, service: orders}]
xds: {port: 0}
admin: {port: 0}
keda: {port: 0}
"""


async def until(reached: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(40):
        while not await reached():
            await asyncio.sleep(0.05)


async def test_a_brain_that_runs_tells_keda_what_its_proxies_were_asked(tmp_path: Path) -> None:
    (tmp_path / "mesh.yaml").write_text(MESH)
    clock = Clock(rate=20.0)
    running = Running(tmp_path / "mesh.yaml", load(tmp_path / "mesh.yaml"), clock)
    await running.start()

    async def carry() -> None:
        """Load reports of 60 requests a second, as front-1's would come in; nothing has ended yet."""
        before = clock.now()
        while True:
            await asyncio.sleep(clock.real(0.5))
            issued, before = round(60 * (clock.now() - before)), clock.now()
            row = {"service": [0], "endpoint": [0], "arm": [0], "in_flight": [issued]}
            running.driver.on_telemetry(InFlight.report(0, 0.5, **row, issued=[issued], succeeded=[0], failed=[0]))

    carrying = asyncio.create_task(carry())
    try:
        assert running.status()["keda"] == {"address": running.keda_address}
        async with grpc.aio.insecure_channel(running.keda_address) as channel:
            ask = Asking(channel)
            code, _ = await ask.refused("GetMetrics", service="orders")
            assert code == grpc.StatusCode.UNAVAILABLE

            async def known() -> bool:
                try:
                    await ask("GetMetrics", service="orders")
                except grpc.aio.AioRpcError as error:
                    if error.code() != grpc.StatusCode.UNAVAILABLE:
                        raise
                    return False
                return True

            await until(known)
            (found,) = (await ask("GetMetrics", service="orders", ahead="1s", quantile="p50")).metricValues
            assert found.metricValueFloat == pytest.approx(60, rel=0.25)
            assert (await ask("IsActive", service="orders")).result
            carrying.cancel()

            async def unknown() -> bool:
                return not await known()

            await until(unknown)  # the proxy fell silent: not 0
    finally:
        carrying.cancel()
        await running.stop()


async def test_a_port_that_is_taken_is_an_os_error(mesh: StagedOperations) -> None:
    first = Scaler(mesh, Keda("127.0.0.1", 0), stale_after_s=5.0)
    port = int((await first.start()).rpartition(":")[2])
    with pytest.raises(OSError, match="cannot be bound"):
        await Scaler(mesh, Keda("127.0.0.1", port), stale_after_s=5.0).start()
    await first.stop()
    await first.stop()

"""The TLS port, told things by a bare gRPC client: who is let in, for whom it speaks, and what a rotation changes."""

import asyncio
import ssl
import sys
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import replace

import grpc
import grpc.aio
import pytest
from cryptography import x509

from dataplane import rpc
from dataplane.credentials import Credentials, CredentialsError
from dataplane.identity import NODE
from dataplane.mesh import NodeSpec, Registry
from dataplane.server import ADS, ALS, LRS, Server
from dataplane.xds.kinds import Kind
from tests.certificates import HOUR_S, Authority, put, spec
from tests.test_server import MESH, Call, ask, connect, first_message

pytestmark = pytest.mark.timeout(30)

NAME = "weirflow.mesh"
AUTHORITY, STRANGERS = Authority(), Authority("strangers")
IMPOSTOR = "a certificate of 'n1' may not speak for node 'n2': that takes 'n2'; give it a certificate of its own, or set `xds.tls.client_identity` or the node's `identity`"  # noqa: E501


class Port:
    """A server over TLS, and what it counts."""

    def __init__(self, folder, identity=NODE, mesh=MESH):
        self.folder, self.events, registry = folder, [], Registry()
        put(folder, AUTHORITY.issue(NAME), AUTHORITY.pem)
        self.credentials = Credentials(spec(folder, identity))
        self.server = Server(
            mesh, registry.topology(mesh), self.events.append, self.events.append, lambda: 1_000_000.0, epoch="e",
            flush_s=0.01, credentials=self.credentials,
        )  # fmt: skip

    @asynccontextmanager
    async def client(self, pair=None, trusts=AUTHORITY.pem, called=NAME):
        """A channel of somebody with that certificate, None for none."""
        cert, key = pair or (None, None)
        options = [("grpc.ssl_target_name_override", called)]
        credentials = grpc.ssl_channel_credentials(trusts, key, cert)
        async with grpc.aio.secure_channel(f"127.0.0.1:{self.port}", credentials, options) as channel:
            yield channel

    def counts(self):
        told = self.server.status()
        return told["faults"], told["tls"]["connections"], told["tls"]["trusted"]


@asynccontextmanager
async def a_port(folder, **how):
    port = Port(folder, **how)
    port.port = await port.server.start()
    try:
        yield port
    finally:
        await port.server.stop()


@pytest.fixture
async def port(tmp_path):
    async with a_port(tmp_path / "brain") as found:
        yield found


async def refusal(channel, method, node):
    call = Call(channel, method)
    await call.send(first_message(method, node))
    return await call.ended()


@pytest.mark.parametrize("method", [ADS, ALS, LRS])
async def test_a_certificate_speaks_for_its_own_node_and_for_no_other_and_others_go_on(port, method):
    async with port.client(AUTHORITY.issue("n1")) as mine, port.client(AUTHORITY.issue("n2")) as theirs:
        good = await connect(theirs, "n2")
        code, words = await refusal(mine, method, "n2")
        assert (code, words) == (grpc.StatusCode.PERMISSION_DENIED, IMPOSTOR)
        assert port.counts() == ({"identity": 1}, 2, 2)
        assert port.server.status()["nodes"]["n2"]["connected"], "an impostor takes nobody's place"
        await good.send(ask(Kind.EDS, names=["web"]))
        assert (await good.read()).version_info == "e.1"
        own = Call(mine, method)
        await own.send(first_message(method, "n1"))
        if method == ALS:  # it is answered when it ends
            await own._call.done_writing()
        assert await asyncio.wait_for(own._call.read(), 5) is not grpc.aio.EOF


async def test_by_a_pattern_of_uris_the_trust_domain_has_to_be_ours(tmp_path):
    async with a_port(tmp_path / "brain", identity="spiffe://mesh/{node}") as port:
        async with port.client(AUTHORITY.issue("spiffe://mesh/n1")) as channel:
            await connect(channel, "n1")
        for held in (("spiffe://other/n1",), ("n1",), ("spiffe://mesh/n1x",), ()):
            async with port.client(AUTHORITY.issue(*held)) as channel:
                assert (await refusal(channel, ADS, "n1"))[0] is grpc.StatusCode.PERMISSION_DENIED
        assert port.server.status()["faults"]["identity"] == 4


async def test_nodes_of_one_service_account_share_the_identity_that_the_mesh_file_gives_each(tmp_path):
    shared = "spiffe://cluster.local/ns/shop/sa/front"
    mesh = replace(MESH, nodes=(NodeSpec("n1", identity=shared), NodeSpec("n2")))
    async with a_port(tmp_path / "brain", mesh=mesh) as port, port.client(AUTHORITY.issue(shared)) as channel:
        await connect(channel, "n1")
        assert (await refusal(channel, ADS, "n2"))[0] is grpc.StatusCode.PERMISSION_DENIED
        assert (await refusal(channel, ADS, "stranger"))[0] is grpc.StatusCode.PERMISSION_DENIED
        assert port.server.status()["faults"] == {"identity": 2}, "who is no node learns nothing of who is"


async def test_of_a_crowd_all_bear_the_identity_that_the_mesh_file_gives_and_without_one_nobody_may_speak(tmp_path):
    shared, proxy = "spiffe://cluster.local/ns/shop/sa/cart", "sidecar~10.0.0.7~cart-1.shop~shop.svc.cluster.local"
    for given, lets in ((shared, True), ("", False)):
        node = NodeSpec("sidecars", spawn=False, ids="sidecar~*", identity=given)
        mesh = replace(MESH, nodes=(*MESH.nodes, node))
        async with a_port(tmp_path / f"brain-{lets}", mesh=mesh) as port:
            async with port.client(AUTHORITY.issue(shared)) as channel:
                call = Call(channel, ALS)
                await call.send(first_message(ALS, proxy))
                if lets:
                    await call._call.done_writing()
                    assert await asyncio.wait_for(call._call.read(), 5) is not grpc.aio.EOF
                else:
                    assert "may not speak for node 'sidecar~" in (await call.ended())[1]
            async with port.client(AUTHORITY.issue("spiffe://cluster.local/ns/bank/sa/pay")) as channel:
                assert (await refusal(channel, ALS, proxy))[0] is grpc.StatusCode.PERMISSION_DENIED


@pytest.mark.parametrize(
    "pair",
    [
        pytest.param(None, id="none"),
        pytest.param(STRANGERS.issue("n1"), id="of another CA"),
        pytest.param(AUTHORITY.issue("n1", start_s=-2 * HOUR_S, end_s=-HOUR_S), id="expired"),
        pytest.param(AUTHORITY.issue("n1", start_s=HOUR_S), id="not yet valid"),
        pytest.param(AUTHORITY.issue("n1", usage="server"), id="of a server"),
    ],
)
async def test_a_certificate_that_is_not_trusted_is_turned_away_and_counted_and_others_go_on(port, pair, capfd):
    async with port.client(AUTHORITY.issue("n2")) as theirs, port.client(pair) as mine:
        good = await connect(theirs, "n2")
        call = Call(mine, ADS)
        assert (await call.ended())[0] is grpc.StatusCode.UNAVAILABLE
        faults, began, trusted = port.counts()
        assert faults == {}
        assert began >= 2
        assert trusted == 1
        await good.send(ask(Kind.EDS, names=["web"]))
        assert (await good.read()).version_info == "e.1"
    assert "Traceback" not in capfd.readouterr().err


async def test_who_speaks_in_the_clear_or_says_nothing_is_turned_away_and_others_go_on(tmp_path, monkeypatch):
    sooner = {"grpc.server_handshake_timeout_ms": 500}
    monkeypatch.setattr(rpc, "OPTIONS", tuple((name, sooner.get(name, value)) for name, value in rpc.OPTIONS))
    async with (
        a_port(tmp_path / "brain") as port,
        port.client(AUTHORITY.issue("n2")) as theirs,
        grpc.aio.insecure_channel(f"127.0.0.1:{port.port}") as clear,
    ):
        silence, silent = await asyncio.open_connection("127.0.0.1", port.port)
        good = await connect(theirs, "n2")
        assert (await Call(clear, ADS).ended())[0] is grpc.StatusCode.UNAVAILABLE
        assert await asyncio.wait_for(silence.read(), 10) == b"", "nobody is waited for without end"
        silent.close()
        await good.send(ask(Kind.EDS, names=["web"]))
        assert (await good.read()).version_info == "e.1"
        assert port.counts()[0] == {}
        assert port.counts()[2] == 1


async def test_an_envoy_of_ours_calls_by_a_socket_of_its_own_without_a_certificate(tmp_path):
    port = Port(tmp_path / "brain")
    port.port = await port.server.start(own=f"unix:{tmp_path}/xds")
    try:
        async with grpc.aio.insecure_channel(f"unix:{tmp_path}/xds") as channel:
            await connect(channel, "n1")
        assert port.counts() == ({}, 0, 0)
    finally:
        await port.server.stop()


def serial(pair):
    return x509.load_pem_x509_certificate(pair[0]).serial_number


async def shown(port, pair, folder):
    """The serial number of the certificate that the server shows now to whom it trusts, None when it does not."""
    for name, content in zip(("crt", "key"), pair, strict=True):
        (folder / name).write_bytes(content)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=port.trusts.decode())
    context.load_cert_chain(folder / "crt", folder / "key")
    context.set_alpn_protocols(["h2"])
    reader, writer = await asyncio.open_connection("127.0.0.1", port.port, ssl=context, server_hostname=NAME)
    try:
        found = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        return x509.load_der_x509_certificate(found).serial_number if await reader.read(1) else None
    except OSError:  # it takes part of a round trip until a client hears that its certificate is refused
        return None
    finally:
        writer.close()


async def test_rotated_files_serve_whoever_comes_next_and_who_is_connected_stays(port, tmp_path):
    old, new, port.trusts = AUTHORITY.issue("n1"), STRANGERS.issue("n1"), AUTHORITY.pem
    async with port.client(old) as channel:
        call = await connect(channel, "n1")
        assert await shown(port, new, tmp_path) is None
        second = AUTHORITY.issue(NAME)
        put(port.folder, second, AUTHORITY.pem + STRANGERS.pem)
        assert await shown(port, old, tmp_path) == serial(second)
        assert await shown(port, new, tmp_path) == serial(second)
        third = AUTHORITY.issue(NAME, end_s=50 * HOUR_S)
        put(port.folder, third, STRANGERS.pem)
        assert await shown(port, old, tmp_path) is None, "its CA is not trusted any more"
        assert await shown(port, new, tmp_path) == serial(third)
        ends = port.server.status()["tls"]["certificates"]["server"]["not_after"]
        assert ends == x509.load_pem_x509_certificate(third[0]).not_valid_after_utc.timestamp()
        await call.send(ask(Kind.EDS, names=["web"]))
        assert (await call.read()).version_info == "e.1"


async def test_what_a_rotation_leaves_halfway_changes_nothing_and_is_told(port, tmp_path):
    port.trusts, first = AUTHORITY.pem, serial((port.folder.joinpath("tls.crt").read_bytes(), b""))
    node = AUTHORITY.issue("n1")
    cert, key = AUTHORITY.issue(NAME)
    other = AUTHORITY.issue(NAME)
    for half in ((cert, other[1]), (b"", b""), (cert[:200], key)):
        put(port.folder, half, AUTHORITY.pem)
        assert await shown(port, node, tmp_path) == first
        assert port.server.status()["tls"]["problem"]
    put(port.folder, (cert, key), AUTHORITY.pem)
    (port.folder / "tls.key").unlink()
    assert await shown(port, node, tmp_path) == first
    assert "tls.key: No such file or directory; put it there" in port.server.status()["tls"]["problem"]
    put(port.folder, (cert, key), AUTHORITY.pem)
    assert await shown(port, node, tmp_path) == serial((cert, key))
    assert port.server.status()["tls"]["problem"] == ""


async def test_a_look_at_the_status_alone_reads_what_was_rotated(port):
    put(port.folder, AUTHORITY.issue(NAME, end_s=48 * HOUR_S), AUTHORITY.pem)
    dates = port.server.status()["tls"]["certificates"]["server"]
    assert dates["not_after"] - dates["not_before"] == pytest.approx(49 * HOUR_S, abs=2)


@pytest.mark.parametrize(
    ("name", "content", "key", "said"),
    [
        ("tls.crt", None, "cert_file", "tls.crt: No such file or directory; put it there"),
        ("tls.crt", b"x", "cert_file", "tls.crt holds no certificate in PEM; it begins -----BEGIN CERTIFICATE"),
        ("ca.crt", b"", "client_ca_file", "ca.crt holds no certificate in PEM; it begins -----BEGIN CERTIFICATE"),
        ("tls.key", b"x", "key_file", "tls.key holds no private key in PEM; it begins -----BEGIN PRIVATE KEY"),
        ("tls.key", AUTHORITY.issue()[1], "key_file", "tls.crt; renew both together"),
        ("tls.key", bytes(2 << 20), "key_file", "tls.key is larger than 1 MiB; name the PEM file"),
    ],
)
def test_files_that_cannot_be_used_are_refused_at_the_start(tmp_path, name, content, key, said):
    put(tmp_path, AUTHORITY.issue(NAME), AUTHORITY.pem)
    (tmp_path / name).unlink()
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(CredentialsError) as caught:
        Credentials(spec(tmp_path))
    assert caught.value.key == key
    assert str(caught.value).endswith(said)


def test_a_connection_of_many_streams_counts_once_and_memory_of_them_is_bounded(tmp_path):
    put(tmp_path, AUTHORITY.issue(NAME), AUTHORITY.pem)
    credentials = Credentials(spec(tmp_path))
    for peer in ["a", "a", "b", "a"]:
        credentials.came_through(peer)
    assert credentials.status()["trusted"] == 2
    for i in range(10_000):
        credentials.came_through(f"ipv4:10.0.0.1:{i}")
    assert sys.getsizeof(credentials._seen) < 1 << 20
    assert Counter(map(type, credentials._seen)) == {str: 4096}

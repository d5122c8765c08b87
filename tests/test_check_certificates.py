"""What `check`, `validate` and `run` say of the certificates that a mesh file names, and of those that a brain uses."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from dataplane.credentials import Credentials
from tests.certificates import HOUR_S, Authority, put, spec
from tests.served import Served, weirflow
from tests.test_check_command import MESH, answer, document, sound
from weirflow.certificates import dated
from weirflow.checkup import certificates
from weirflow.checkup.found import Outcome
from weirflow.clock import Clock
from weirflow.config import ConfigError, load
from weirflow.wiring import Running

pytestmark = pytest.mark.usefixtures("quiet")

DAY_S = 24 * HOUR_S
NAME = "spiffe://mesh/weirflow"
AUTHORITY = Authority(end_s=3650 * DAY_S)
TLS = "xds: {port: 0, tls: {cert_file: tls.crt, key_file: tls.key, client_ca_file: ca.crt, server_identity: '%s'}}\n"
SECURED = MESH + TLS % NAME


def looked(folder: Path, text: str = SECURED) -> list[tuple[str, str, str]]:
    """Key, outcome and words, the folder left out."""
    found = certificates.files(document(text), folder, Clock().now())
    return [(c.name, c.outcome.value, c.words.replace(f"{folder}/", "")) for c in found]


def test_of_sound_files_all_is_well_and_of_none_it_is_said(tmp_path: Path) -> None:
    put(tmp_path, AUTHORITY.issue(NAME, end_s=100 * DAY_S), AUTHORITY.pem)
    assert looked(tmp_path) == [("certificates", "ok", "they fit together, and none ends soon")]
    assert looked(tmp_path, MESH) == [("certificates", "ok", "the mesh file names none")]


@pytest.mark.parametrize(
    ("issued", "outcome", "said"),
    [
        ({"start_s": -DAY_S, "end_s": 12.5 * DAY_S, "names": (NAME,)}, None, ""),
        ({"start_s": -100 * DAY_S, "end_s": 12.5 * DAY_S, "names": (NAME,)}, "warning", "tls.crt ends in 12 days"),
        ({"start_s": -HOUR_S, "end_s": 0.4 * HOUR_S, "names": (NAME,)}, "warning", "tls.crt ends in 23 minutes"),
        ({"start_s": -9 * DAY_S, "end_s": -3.5 * HOUR_S, "names": (NAME,)}, "failure", "tls.crt ended 3 hours ago"),
        ({"start_s": 2.5 * DAY_S, "end_s": 9 * DAY_S, "names": (NAME,)}, "failure",
         "tls.crt is not valid before 2 days from now"),
        ({"names": ("spiffe://mesh/other", "brain.example")}, "failure",
         f"tls.crt has not the name '{NAME}' that nodes ask for; its names: brain.example, spiffe://mesh/other"),
        ({"names": ()}, "failure", f"tls.crt has not the name '{NAME}' that nodes ask for; its names: none"),
        ({"names": (NAME,), "usage": "client"}, "failure", "tls.crt is not for servers"),
        ({"names": (NAME,), "usage": "server"}, None, ""),
    ],
)  # fmt: skip
def test_our_certificate_is_in_time_for_servers_and_has_the_name_that_nodes_ask_for(
    tmp_path: Path, issued: dict[str, Any], outcome: str | None, said: str
) -> None:
    names = issued.pop("names")
    put(tmp_path, AUTHORITY.issue(*names, **issued), AUTHORITY.pem)
    assert looked(tmp_path) == (
        [("xds.tls.cert_file", outcome, said)]
        if outcome
        else [("certificates", "ok", "they fit together, and none ends soon")]
    )


def test_without_a_name_to_ask_for_nodes_go_by_the_host_that_they_call(tmp_path: Path) -> None:
    plain = SECURED.replace(f", server_identity: '{NAME}'", "")
    put(tmp_path, AUTHORITY.issue(NAME), AUTHORITY.pem)
    (found,) = looked(tmp_path, plain)
    assert found[1:] == (
        "failure", f"tls.crt has no DNS name or IP address by which nodes could know it; its names: {NAME}",
    )  # fmt: skip
    for name in ("10.0.0.1", "brain.example"):
        put(tmp_path, AUTHORITY.issue(name), AUTHORITY.pem)
        assert looked(tmp_path, plain)[0][1] == "ok"


def test_a_key_is_that_of_its_certificate_and_nobody_elses(tmp_path: Path) -> None:
    pair = AUTHORITY.issue(NAME)
    put(tmp_path, (pair[0], AUTHORITY.issue(NAME)[1]), AUTHORITY.pem)
    assert looked(tmp_path) == [("xds.tls.key_file", "failure", "tls.key is not the key of tls.crt")]
    put(tmp_path, pair, AUTHORITY.pem)
    (tmp_path / "tls.key").chmod(0o644)
    assert looked(tmp_path) == [("xds.tls.key_file", "warning", "tls.key: others have access (mode 644)")]
    (tmp_path / "tls.key").chmod(0o640)
    assert looked(tmp_path)[0][1] == "ok", "a group may read it, as Kubernetes' fsGroup does"


def test_everything_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    put(tmp_path, AUTHORITY.issue(NAME), AUTHORITY.pem)
    (tmp_path / "tls.key").unlink()
    (tmp_path / "ca.crt").unlink()
    (tmp_path / "ca.crt").write_text("no certificate")
    assert looked(tmp_path) == [
        ("xds.tls.key_file", "failure", "tls.key: No such file or directory"),
        ("xds.tls.client_ca_file", "failure", "ca.crt holds no certificate in PEM"),
    ]


def test_a_key_that_only_others_can_read_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, AUTHORITY.issue(NAME), AUTHORITY.pem)
    opened = Path.open

    def closed(file: Path, *how: Any) -> Any:
        if file.name == "tls.key":
            raise PermissionError(13, "Permission denied")
        return opened(file, *how)

    monkeypatch.setattr(Path, "open", closed)  # root opens everything, and so may tests
    monkeypatch.setattr(os, "access", lambda file, mode: Path(file).name != "tls.key")
    assert looked(tmp_path) == [("xds.tls.key_file", "warning", "tls.key: Permission denied")]


def test_a_ca_that_has_ended_may_stand_beside_the_one_that_took_over_and_not_alone(tmp_path: Path) -> None:
    ended = Authority("old", start_s=-9 * DAY_S, end_s=-DAY_S * 2.5)
    put(tmp_path, AUTHORITY.issue(NAME), ended.pem + AUTHORITY.pem)
    assert looked(tmp_path) == [("xds.tls.client_ca_file", "warning", "ca.crt (CN=old) ended 2 days ago")]
    put(tmp_path, AUTHORITY.issue(NAME), ended.pem)
    assert looked(tmp_path) == [("xds.tls.client_ca_file", "failure", "ca.crt ended 2 days ago")]


@pytest.mark.parametrize(
    ("not_before", "not_after", "said"),
    [
        (0.0, 90 * DAY_S, None),
        (-60.5 * DAY_S, 29.5 * DAY_S, ("ends in 29 days", False)),
        (-300 * DAY_S, 65 * DAY_S, None),  # a third of a year is not asked for
        (-50 * 60.0, 10.5 * 60.0, ("ends in 10 minutes", False)),
        (-HOUR_S, 0.0, ("ended 0 minutes ago", True)),
        (3 * HOUR_S, DAY_S, ("is not valid before 3 hours from now", True)),
    ],
)
def test_an_end_is_near_in_the_last_third_of_a_life_or_in_its_last_30_days(
    not_before: float, not_after: float, said: tuple[str, bool] | None
) -> None:
    assert dated(not_before, not_after, 0.0) == said


def test_validate_tells_it_as_warnings_with_the_line_and_strict_is_1(tmp_path: Path) -> None:
    file = tmp_path / "mesh.yaml"
    file.write_text(SECURED)
    put(tmp_path, AUTHORITY.issue(NAME, start_s=-9 * DAY_S, end_s=-DAY_S * 3.5), AUTHORITY.pem)
    said = weirflow("validate", str(file))
    assert f"mesh.yaml:4:33: warning: xds.tls.cert_file: {tmp_path}/tls.crt ended 3 days ago; renew it" in said
    assert "accepted" in said
    weirflow("validate", str(file), "--strict", code=1)
    put(tmp_path, AUTHORITY.issue(NAME), AUTHORITY.pem)
    weirflow("validate", str(file), "--strict")


async def test_run_refuses_files_that_cannot_be_used_with_their_line(tmp_path: Path) -> None:
    file = tmp_path / "mesh.yaml"
    file.write_text(SECURED.replace("{name: front-1}", "{name: front-1, spawn: false}") + "admin: {port: 0}\n")
    running = Running(file, load(file), Clock())
    with pytest.raises(ConfigError, match=r"mesh.yaml:4:33: xds.tls.cert_file: .*tls.crt: No such file") as caught:
        await running.start()
    await running.stop()
    assert [p.severity for p in caught.value.problems] == ["error"]


# A brain that serves over TLS.


def in_use(tls: Any) -> list[tuple[Outcome, str]]:
    told = answer()
    told["process"]["wires"]["tls"] = tls
    return [(c.outcome, c.words) for c in certificates.in_use(told)]


def test_of_a_brain_its_dates_are_told_and_that_it_does_not_use_what_is_there(tmp_path: Path) -> None:
    assert in_use(None) == [], "one in the clear, or of an older version"
    assert in_use(sound().process["wires"]["tls"]) == [(Outcome.OK, "those in use are the newest, and none ends soon")]
    put(tmp_path, AUTHORITY.issue(NAME), AUTHORITY.pem)
    credentials = Credentials(spec(tmp_path))
    put(tmp_path, (b"", b""), AUTHORITY.pem)
    tls = credentials.status()
    tls["certificates"] = {
        "server": {"not_before": 0.0, "not_after": 1.0},
        "client_ca": {"not_before": 0.0, "not_after": 1e10},
    }
    found = in_use(tls)
    assert [o for o, _ in found] == [Outcome.FAILURE, Outcome.FAILURE]
    assert "the files were changed and are not used" in found[0][1]
    assert re.match(r"that of the brain ended \d+ days ago", found[1][1])


def test_check_names_the_page_to_read_and_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    operations = sound()
    operations.process["wires"]["tls"]["certificates"]["client_ca"] = {"not_before": 0.0, "not_after": 1.0}
    monkeypatch.chdir(tmp_path)
    with Served(operations) as mesh:
        found = json.loads(mesh.weirflow("check", "-o", "json", code=1))
    (bad,) = [c for group in found["groups"] for c in group["checks"] if c["outcome"] == "failure"]
    assert bad["words"].startswith("the CA of the nodes ended ")
    assert bad["link"] == "docs/how-to.md#a-certificate-is-not-as-it-should-be"


@pytest.mark.envoy
@pytest.mark.timeout(90)
async def test_a_mesh_over_tls_runs_its_own_envoys_without_a_certificate_of_theirs(tmp_path: Path) -> None:
    put(tmp_path, AUTHORITY.issue(NAME), AUTHORITY.pem)
    file = tmp_path / "mesh.yaml"
    file.write_text(SECURED + "admin: {port: 0}\n")
    running = Running(file, load(file), Clock())
    try:
        await running.start()
        told = running.status()["wires"]
        assert told["nodes"]["front-1"]["connected"]
        assert told["tls"]["trusted"] == 0
        assert told["faults"] == {}
        socket = Path(running.fleet._xds_address.removeprefix("unix:"))
        assert socket.is_socket()
        assert socket.parent.stat().st_mode & 0o077 == 0, "nobody else can open it"
    finally:
        await running.stop()
    assert not socket.parent.exists()

"""The lab BIG-IP's bodies and statuses, line by line against facts/bigip.md."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.contract.bigip_bench import MEMBERS, PASSWORD, POOL, USER, Bigip, bench, config_error, new


def basic(password: str) -> dict[str, str]:
    return {"Authorization": aiohttp.encode_basic_auth(USER, password)}


async def test_a_log_in_and_the_life_of_its_token(lab_bigip: Bigip) -> None:
    body = await lab_bigip.log_in()
    token = body["token"]
    assert (body["username"], body["loginProviderName"], body["generation"]) == (USER, "tmos", 0)
    assert len(token["token"]) == 26 and token["name"] == token["token"]
    assert (token["timeout"], token["partition"], token["userName"]) == (1200, "[All]", USER)
    assert token["kind"] == "shared:authz:tokens:authtokenitemstate"
    assert token["expirationMicros"] - token["lastUpdateMicros"] == 1200 * 10**6
    path = f"/mgmt/shared/authz/tokens/{token['token']}"
    assert (await lab_bigip.ok("PATCH", path, {"timeout": "36000"}))["timeout"] == 36000
    status, answer = await lab_bigip.raw("PATCH", path, {"timeout": 36001})
    assert (status, answer["message"]) == (406, "Auth-token absolute timeout (36000 seconds) exceeded")
    await lab_bigip.ok("DELETE", path)
    status, answer = await lab_bigip.raw("GET", "/mgmt/tm/sys/")
    assert (status, answer["message"]) == (401, "X-F5-Auth-Token does not exist.")
    assert answer["kind"] == ":resterrorresponse" and "restOperationId" in answer


async def test_an_expired_token(tmp_path: Path) -> None:
    async with bench(tmp_path, tokenTimeout=0) as bigip:
        await bigip.log_in()
        status, answer = await bigip.raw("GET", "/mgmt/tm/sys")
        assert (status, answer["message"], answer["code"]) == (401, "X-F5-Auth-Token has expired.", 401)


async def test_the_101st_token_is_refused(tmp_path: Path) -> None:
    async with bench(tmp_path, users=[{"name": "admin", "password": PASSWORD}]) as bigip:
        credentials = {"username": "admin", "password": PASSWORD}
        for _ in range(100):
            assert (await bigip.raw("POST", "/mgmt/shared/authn/login", credentials))[0] == 200
        status, answer = await bigip.raw("POST", "/mgmt/shared/authn/login", credentials)
        # Java: UUID.nameUUIDFromBytes("admin".getBytes())
        uuid = "21232f29-7a57-35a7-8389-4a0e4a801fc3"
        assert (status, answer["message"]) == (400, f"user {uuid} has reached maximum active login tokens")


async def test_bad_credentials(lab_bigip: Bigip) -> None:
    login = lab_bigip.record["url"] + "/mgmt/shared/authn/login"
    async with lab_bigip.session.post(login, json={"username": USER, "password": "wrong"}) as response:
        assert (response.status, response.reason) == (401, "F5 Authorization Required")
        assert (await response.json())["message"] == "Authentication failed."
    url = lab_bigip.record["url"] + "/mgmt/tm/sys"
    async with lab_bigip.session.get(url, headers=basic("wrong")) as response:
        assert (response.status, response.content_type) == (401, "text/html")
    async with lab_bigip.session.get(url, headers=basic(PASSWORD)) as response:
        assert response.status == 200
    status, answer = await lab_bigip.raw("GET", "/mgmt/tm/sys", token="")
    assert status == 401 and "no user authentication header" in answer["message"]


async def test_a_pool_and_its_links(lab_bigip: Bigip) -> None:
    pool = await lab_bigip.ok("GET", POOL + "/")
    assert pool["kind"] == "tm:ltm:pool:poolstate"
    assert (pool["name"], pool["partition"], pool["fullPath"]) == ("web", "Common", "/Common/web")
    assert pool["selfLink"] == f"https://localhost{POOL}?ver=16.1.4"
    assert pool["membersReference"] == {"link": f"https://localhost{MEMBERS}?ver=16.1.4", "isSubcollection": True}
    members = await lab_bigip.ok("GET", MEMBERS)
    assert members["kind"] == "tm:ltm:pool:members:memberscollectionstate" and "items" not in members
    await lab_bigip.ok("POST", MEMBERS, new())
    pool = await lab_bigip.ok("GET", POOL + "?expandSubcollections=true")
    assert [item["name"] for item in pool["membersReference"]["items"]] == ["10.0.0.5:80"]
    assert pool["selfLink"].endswith("?expandSubcollections=true&ver=16.1.4")
    metadata = {"metadata": [{"name": "owner", "value": "x"}]}
    answer = await lab_bigip.ok("PATCH", POOL, metadata)
    assert answer["metadata"] == [{"name": "owner", "persist": "true", "value": "x"}]


async def test_a_members_session_and_state(lab_bigip: Bigip) -> None:
    member = await lab_bigip.ok("POST", MEMBERS, new(session="user-disabled"))
    expected = {
        "kind": "tm:ltm:pool:members:membersstate",
        "address": "10.0.0.5",
        "connectionLimit": 0,
        "dynamicRatio": 1,
        "ephemeral": "false",
        "fqdn": {"autopopulate": "disabled"},
        "monitor": "default",
        "priorityGroup": 0,
        "rateLimit": "disabled",
        "ratio": 1,
        "session": "user-disabled",
        "state": "unchecked",
        "selfLink": f"https://localhost{MEMBERS}/~Common~10.0.0.5:80?ver=16.1.4",
    }
    assert expected.items() <= member.items()
    path = f"{MEMBERS}/~Common~10.0.0.5:80"
    forced = {"session": "user-disabled", "state": "user-down"}
    assert forced.items() <= (await lab_bigip.ok("PATCH", path + "/", forced)).items()
    enabled = {"session": "user-enabled", "state": "user-up"}
    assert {"session": "user-enabled", "state": "unchecked"}.items() <= (await lab_bigip.ok("PATCH", path, enabled)).items()
    assert await lab_bigip.raw("PATCH", path, {"state": "up"}) == config_error(400, 'invalid property value "state":"up"')
    assert await lab_bigip.raw("PATCH", path, {"address": "10.0.0.5"}) == config_error(400, "address may not be specified")
    assert await lab_bigip.raw("DELETE", path) == (200, "")


async def test_a_route_domain_is_decoded_once(lab_bigip: Bigip) -> None:
    member = await lab_bigip.ok("POST", MEMBERS, new("10.0.0.6%1:80"))
    assert member["name"] == "10.0.0.6%1:80"
    link = f"{MEMBERS}/~Common~10.0.0.6%251:80"
    assert member["selfLink"] == f"https://localhost{link}?ver=16.1.4"
    assert (await lab_bigip.ok("GET", link))["address"] == "10.0.0.6%1"
    stats = await lab_bigip.ok("GET", MEMBERS + "/stats")
    assert list(stats["entries"]) == [f"https://localhost{link}/stats"]
    v6 = await lab_bigip.ok("POST", MEMBERS, {"name": "2001:db8::5.80", "partition": "Common"})
    assert v6["address"] == "2001:db8::5"


@pytest.mark.parametrize(
    ("method", "path", "body", "expected"),
    [
        (
            "GET",
            f"{MEMBERS}/~Common~1.1.1.1:80",
            None,
            config_error(404, "01020036:3: The requested Pool Member (/Common/web /Common/1.1.1.1 80) was not found."),
        ),
        (
            "GET",
            "/mgmt/tm/ltm/pool/~Common~no",
            None,
            config_error(404, "01020036:3: The requested Pool (/Common/no) was not found."),
        ),
        (
            "POST",
            "/mgmt/tm/ltm/pool/~Common~no/members",
            new(),
            config_error(404, "01020036:3: The requested pool (/Common/no) was not found."),
        ),
        (
            "POST",
            MEMBERS,
            new("10.0.0.9:80"),
            config_error(
                409,
                "01020066:3: The requested Pool Member (/Common/web /Common/10.0.0.9 80) already exists in partition Common.",
            ),
        ),
        (
            "POST",
            MEMBERS,
            new(partition="Elsewhere"),
            config_error(
                400,
                "01070734:3: Configuration error: Can't associate Pool Member (/Common/web /Elsewhere/10.0.0.5 80) folder does not exist",
            ),
        ),
        ("POST", MEMBERS, {"name": "10.0.0.5"}, config_error(400, "HTML Tag-like Content in the Request URL/Body")),
        (
            "DELETE",
            "/mgmt/tm/ltm/node/~Common~10.0.0.9",
            None,
            config_error(
                400,
                "01070110:3: Node address '/Common/10.0.0.9' is referenced by a member of pool '/Common/web'.",
            ),
        ),
        (
            "POST",
            "/mgmt/tm/cm",
            {"command": "run", "utilCmdArgs": "config-sync to-group X"},
            config_error(400, "01070734:3: Configuration error: Device group (X) not found in device group sync"),
        ),
    ],
)
async def test_errors(lab_bigip: Bigip, method: str, path: str, body: Any, expected: tuple[int, Any]) -> None:
    await lab_bigip.ok("POST", MEMBERS, new("10.0.0.9:80"))
    before = (await lab_bigip.status())["pools"]
    assert await lab_bigip.raw(method, path, body) == expected
    assert (await lab_bigip.status())["pools"] == before


async def test_a_post_without_partition_is_answered_404_though_it_happened(lab_bigip: Bigip) -> None:
    status, answer = await lab_bigip.raw("POST", MEMBERS, {"name": "10.0.0.5:80"})
    assert status == 404 and answer["message"].startswith("01020036:3:")
    assert (await lab_bigip.ok("GET", f"{MEMBERS}/~Common~10.0.0.5:80"))["address"] == "10.0.0.5"


async def test_nodes_outlive_members_and_pools(lab_bigip: Bigip) -> None:
    await lab_bigip.ok("POST", MEMBERS, new())
    await lab_bigip.ok("DELETE", f"{MEMBERS}/~Common~10.0.0.5:80")
    node = await lab_bigip.ok("GET", "/mgmt/tm/ltm/node/~Common~10.0.0.5")
    assert {"kind": "tm:ltm:node:nodestate", "address": "10.0.0.5", "session": "user-enabled"}.items() <= node.items()
    await lab_bigip.ok("DELETE", "/mgmt/tm/ltm/node/~Common~10.0.0.5/")
    assert await lab_bigip.raw("GET", "/mgmt/tm/ltm/node/~Common~10.0.0.5") == config_error(
        404, "01020036:3: The requested Node (/Common/10.0.0.5) was not found."
    )


async def test_select_and_filter(lab_bigip: Bigip) -> None:
    for name in ("10.0.0.5:80", "10.0.0.6:80"):
        await lab_bigip.ok("POST", MEMBERS, new(name))
    listed = await lab_bigip.ok("GET", MEMBERS + "?$select=name,session")
    assert listed["items"] == [
        {"name": "10.0.0.5:80", "session": "user-enabled"},
        {"name": "10.0.0.6:80", "session": "user-enabled"},
    ]
    listed = await lab_bigip.ok("GET", "/mgmt/tm/ltm/node?$filter=address%20eq%2010.0.0.6&$select=name")
    assert listed["items"] == [{"name": "10.0.0.6"}]
    assert "items" not in await lab_bigip.ok("GET", "/mgmt/tm/ltm/pool?$filter=partition%20eq%20Other")


async def test_a_transaction_is_all_or_nothing(lab_bigip: Bigip) -> None:
    opened = await lab_bigip.ok("POST", "/mgmt/tm/transaction", {})
    number = opened["transId"]
    assert {"state": "STARTED", "timeoutSeconds": 120, "executionTimeout": 300, "failureReason": ""}.items() <= (opened.items())
    header = {"X_F5_REST_Coordination_Id": str(number)}
    path = f"/mgmt/tm/transaction/{number}"
    assert await lab_bigip.raw("PATCH", path, {"state": "VALIDATING"}) == config_error(
        400, "there is no command to commit in the transaction", 2
    )
    queued = await lab_bigip.ok("POST", MEMBERS, new(), **header)
    link = f"https://localhost{path}/commands/1?ver=16.1.4"
    expected = {"method": "POST", "body": new(), "evalOrder": 1, "commandId": 1, "selfLink": link}
    assert expected.items() <= queued.items() and queued["kind"] == "tm:transaction:commandsstate"
    await lab_bigip.ok("DELETE", f"{MEMBERS}/~Common~9.9.9.9:80", **header)
    assert (await lab_bigip.ok("GET", MEMBERS, **header)).get("items", []) == []
    assert await lab_bigip.raw("PATCH", path, {"state": "VALIDATING"}) == config_error(
        400,
        "transaction failed:01020036:3: The requested Pool Member (/Common/web /Common/9.9.9.9 80) was not found.",
        2,
    )
    status = await lab_bigip.status()
    assert status["pools"]["/Common/web"]["members"] == {} and status["nodes"] == {}
    await lab_bigip.ok("DELETE", f"{path}/commands/2")
    assert (await lab_bigip.ok("PATCH", path, {"state": "VALIDATING"}))["state"] == "COMPLETED"
    assert len((await lab_bigip.ok("GET", MEMBERS))["items"]) == 1
    assert (await lab_bigip.raw("GET", path))[0] == 404


async def test_the_evaluation_order_of_a_transaction_can_be_changed(lab_bigip: Bigip) -> None:
    number = (await lab_bigip.ok("POST", "/mgmt/tm/transaction/", {}))["transId"]
    header = {"X_F5_REST_Coordination_Id": str(number)}
    path = f"/mgmt/tm/transaction/{number}"
    await lab_bigip.ok("DELETE", f"{MEMBERS}/~Common~10.0.0.5:80", **header)
    await lab_bigip.ok("POST", MEMBERS, new(), **header)
    assert (await lab_bigip.raw("PATCH", path, {"state": "VALIDATING"}))[0] == 400
    assert (await lab_bigip.ok("PATCH", f"{path}/commands/2", {"evalOrder": 1}))["evalOrder"] == 1
    await lab_bigip.ok("PATCH", path, {"state": "VALIDATING", "validateOnly": True})
    assert (await lab_bigip.status())["nodes"] == {}
    await lab_bigip.ok("PATCH", path, {"state": "VALIDATING", "validateOnly": False})
    status = await lab_bigip.status()
    assert status["pools"]["/Common/web"]["members"] == {} and list(status["nodes"]) == ["/Common/10.0.0.5"]


async def test_high_availability_and_saving(tmp_path: Path, lab_bigip: Bigip) -> None:
    (device,) = (await lab_bigip.ok("GET", "/mgmt/tm/cm/device"))["items"]
    assert (device["failoverState"], device["selfDevice"]) == ("active", "true")

    async def sync(of: Bigip) -> str:
        entries = (await of.ok("GET", "/mgmt/tm/cm/sync-status"))["entries"]
        text: str = entries["https://localhost/mgmt/tm/cm/sync-status/0"]["nestedStats"]["entries"]["status"]["description"]
        return text

    assert await sync(lab_bigip) == "Standalone"
    await lab_bigip.ok("POST", MEMBERS, new())
    assert not (await lab_bigip.status())["saved"]
    assert (await lab_bigip.ok("POST", "/mgmt/tm/sys/config", {"command": "save"}))["kind"] == "tm:sys:config:savestate"
    assert (await lab_bigip.status())["saved"]
    async with bench(tmp_path / "pair", deviceGroup="pair", peer="bigip-b.lab.example") as pair:
        await pair.log_in()
        assert await sync(pair) == "In Sync"
        await pair.ok("POST", MEMBERS, new())
        assert await sync(pair) == "Changes Pending"
        command = {"command": "run", "utilCmdArgs": "config-sync to-group pair"}
        assert await pair.ok("POST", "/mgmt/tm/cm", command) == {"kind": "tm:cm:runstate", **command}
        assert await sync(pair) == "In Sync"
        await pair.faults(standby=True)
        devices = (await pair.ok("GET", "/mgmt/tm/cm/device"))["items"]
        assert [device["failoverState"] for device in devices] == ["standby", "active"]

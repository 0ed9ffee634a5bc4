from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from vmscaler.decide.monitoring_files import with_entries, with_route, without_entries, without_route
from vmscaler.decide.routes import policy_matchers, receiver_document, route_document
from vmscaler.decide.splice import MARKER, StyleNotSupported, YamlFile

GIVEN = Path(__file__).resolve().parent.parent / "golden" / "monitoring" / "given"
RULES, TARGETS = "/etc/prometheus/vmscaler/rules/vmscaler-*.yml", "/etc/prometheus/vmscaler/targets/vmscaler-*.json"


def routed(file: YamlFile, policy: str = "web", *, url: str = "https://jenkins.example.com/generic-webhook-trigger/invoke") -> YamlFile:
    name = f"vmscaler/acme/{policy}"
    receiver = receiver_document(
        name,
        url=url,
        token_file=f"/etc/alertmanager/vmscaler/tokens/vmscaler-acme.{policy}.token",
        ca_file="/etc/alertmanager/jenkins-ca.pem",
    )
    route = route_document(
        name, matchers=policy_matchers("acme", policy, "default"), group_wait="10s", group_interval="1m", repeat_interval="5m"
    )
    return with_route(file, receiver, route)


def entered(text: str) -> YamlFile:
    return with_entries(YamlFile(text.encode()), RULES, TARGETS)


@pytest.mark.parametrize("path", sorted(GIVEN.glob("*.alertmanager.yml")), ids=lambda path: path.name)
def test_a_route_goes_into_peoples_alertmanager_yml_and_out_again(path: Path, golden: Callable[[str, bytes], None]) -> None:
    given = YamlFile(path.read_bytes())
    one = routed(given)
    golden(f"monitoring/want/{path.name}", one.content)
    two = routed(one, "shop")
    assert routed(two) is two, "already right: not even a new object"
    assert without_route(two, "vmscaler/acme/shop").content == one.content
    assert without_route(without_route(two, "vmscaler/acme/web"), "vmscaler/acme/shop").content == given.content


@pytest.mark.parametrize("path", sorted(GIVEN.glob("*.prometheus.yml")), ids=lambda path: path.name)
def test_two_entries_go_into_peoples_prometheus_yml_and_out_again(path: Path, golden: Callable[[str, bytes], None]) -> None:
    given = YamlFile(path.read_bytes())
    edited = with_entries(given, RULES, TARGETS)
    golden(f"monitoring/want/{path.name}", edited.content)
    assert with_entries(edited, RULES, TARGETS) is edited
    assert without_entries(edited, RULES).content == given.content


def test_a_changed_item_is_replaced_where_it_stands() -> None:
    given = YamlFile((GIVEN / "two-teams.alertmanager.yml").read_bytes())
    before = routed(routed(given), "shop")
    after = routed(before, url="https://other.example.com/hook")
    assert after.content == before.content.replace(
        b"jenkins.example.com/generic-webhook-trigger/invoke", b"other.example.com/hook", 2
    ).replace(b"other.example.com/hook", b"jenkins.example.com/generic-webhook-trigger/invoke", 1), (
        "only the one of `web`, which stands second"
    )


def test_what_people_wrote_around_and_within_our_items() -> None:
    given = (GIVEN / "two-teams.alertmanager.yml").read_bytes()
    ours = routed(YamlFile(given)).content
    theirs = ours.replace(b"    # Dead man's", b"    # a note below ours\n    # Dead man's").replace(
        b'group_wait: "10s"', b"group_wait: 1h # slower"
    )
    assert theirs.count(b"slower") == 1
    mended = routed(YamlFile(theirs)).content
    assert mended == ours.replace(b"    # Dead man's", b"    # a note below ours\n    # Dead man's")
    assert without_route(YamlFile(theirs), "vmscaler/acme/web").content == given.replace(
        b"    # Dead man's", b"    # a note below ours\n    # Dead man's"
    )


def test_a_route_that_was_moved_below_broader_ones_comes_back_to_the_top() -> None:
    ours = routed(YamlFile((GIVEN / "two-teams.alertmanager.yml").read_bytes())).content
    start, end = ours.index(b"    # vmscaler"), ours.index(b"    # Dead man's")
    block = ours[start:end]
    moved = ours[:start] + ours[end:].replace(b"\ninhibit_rules", block + b"\ninhibit_rules", 1)
    assert moved != ours
    assert routed(YamlFile(moved)).content == ours


def test_the_marker_may_be_lost_and_an_item_may_be_there_twice() -> None:
    ours = routed(YamlFile((GIVEN / "two-teams.alertmanager.yml").read_bytes())).content
    start, end = ours.index(b"    # vmscaler"), ours.index(b"    # Dead man's")
    twice = ours[:end] + ours[start:end].replace(b"    # vmscaler: managed, do not edit\n", b"") + ours[end:]
    assert routed(YamlFile(twice)).content == ours


def test_a_list_that_we_made_stays_while_somebody_uses_it() -> None:
    given = (GIVEN / "no-routes.alertmanager.yml").read_bytes()
    used = routed(YamlFile(given)).content.replace(b'repeat_interval: "300s"\n', b'repeat_interval: "300s"\n    - receiver: default\n', 1)
    left = without_route(YamlFile(used), "vmscaler/acme/web").content
    assert b"  routes:\n    - receiver: default\n" in left
    assert b"vmscaler/" not in left


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# only a comment",
        "---\n",
        "global: {}",
        "global:\r\n  scrape_interval: 1m",
        "\ufeffglobal: {}\n",
        "rule_files:",
        "rule_files:\n- x",
        "rule_files: # theirs\n    # deep\n\n        - 'x'   \n",
        "'rule_files':\n  -\n    a\n",
        "rule_files: &anchored\n- a\nother: 1\n",
        "  rule_files:\n  - a\n  other: 1\n",
        "other: |+\n  kept\n\n\n",
        "other: |-\n  no newline",
        "a: &x 1\nb: &x 2\nc: *x\n",
        "a: [&x [*x], *x]\n",
        "tabs: 'a\tb'\n#\ta comment\n",
        "emoji: 🙂\nrule_files:\n  - 🙂.yml\n",
        "scrape_configs:\n- job_name: x\nrule_files:\n- x",
    ],
)
def test_styles_that_are_kept_to_the_byte(text: str) -> None:
    edited = entered(text)
    assert MARKER in edited.content.decode()
    assert without_entries(edited, RULES).content == text.encode()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nrule_files: []\n", "line 2: `rule_files` must be in block style"),
        ("rule_files: [a, b]\n", "line 1: `rule_files` must be in block style"),
        ("rule_files:\n  [a, b]\n", "line 1: `rule_files` is not a list in block style"),
        ("rule_files: text\n", "line 1: `rule_files` must be in block style"),
        ("a: &x\n- 1\nrule_files: *x\n", "line 3: `rule_files` is shared by an anchor and an alias"),
        ("rule_files: &x\n- 1\na: *x\n", "line 1: `rule_files` is shared by an anchor and an alias"),
        ("a: 1\n<<: {rule_files: [b]}\n", "line 2: `rule_files` may come from this merge key"),
        ("{global: {}}\n", "line 1: the file is not a mapping in block style"),
        ("- a\n", "line 1: the file is not a mapping in block style"),
        ("? rule_files\n: - a\n", "line 1: `rule_files` must be in block style"),
        ("rule_files:\n  !!seq\n  - a\n", "line 2: write the items of `rule_files` on lines of their own"),
        ("a: 1\n---\nb: 2\n", "line 2 begins a second YAML document"),
        ("a: 1\n...\n", "line 2: it ends the document"),
        ("a: 1\nb: 2\na: 3\n", "line 3 repeats the key 'a' of line 1"),
        ("x:\n  - {n: 1, n: 2}\n", "line 2 repeats the key 'n' of line 2"),
        ("a:\n\tb: 2\n", "line 2 .* write spaces in place of the tab"),
        ("a: *nothing\n", "line 1 cannot be read as YAML"),
        ("a: [1\nb: 2\n", "cannot be read as YAML"),
        ("a: 1\nb: \x07\n", "line 2 holds the character U\\+0007"),
        ("a: 1\rb: 2\n", "line 1 holds a carriage return that ends no line"),
        ("text: |\n  no newline at the end", "line 2: an edit here would change what the rest of the file means"),
        ("a: " + "[" * 150 + "]" * 150 + "\n", "nested more than 100 deep"),
        ("[" * 1100, "nested too deeply"),
        ("a: &a [x,x]\n" + "".join(f"k{i}: &k{i} [*k{i - 1},*k{i - 1}]\n" for i in range(1, 2)), "cannot be read as YAML"),
    ],
)
def test_styles_that_are_refused_by_line(text: str, message: str) -> None:
    with pytest.raises(StyleNotSupported, match=message):
        entered(text)


def test_aliases_that_hold_aliases_cost_nothing() -> None:
    bomb = "k0: &k0 [x,x]\n" + "".join(f"k{i}: &k{i} [*k{i - 1},*k{i - 1},*k{i - 1}]\n" for i in range(1, 60))
    assert without_entries(entered(bomb), RULES).content == bomb.encode()


def test_bytes_that_are_no_text() -> None:
    with pytest.raises(StyleNotSupported, match="line 2 is not UTF-8"):
        with_entries(YamlFile(b"a: 1\nb: \xff\n"), RULES, TARGETS)
    with pytest.raises(StyleNotSupported, match="larger than"):
        with_entries(YamlFile(b"# " + b"x" * (5 << 20)), RULES, TARGETS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("receivers:\n- name: a\n", "there is no `route:`"),
        ("route:\nreceivers:\n- name: a\n", "line 1: `route` is empty"),
        ("route: {receiver: a}\nreceivers:\n- name: a\n", "line 1: `route` must be in block style"),
        ("x: &r\n  receiver: a\nroute:\n  <<: *r\nreceivers:\n- name: a\n", "line 4: `route.routes` may come from this merge key"),
        ("route:\n  receiver: a\n  routes: []\nreceivers:\n- name: a\n", "line 3: `route.routes` must be in block style"),
    ],
)
def test_routes_that_are_refused_by_line(text: str, message: str) -> None:
    file = YamlFile(text.encode())
    with pytest.raises(StyleNotSupported, match=message):
        routed(file)
    assert without_route(file, "vmscaler/acme/web") is file, "nothing of ours is in it: nothing to refuse"


def test_a_name_that_is_hostile_stays_a_name() -> None:
    hostile = 'vmscaler/x"\n- name: evil # {{ }} \\ \u202e'
    file = YamlFile((GIVEN / "two-teams.alertmanager.yml").read_bytes())
    receiver = receiver_document(hostile, url="https://x", token_file="/t\nx: 1", ca_file=None)
    route = route_document(hostile, matchers={"a": 'b"} or {c="'}, group_wait="1s", group_interval="1s", repeat_interval="1s")
    edited = with_route(file, receiver, route)
    assert edited.content.count(b"\n") == file.content.count(b"\n") + 21

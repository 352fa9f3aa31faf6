"""Providers that do everything wrong: 9002 within five seconds, and the agent goes on."""

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pytest

from spkg.agent.records import Intent
from spkg.agent.tree.channel import LineChannel, ProviderError
from spkg.agent.tree.files import FileProvider
from spkg.agent.tree.provider import ProviderFault, ProviderNotice, ProviderPatience, ValuesRead
from spkg.cwmp.faults import FaultCode, MethodFaultError, ParameterFault
from spkg.cwmp.values import AttributeChange, ParameterValue
from spkg.errors import HostError, RefusedError
from tests.agent.tree_kit import CONFIG, IGD, SAMPLE, Scripted, bench, sample_provider
from tests.support.restrictions import at_most

A, B, SECRET = f"{IGD}LANDevice.A", f"{IGD}LANDevice.B", f"{IGD}LANDevice.Password"
TABLE = f"{IGD}LANDevice.T."
OTHER = f"{IGD}WANDevice.C"
CODE = f"{IGD}DeviceInfo.ProvisioningCode"
KEY = f"{IGD}ManagementServer.ParameterKey"
LAN = f"{IGD}LANDevice.1.LANHostConfigManagement."
PARAMETERS = [
    {"path": A, "type": "string(8)", "writable": True},
    {"path": B, "type": "unsignedInt[1:9]", "writable": True},
    {"path": SECRET, "type": "string(8)", "writable": True, "secret": True},
    {"path": f"{TABLE}{{i}}.Name", "type": "string(8)", "writable": True},
]
TABLES = [{"path": TABLE, "add": True, "max": 3}]


def text(name: str, value: str) -> ParameterValue:
    return ParameterValue(name, "string", value)


class Good:
    """A provider that is right, as far as a test does not want otherwise.

    Args:
        faulty: By operation, what it answers instead: a document, or octets as they are; None to end.
    """

    def __init__(
        self,
        faulty: Mapping[str, object] | None = None,
        *,
        table: bool = True,
        name: str = "good",
        prefix: str = "LANDevice.",
        **wrong: object,
    ) -> None:
        self.values = {A: "a", B: "1", SECRET: "s", f"{TABLE}1.Name": "one"}
        self.wrong: dict[str, object] = {**(faulty or {}), **wrong}
        self.described: list[dict[str, Any]] = PARAMETERS if table else PARAMETERS[:3]
        self.tables = TABLES if table else []
        if prefix != "LANDevice.":
            self.values, self.described, self.tables = {OTHER: "c"}, [{**PARAMETERS[0], "path": OTHER}], []
        self.provider = Scripted(self.answer, name=name, paths=(prefix,))

    def answer(self, request: Mapping[str, Any]) -> object:
        op = request["op"]
        if op in self.wrong:
            found = self.wrong[op]
            return found(request) if callable(found) else found
        match op:
            case "describe":
                return {"parameters": self.described, "tables": self.tables}
            case "list":
                return {"instances": {TABLE: self.numbers()}}
            case "get":
                there = {name: self.values[name] for name in request["names"] if name in self.values}
                gone = {name: [9005, "gone"] for name in request["names"] if name not in self.values}
                return {"values": there, "faults": gone}
            case "check":
                return {"faults": {}}
            case "set":
                self.values |= request["values"]
            case "add":
                self.values[f"{request['table']}{request['instance']}.Name"] = ""
            case "delete":
                self.values = {n: v for n, v in self.values.items() if not n.startswith(request["object"])}
            case _:
                pass
        return {"status": 0}

    def numbers(self) -> list[int]:
        return sorted({int(n[len(TABLE) :].split(".")[0]) for n in self.values if n.startswith(TABLE)})


def fault(ask: Callable[[], object]) -> tuple[int, str]:
    with pytest.raises(MethodFaultError) as caught:
        ask()
    return caught.value.code, caught.value.text


ENDLESS: Final = object()
"""A line that is made when it is wanted: what a worker holds, each process that it forks pays for."""
RUBBISH: dict[str, tuple[str, object, str]] = {
    "no JSON": ("get", b"what?\n", "expected JSON: expecting value"),
    "no object": ("get", b"[1, 2]\n", "expected a JSON object, got [1, 2]"),
    "no UTF-8": ("get", b'{"id": "\xff"}\n', "expected UTF-8"),
    "a key twice": ("get", b'{"id": 3, "id": 3}\n', "the JSON can't be used: the key 'id' occurs twice"),
    "nested": ("get", b"[" * 100_000 + b"\n", "the JSON is nested too deeply"),
    "another id": ("get", b'{"id": 99}\n', "expected the answer to request 3, got 99"),
    "an id of another type": ("get", b'{"id": "3"}\n', "expected the answer to request 3, got '3'"),
    "neither answer nor notice": ("get", b'{"values": {}}\n', "wrote neither an answer nor a notice"),
    "the end": ("get", None, "closed the connection"),
    "an endless line": ("get", ENDLESS, "wrote a line of more than 8388608 bytes"),
    "many answers": ("get", b'{"id": 1}\n' * 40, "expected the answer to request 3, got 1"),
    "values of another type": ("get", {"values": []}, "values must be an object"),
    "a value that is no string": (
        "get",
        {"values": {A: 5}},
        f"the value of {A} must be a string of at most 65536 characters",
    ),
    "a value too long": (
        "get",
        {"values": {A: "x" * 65537}},
        f"the value of {A} must be a string of at most 65536 characters",
    ),
    "half a character": (
        "get",
        {"values": {A: "\ud800"}},
        f"the value of {A} must be a string of at most 65536 characters",
    ),
    "a value that was not asked for": (
        "get",
        {"values": {A: "a", B: "1"}},
        f"gave a value of {B}, which was not asked for",
    ),
    "nothing at all": ("get", {}, f"gave neither a value nor a fault for {A}"),
    "faults of another type": ("get", {"faults": 5}, "faults must be an object"),
    "a fault that is none": (
        "get",
        {"faults": {A: [1, "no"]}},
        "a fault must be a FaultCode and a text, got [1, 'no']",
    ),
    "a fault for another": (
        "get",
        {"faults": {B: [9005, "gone"]}},
        f"gave a fault for {B}, which was not asked for",
    ),
    "a description of another type": (
        "describe",
        {"parameters": {}},
        "parameters must be an array of objects",
    ),
    "too many": (
        "describe",
        {"parameters": [PARAMETERS[0]] * 10_001},
        "expected at most 10000 parameters, got 10001",
    ),
    "one parameter twice": ("describe", {"parameters": [PARAMETERS[0]] * 2}, f"{A} is described twice"),
    "no path": (
        "describe",
        {"parameters": [{"type": "int"}]},
        "expected the full name of a parameter or table, got None",
    ),
    "a path of another": (
        "describe",
        {"parameters": [{"path": f"{IGD}DeviceInfo.SerialNumber", "type": "string"}]},
        f"{IGD}DeviceInfo.SerialNumber is not below {IGD}LANDevice.",
    ),
    "no type": ("describe", {"parameters": [{"path": A}]}, f"{A} must have a type, such as string(64)"),
    "a strange type": (
        "describe",
        {"parameters": [{"path": A, "type": "json"}]},
        f"the type of {A}: expected a type such as string(64), int[0:2] or boolean, got 'json'",
    ),
    "strange notify": (
        "describe",
        {"parameters": [{"path": A, "type": "int", "notify": "yes"}]},
        f'notify of {A} must be "no", or absent',
    ),
    "strange default": (
        "describe",
        {"parameters": [{"path": A, "type": "int", "default": 1}]},
        f"default of {A} must be a string",
    ),
    "strange writable": (
        "describe",
        {"parameters": [{"path": A, "type": "int", "writable": 1}]},
        f"writable of {A} must be true or false",
    ),
    "a name that ends in a number": (
        "describe",
        {"parameters": [{"path": f"{TABLE}1", "type": "int"}]},
        f"the name of a parameter must end in a name, got {TABLE}1",
    ),
    "a table without a dot": (
        "describe",
        {"tables": [{"path": A}]},
        f"the path of a table must end in a name and a dot, got {A}",
    ),
    "a strange max": (
        "describe",
        {"tables": [{"path": TABLE, "max": -1}]},
        f"max of {TABLE} must be a number from 0 to 100000",
    ),
}


@pytest.mark.parametrize("case", RUBBISH)
def test_rubbish_is_9002_and_never_the_end_of_the_agent(tmp_path: Path, case: str) -> None:
    op, answer, problem = RUBBISH[case]
    answer = b"x" * ((8 << 20) + 70_000) if answer is ENDLESS else answer
    good = Good({op: answer}, table=False)
    with bench(tmp_path, CONFIG, good.provider) as found:
        if op == "get":
            found.tree.get_names(A, next_level=False)
            found.sources[0].lock(found.tree._holdings.begin())  # so that the third request matters
        began = time.monotonic()
        code, said = fault(lambda: found.tree.get_values([A]))

        assert time.monotonic() - began < 20
        assert (code, said.replace("line 1: ", "")) == (9002, f"provider 'good': {problem}")
        assert found.tree.get_values([CODE]) == (text(CODE, "TLCO"),)

        good.wrong.clear()
        assert found.tree.get_values([A]) == (text(A, "a"),)


@pytest.mark.parametrize(
    ("instances", "problem"),
    [
        ([], "instances must be an object"),
        ({TABLE: 1}, f"the instances of {TABLE} must be numbers from 1 on"),
        ({TABLE: [0]}, f"the instances of {TABLE} must be numbers from 1 on"),
        ({TABLE: [True]}, f"the instances of {TABLE} must be numbers from 1 on"),
        ({TABLE: [1 << 32]}, f"the instances of {TABLE} must be numbers from 1 on"),
        ({TABLE: [*range(1, 100_002)]}, "expected at most 100000 instances, got 100001"),
    ],
)
def test_instances_that_are_rubbish_are_9002(tmp_path: Path, instances: object, problem: str) -> None:
    good = Good(list={"instances": instances})
    with bench(tmp_path, CONFIG, good.provider) as found:
        assert fault(lambda: found.tree.get_values([TABLE])) == (9002, f"provider 'good': {problem}")


def test_instances_of_tables_that_nobody_described_are_ignored(tmp_path: Path) -> None:
    good = Good(list={"instances": {f"{IGD}LANDevice.Unknown.": [1], f"{IGD}DeviceInfo.": [1]}})
    with bench(tmp_path, CONFIG, good.provider) as found:
        assert found.tree.get_values([TABLE]) == ()


def test_more_parameters_than_can_be_held_are_9002(tmp_path: Path) -> None:
    many = [{"path": f"{TABLE}{{i}}.N{number}", "type": "int"} for number in range(101)]
    good = Good(
        describe={"parameters": many, "tables": TABLES}, list={"instances": {TABLE: [*range(1, 1001)]}}
    )
    with bench(tmp_path, CONFIG, good.provider) as found:
        assert fault(lambda: found.tree.get_names("", next_level=False)) == (
            9002,
            "provider 'good': expected at most 100000 parameters, got more",
        )


def test_a_provider_that_never_answers_costs_five_seconds_once(tmp_path: Path) -> None:
    good = Good(get=b"")
    with bench(tmp_path, CONFIG, good.provider) as found:
        began = time.monotonic()
        assert fault(lambda: found.tree.get_values([A])) == (9002, "provider 'good': did not answer in time")
        assert 4.9 < time.monotonic() - began < 9.5

        again = time.monotonic()
        assert fault(lambda: found.tree.get_values([A])) == (
            9002,
            "provider 'good': did not answer a moment ago, and is left alone for a while",
        )
        found.tree.lock()
        found.tree.unlock()
        assert time.monotonic() - again < 4.5

        good.wrong.clear()
        found.clock = lambda: time.monotonic() + 31
        assert found.tree.get_values([A]) == (text(A, "a"),)


def test_two_providers_that_never_answer_share_the_five_seconds(tmp_path: Path) -> None:
    one = Good(describe=b"", name="one")
    two = Good(describe=b"", name="two", prefix="WANDevice.")
    with bench(tmp_path, CONFIG, one.provider, two.provider) as found:
        began = time.monotonic()
        assert fault(lambda: found.tree.get_values([IGD]))[0] == 9002
        assert time.monotonic() - began < 9.5


def test_a_provider_that_takes_nothing_costs_its_time_and_no_more(tmp_path: Path) -> None:
    deaf, theirs = socket.socketpair()
    channel = LineChannel(lambda: theirs, lambda _said: None, time.monotonic)
    with closing(channel), deaf:
        began = time.monotonic()
        with pytest.raises(ProviderError, match="did not answer in time"):
            channel.ask({"id": 1, "large": "x" * 4_000_000}, 0.5)

        assert 0.4 < time.monotonic() - began < 20


def test_p12_what_vanishes_between_names_and_values(tmp_path: Path) -> None:
    good = Good()
    with bench(tmp_path, CONFIG, good.provider) as found:
        good.wrong["list"] = {"instances": {TABLE: [1, 2]}}

        assert [one.name for one in found.tree.get_names(TABLE, next_level=True)] == [
            f"{TABLE}1.",
            f"{TABLE}2.",
        ]
        assert found.tree.get_values([TABLE]) == (text(f"{TABLE}1.Name", "one"),)
        assert fault(lambda: found.tree.get_values([f"{TABLE}2.Name"])) == (9005, f"{TABLE}2.Name: gone")
        assert found.notes == []


def test_p14_a_value_that_does_not_fit_its_type_is_left_out_and_noted(tmp_path: Path) -> None:
    good = Good()
    good.values[B] = "many"
    with bench(tmp_path, CONFIG, good.provider) as found:
        problem = "its value does not fit its type: expected an integer, got 'many'"

        assert B not in {one.name for one in found.tree.get_values([f"{IGD}LANDevice."])}
        assert found.notes == [f"{B} can't be read: {problem}"]
        assert fault(lambda: found.tree.get_values([B])) == (9002, f"{B}: {problem}")


def test_p48_a_value_larger_than_the_parameter_is_told_as_a_fault_and_never_cut(tmp_path: Path) -> None:
    good = Good()
    good.values[A] = "larger than 8"
    with bench(tmp_path, CONFIG, good.provider) as found:
        assert fault(lambda: found.tree.get_values([A])) == (
            9002,
            f"{A}: its value does not fit its type: expected at most 8 characters, got 13",
        )


def test_a_provider_that_was_restarted_is_asked_again(tmp_path: Path) -> None:
    good = Good()
    with bench(tmp_path, CONFIG, good.provider) as found:
        found.tree.get_values([A])
        good.provider.close()

        assert found.tree.get_values([A]) == (text(A, "a"),)
        assert good.provider.started == 2


def test_a_description_is_asked_for_once_a_connection(tmp_path: Path) -> None:
    good = Good()
    with bench(tmp_path, CONFIG, good.provider) as found:
        for _ in range(3):
            found.tree.get_values([A])
        assert good.provider.ops() == ["describe", "get", "get", "get"]

        good.described = [{**PARAMETERS[0], "path": B}]
        good.provider.close()
        found.tree.get_values([CODE])
        found.tree.lock()
        found.tree.unlock()
        assert fault(lambda: found.tree.get_values([A]))[0] == 9005


def test_a_socket_is_reached_and_reached_again(tmp_path: Path) -> None:
    path = tmp_path / "gateway.socket"
    owned = '["LANDevice.", "Layer3Forwarding."]'
    config = f'{CONFIG}[[provider]]\nname = "gateway"\nsocket = "gateway.socket"\npaths = {owned}\n'
    with bench(tmp_path, config) as found:
        assert fault(lambda: found.tree.get_values([LAN])) == (
            9002,
            f"provider 'gateway': can't be reached: {path}: no such file or directory",
        )
        command = [sys.executable, str(SAMPLE), "--socket", str(path), str(tmp_path / "gateway.json")]
        for _ in range(2):
            with subprocess.Popen(command) as serving:
                until = time.monotonic() + 20
                while time.monotonic() < until:
                    try:
                        found.tree.get_values([LAN])
                    except MethodFaultError:
                        time.sleep(0.05)
                    else:
                        break
                assert len(found.tree.get_values([LAN])) == 4
                assert path.stat().st_mode & 0o077 == 0
                serving.terminate()


SCRIPT = """#!/usr/bin/env python3
import json, sys
request = json.loads(sys.stdin.readline())
answer = {
    "describe": {"parameters": [{"path": "%s", "type": "string(8)", "writable": True}]},
    "get": {"values": {name: "x" for name in request.get("names", ())}},
    "lock": {"status": 0},
}.get(request["op"], {"status": 0})
print(json.dumps({"id": request["id"], **answer}), end="%s")
"""


def script_provider(*arguments: str) -> str:
    command = json.dumps([sys.executable, *arguments])
    return f'[[provider]]\nname = "s"\nscript = {command}\npaths = ["LANDevice."]\n'


@pytest.mark.parametrize("end", ["\\n", ""])
def test_a_script_is_run_for_each_request(tmp_path: Path, end: str) -> None:
    (tmp_path / "script").write_text(SCRIPT % (A, end))
    config = CONFIG + script_provider(str(tmp_path / "script"))
    with bench(tmp_path, config) as found:
        assert found.tree.get_values([A]) == (text(A, "x"),)
        assert found.tree.set_values([text(A, "y")], "k") == 0
        assert len(found.processes) == 5  # describe, get, check, get, set


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ("pass", "ended without an answer"),
        ("print('what?')", "line 1: expected JSON: expecting value"),
        ("print('{\"id\": 7}')", "expected the answer to request 1, got 7"),
        ("print('x' * 9000000)", "wrote a line of more than 8388608 bytes"),
        ("import time; time.sleep(7)", "did not answer in time"),
    ],
)
def test_a_script_that_does_it_wrong_is_9002(tmp_path: Path, script: str, problem: str) -> None:
    config = CONFIG + script_provider("-c", script)
    with bench(tmp_path, config) as found:
        began = time.monotonic()
        assert fault(lambda: found.tree.get_values([A])) == (9002, f"provider 's': {problem}")
        assert time.monotonic() - began < 9.5
        if "sleep" in script:
            assert "left alone" in fault(lambda: found.tree.get_values([A]))[1]


def test_what_a_provider_calls_secret_is_known_and_before_that_all_of_it_may_be(
    tmp_path: Path,
) -> None:
    pin = f"{IGD}LANDevice.Line.{{i}}.Pin"
    answer = {"parameters": [*PARAMETERS, {"path": pin, "type": "string(8)", "secret": True}]}
    good = Good(describe=answer)
    with bench(tmp_path, CONFIG, good.provider) as found:
        secret = found.tree.is_secret
        assert [secret(A), secret(OTHER), secret(CODE)] == [True, False, False]

        found.tree.get_values([A])

        names = [A, SECRET, pin.replace("{i}", "12"), f"{TABLE}1.Name", f"{IGD}ManagementServer.Password"]
        assert [secret(name) for name in names] == [False, True, True, False, True]


def test_what_is_wrong_with_a_provider_is_noted_once_until_it_answers(tmp_path: Path) -> None:
    good = Good()
    with bench(tmp_path, CONFIG, good.provider) as found:
        for is_right in (False, False, True, False):
            good.wrong = {} if is_right else dict.fromkeys(("lock", "unlock"), b"rubbish\n")
            found.tree.lock()
            found.tree.unlock()

        problem = "provider 'good': line 1: expected JSON: expecting value"
        assert found.notes == [f"lock: {problem}", f"unlock: {problem}"] * 2


# What providers say unasked.


def test_what_a_provider_says_unasked_is_passed_on(tmp_path: Path) -> None:
    good = Good()
    with bench(tmp_path, CONFIG, good.provider) as found:
        found.tree.get_values([A])
        good.provider.says(
            b'{"changed": ["%s"]}\n{"event": "X 00D09E RadarHit", "parameters": ["%s"]}\n'
            % (A.encode(), B.encode())
        )
        found.tree.get_values([A])

        assert found.notices == [
            ProviderNotice(provider="good", changed=(A,)),
            ProviderNotice(provider="good", changed=(B,), event="X 00D09E RadarHit"),
        ]


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ({"changed": "all"}, "expected at most 1000 names of parameters"),
        ({"changed": ["x" * 257]}, "expected at most 1000 names of parameters"),
        ({"changed": ["x"] * 1001}, "expected at most 1000 names of parameters"),
        ({"event": 5}, "event must be a string"),
    ],
)
def test_a_notice_that_is_rubbish_ends_the_connection(tmp_path: Path, said: object, problem: str) -> None:
    good = Good(get=json.dumps(said).encode() + b"\n")
    with bench(tmp_path, CONFIG, good.provider) as found:
        assert fault(lambda: found.tree.get_values([A])) == (
            9002,
            f"provider 'good': {problem}",
        )
        assert found.notices == []


def test_a_flood_of_notices_ends_the_connection(tmp_path: Path) -> None:
    good = Good(get=b'{"changed": []}\n' * 101)
    with bench(tmp_path, CONFIG, good.provider) as found:
        assert fault(lambda: found.tree.get_values([A])) == (
            9002,
            "provider 'good': gave more than 100 notices in 30 s",
        )
        assert len(found.notices) == 100


# Setting with providers that refuse, or end in between.


def test_what_a_provider_finds_wrong_is_told_for_each_parameter(tmp_path: Path) -> None:
    good = Good(check={"faults": {A: [9007, "not today"], B: [9001, "no"]}})
    with bench(tmp_path, CONFIG, good.provider) as found:
        with pytest.raises(MethodFaultError) as caught:
            found.tree.set_values([text(B, "2"), text(A, "x")], "k")

    assert caught.value.parameters == (
        ParameterFault(B, FaultCode.INVALID_VALUE, "no"),
        ParameterFault(A, FaultCode.INVALID_VALUE, "not today"),
    )
    assert good.values[A] == "a"


def test_r3_after_the_reboot_is_status_1(tmp_path: Path) -> None:
    good = Good(set={"status": 1})
    with bench(tmp_path, CONFIG, good.provider) as found:
        assert found.tree.set_values([text(A, "x"), text(CODE, "AAAA")], "k") == 1
        assert found.tree.get_values([CODE, KEY]) == (text(CODE, "AAAA"), text(KEY, "k"))


def refuse(request: Mapping[str, Any]) -> object:
    return {"faults": {name: [9007, "not today"] for name in request["values"]}}


def two(tmp_path: Path, **wrong: object) -> tuple[Good, Good]:
    return Good(name="first"), Good(wrong, name="second", prefix="WANDevice.")


def test_r2_a_set_that_fails_sets_the_old_values_back(tmp_path: Path) -> None:
    first, second = two(tmp_path, set=refuse)
    with bench(tmp_path, CONFIG, first.provider, second.provider) as found:
        code, said = fault(
            lambda: found.tree.set_values(
                [text(A, "x"), text(OTHER, "y"), text(CODE, "AAAA"), text(SECRET, "t")], "k"
            )
        )

        assert (code, said) == (9002, f"provider 'second': {OTHER}: not today")
        assert (first.values[A], second.values[OTHER]) == ("a", "c")
        assert found.tree.get_values([CODE, KEY]) == (text(CODE, "TLCO"), text(KEY, ""))
        assert found.state.intent() is None
        assert found.notes == [
            f"{SECRET} can't be set back: what it was is not known",
            f"can't be set back: provider 'second': {OTHER}: not today",
        ]


def test_what_cannot_be_set_back_is_set_back_later(tmp_path: Path) -> None:
    first, second = two(tmp_path)

    def die(_request: Mapping[str, Any]) -> object:
        first.wrong["set"] = None
        return None

    second.wrong["set"] = die
    with bench(tmp_path, CONFIG, first.provider, second.provider) as found:
        assert fault(lambda: found.tree.set_values([text(A, "x"), text(OTHER, "y")], "k"))[0] == 9002
        assert first.values[A] == "x"
        assert found.state.intent() == Intent(values={A: "a", OTHER: "c"})
        assert fault(lambda: found.tree.set_values([text(A, "z")], "k2")) == (
            9002,
            "earlier values still wait for a provider that can't be reached",
        )
        with pytest.raises(HostError, match="earlier values still wait"):
            found.tree.set_locally(A, "z")

        first.wrong.clear()
        second.wrong.clear()
        found.tree.lock()

        assert (first.values[A], second.values[OTHER]) == ("a", "c")
        assert found.state.intent() is None
        assert found.tree.get_values([KEY]) == (text(KEY, ""),)


def test_the_agents_own_parameters_can_be_set_while_a_provider_is_waited_for(tmp_path: Path) -> None:
    good = Good(set=None)
    with bench(tmp_path, CONFIG, good.provider) as found:
        with found.state.change() as change:
            change.set_intent(
                Intent(values={A: "x"}, built_in={"DeviceInfo.ProvisioningCode": "OLD"}, parameter_key="old")
            )
        assert not found.tree.carry_out_intent()

        found.tree.set_values([text(CODE, "NEW")], "new")
        good.wrong.clear()
        assert found.restart().carry_out_intent()

        assert good.values[A] == "x"
        assert found.tree.get_values([CODE, KEY]) == (text(CODE, "NEW"), text(KEY, "new"))


def test_what_a_provider_refuses_at_the_start_is_taken_back(tmp_path: Path) -> None:
    first, second = two(tmp_path, set=refuse)
    with bench(tmp_path, CONFIG, first.provider, second.provider) as found:
        with found.state.change() as change:
            change.set_intent(
                Intent(values={A: "x", OTHER: "y"}, before={A: "a", OTHER: "c"}, parameter_key="k")
            )

        assert found.tree.carry_out_intent()

        assert first.values[A] == "a"
        assert found.tree.get_values([KEY]) == (text(KEY, ""),)


def test_an_intent_for_a_provider_that_is_gone_ends(tmp_path: Path) -> None:
    with bench(tmp_path) as found:
        for intent in (
            Intent(values={A: "x"}, parameter_key="k"),
            Intent(added=f"{TABLE}4.", parameter_key="k2"),
        ):
            with found.state.change() as change:
                change.set_intent(intent)
            assert found.tree.carry_out_intent()
        assert found.tree.get_values([KEY]) == (text(KEY, "k2"),)
        assert found.notes == [f"{one}: no provider serves it any more" for one in (A, f"{TABLE}4.")]


def test_d16_a_value_that_a_provider_writes_otherwise_is_still_what_the_acs_set(tmp_path: Path) -> None:
    good = Good()

    def lower(request: Mapping[str, Any]) -> object:
        good.values |= {name: value.lower() for name, value in request["values"].items()}
        return {"status": 0}

    good.wrong["set"] = lower
    with bench(tmp_path, CONFIG, good.provider) as found:
        found.tree.set_attributes([AttributeChange(A, 2, None)])
        found.tree.set_values([text(A, "LOUD")], "k")

        assert found.tree.changes() == ()
        assert found.tree.get_values([A]) == (text(A, "loud"),)


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ({"faults": {TABLE: [9004, "full"]}}, 9004),
        ({"faults": {TABLE: [9007, "odd"]}}, 9002),
        ({"status": 2}, 9002),
        (None, 9002),
    ],
)
def test_an_object_that_a_provider_does_not_add(tmp_path: Path, answer: object, code: int) -> None:
    good = Good(add=answer)
    with bench(tmp_path, CONFIG, good.provider) as found:
        assert fault(lambda: found.tree.add_object(TABLE, "k"))[0] == code
        assert found.state.intent() is None
        assert good.numbers() == [1]
        assert found.tree.get_values([KEY]) == (text(KEY, ""),)

        good.wrong.clear()
        assert found.tree.add_object(TABLE, "k") == (3, 0)


def test_an_object_that_may_have_been_added_is_deleted_again(tmp_path: Path) -> None:
    good = Good()

    def added(request: Mapping[str, Any]) -> object:
        good.values[f"{TABLE}{request['instance']}.Name"] = ""
        return None

    good.wrong["add"] = added
    with bench(tmp_path, CONFIG, good.provider) as found:
        assert fault(lambda: found.tree.add_object(TABLE, "k"))[0] == 9002
        assert good.numbers() == [1]


@pytest.mark.parametrize("answer", [{"faults": {TABLE: [9001, "in use"]}}, None])
def test_an_object_that_a_provider_does_not_delete(tmp_path: Path, answer: object) -> None:
    good = Good(delete=answer)
    with bench(tmp_path, CONFIG, good.provider) as found:
        assert fault(lambda: found.tree.delete_object(f"{TABLE}1.", "k"))[0] == (9001 if answer else 9002)
        assert found.state.intent() is None
        assert found.tree.get_values([KEY]) == (text(KEY, ""),)


@pytest.mark.parametrize("op", ["add", "delete"])
def test_what_was_added_or_deleted_before_a_crash_is_done_once(tmp_path: Path, op: str) -> None:
    good = Good({op: {"faults": {TABLE: [9005, "done already"]}}})
    intent = (
        Intent(added=f"{TABLE}1.", parameter_key="k")
        if op == "add"
        else Intent(deleted=f"{TABLE}2.", parameter_key="k")
    )
    with bench(tmp_path, CONFIG, good.provider) as found:
        with found.state.change() as change:
            change.set_intent(intent)

        assert found.tree.carry_out_intent()

        assert found.tree.get_values([KEY]) == (text(KEY, "k"),)


def test_an_object_that_is_refused_at_the_start_is_given_up(tmp_path: Path) -> None:
    good = Good(add={"faults": {TABLE: [9004, "full"]}})
    with bench(tmp_path, CONFIG, good.provider) as found:
        with found.state.change() as change:
            change.set_intent(Intent(added=f"{TABLE}5.", parameter_key="k"))

        assert found.tree.carry_out_intent()

        assert found.tree.get_values([KEY]) == (text(KEY, ""),)
        assert found.notes == [f"an earlier request was given up: provider 'good': {TABLE}: full"]


# Locks and what else there is.


def test_s4_providers_are_locked_for_a_session(tmp_path: Path) -> None:
    good = Good()
    with bench(tmp_path, CONFIG, good.provider) as found:
        found.tree.lock()
        found.tree.unlock()
        found.tree.unlock()

        assert good.provider.ops() == ["lock", "unlock"]


def test_a_provider_that_cannot_lock_does_not_keep_a_session_from_being(tmp_path: Path) -> None:
    good = Good(lock={"faults": {"": [9001, "busy"]}})
    with bench(tmp_path, CONFIG, good.provider) as found:
        found.tree.lock()

        assert found.notes == ["lock: provider 'good': : busy"]
        assert len(found.tree.inform_values()) == 7


def test_p13_the_address_of_a_provider_is_in_each_inform(tmp_path: Path) -> None:
    good = Good(name="wan", prefix="WANDevice.")
    wan = f'wan = {{ parameter = "{OTHER.removeprefix(IGD)}" }}\n[install]'
    with bench(tmp_path, CONFIG.replace("[install]", wan), good.provider) as found:
        assert text(OTHER, "c") in found.tree.inform_values()
        found.tree.lock()
        found.tree.told(found.tree.inform_values())
        with found.state.change() as change:
            found.tree.keep_told(change)
        found.tree.unlock()

        good.wrong["get"] = None

        assert text(OTHER, "c") in found.tree.inform_values()
        assert found.tree.changes() == ()
        good.wrong.clear()
        good.values[OTHER] = "new"
        assert found.tree.active_change()


def test_a_provider_cannot_take_what_is_the_agents_own(tmp_path: Path) -> None:
    good = Good(name="info", prefix="DeviceInfo.")
    good.described = [{**PARAMETERS[0], "path": CODE}]
    with bench(tmp_path, CONFIG, good.provider) as found:
        assert found.tree.problems() == (f"provider 'info': {CODE} is the agent's own",)
        assert found.tree.get_values([CODE]) == (text(CODE, "TLCO"),)


def test_s4_a_local_change_waits_for_the_end_of_a_session(tmp_path: Path) -> None:
    good = Good()
    with bench(tmp_path, CONFIG, good.provider) as found:
        found.tree.lock()
        with pytest.raises(RefusedError):
            found.tree.set_locally(A, "x")
        assert good.values[A] == "a"


def test_threads_of_providers_end_with_the_tree(tmp_path: Path) -> None:
    before = threading.active_count()
    with bench(tmp_path, CONFIG + sample_provider(tmp_path)) as found:
        found.tree.get_values([LAN])
        assert threading.active_count() == before + 1

    assert threading.active_count() == before


def test_p45_the_whole_tree_again_and_again_leaves_nothing(tmp_path: Path) -> None:
    with bench(tmp_path, CONFIG + sample_provider(tmp_path)) as found:
        first = found.tree.get_values([""])
        commits, threads = found.state.commits, threading.active_count()
        for _ in range(50):
            assert found.tree.get_values([""]) == first

        assert (found.state.commits, threading.active_count()) == (commits, threads)
        assert len(found.processes) == 1


def file_provider(tmp_path: Path) -> FileProvider:
    path = tmp_path / "values.json"
    path.write_text(json.dumps({A: {"value": "a", "writable": True}}))
    return FileProvider("file", (f"{IGD}LANDevice.",), path)


def test_what_is_no_longer_in_a_file_is_9005(tmp_path: Path) -> None:
    patience = ProviderPatience(time.monotonic, 5)
    gone = ProviderFault(9005, "not in the file any more")

    found = file_provider(tmp_path)

    assert found.get([A, B], patience) == ValuesRead({A: "a"}, {B: gone})
    assert found.check({A: "x", B: "2"}, patience) == {B: gone}


def test_a_file_has_no_objects_to_add_or_delete(tmp_path: Path) -> None:
    patience = ProviderPatience(time.monotonic, 5)
    found = file_provider(tmp_path)

    with pytest.raises(ProviderError, match="no object can be added to a file"):
        found.add(TABLE, 1, patience)
    with pytest.raises(ProviderError, match="no object can be deleted from a file"):
        found.delete(f"{TABLE}1.", patience)


def test_a_file_that_cannot_be_written_is_left_as_it_is(tmp_path: Path) -> None:
    found = file_provider(tmp_path)
    before = (tmp_path / "values.json").read_bytes()
    with at_most(10), pytest.raises(ProviderError, match=r"values\.json: file too large"):
        found.put({A: "x" * 100}, ProviderPatience(time.monotonic, 5))

    assert (tmp_path / "values.json").read_bytes() == before


def test_a_file_larger_than_it_may_be_is_not_read(tmp_path: Path) -> None:
    found = file_provider(tmp_path)
    (tmp_path / "values.json").write_bytes(b" " * ((4 << 20) + 1))

    with pytest.raises(ProviderError) as caught:
        found.describe(ProviderPatience(time.monotonic, 5))

    assert str(caught.value) == "provider 'file': values.json: the file has more than 4194304 bytes"


def test_a_file_with_too_many_parameters_is_not_served(tmp_path: Path) -> None:
    found = file_provider(tmp_path)
    (tmp_path / "values.json").write_text(json.dumps({f"{A}{number}": {} for number in range(10_001)}))

    with pytest.raises(ProviderError, match="expected at most 10000 parameters, got 10001"):
        found.describe(ProviderPatience(time.monotonic, 5))

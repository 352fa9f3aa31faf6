#!/usr/bin/env python3
"""A complete provider of parameters for "spkg agent" (spkg-provider/1, docs/agent-parameters.md).

It serves some parameters of a gateway from a JSON file.  To make it your own, replace Store: what reads and
writes the settings of your gateway.  It needs nothing but Python.

    [[provider]]
    name = "gateway"
    command = ["/usr/lib/gateway/example.py", "/var/lib/gateway/parameters.json"]
    paths = ["LANDevice.", "Layer3Forwarding."]

With --socket PATH it listens at a socket instead, for socket = "PATH".
"""

import argparse
import contextlib
import ipaddress
import json
import os
import re
import socketserver
import sys
import threading

ROOT = "InternetGatewayDevice."
LAN = ROOT + "LANDevice.1."
ROUTES = ROOT + "Layer3Forwarding.Forwarding."

# What there is.  {i} stands for an instance number, which "list" then has to name.
PARAMETERS = [
    {"path": LAN + "LANHostConfigManagement.DHCPServerEnable", "type": "boolean", "writable": True},
    {"path": LAN + "LANHostConfigManagement.MinAddress", "type": "string(15)", "writable": True},
    {"path": LAN + "LANHostConfigManagement.MaxAddress", "type": "string(15)", "writable": True},
    {"path": LAN + "LANHostConfigManagement.DHCPLeaseTime", "type": "int[-1:]", "writable": True},
    {"path": LAN + "Hosts.HostNumberOfEntries", "type": "unsignedInt"},
    {"path": LAN + "Hosts.Host.{i}.IPAddress", "type": "string(15)"},
    {"path": LAN + "Hosts.Host.{i}.HostName", "type": "string(64)"},
    {"path": LAN + "Hosts.Host.{i}.Active", "type": "boolean", "notify": "no"},
    {"path": ROOT + "Layer3Forwarding.ForwardNumberOfEntries", "type": "unsignedInt"},
    {"path": ROUTES + "{i}.Enable", "type": "boolean", "writable": True, "default": "0"},
    {"path": ROUTES + "{i}.DestIPAddress", "type": "string(15)", "writable": True, "default": ""},
    {"path": ROUTES + "{i}.GatewayIPAddress", "type": "string(15)", "writable": True, "default": ""},
]
TABLES = [{"path": LAN + "Hosts.Host."}, {"path": ROUTES, "add": True, "max": 16}]
FACTORY = {
    LAN + "LANHostConfigManagement.DHCPServerEnable": "1",
    LAN + "LANHostConfigManagement.MinAddress": "192.168.1.64",
    LAN + "LANHostConfigManagement.MaxAddress": "192.168.1.253",
    LAN + "LANHostConfigManagement.DHCPLeaseTime": "86400",
    LAN + "Hosts.Host.1.IPAddress": "192.168.1.64",
    LAN + "Hosts.Host.1.HostName": "printer",
    LAN + "Hosts.Host.1.Active": "1",
}


class Store:
    """The settings, in a file that is replaced as a whole: a power cut leaves the old one or the new."""

    def __init__(self, path):
        self.path = path
        if not os.path.exists(path):
            self.write(dict(FACTORY))

    def read(self):
        with open(self.path, encoding="utf-8") as file:
            return json.load(file)

    def write(self, values):
        draft = self.path + ".new"
        with open(draft, "w", encoding="utf-8") as file:
            json.dump(values, file, indent=1, sort_keys=True)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, self.path)
        directory = os.open(os.path.dirname(os.path.abspath(self.path)), os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def version(self):
        status = os.stat(self.path)
        return status.st_ino, status.st_mtime_ns


class RefusedError(Exception):
    """The FaultCode and the reason for each name that something can't be done for."""

    def __init__(self, faults):
        self.faults = faults


def instances(values, table):
    """Return the instance numbers of a table."""
    return sorted({int(name[len(table) :].split(".")[0]) for name in values if name.startswith(table)})


def number_of(values, name):
    """Return the value of a parameter that counts instances; None for any other."""
    counted = {
        LAN + "Hosts.HostNumberOfEntries": LAN + "Hosts.Host.",
        ROOT + "Layer3Forwarding.ForwardNumberOfEntries": ROUTES,
    }
    return str(len(instances(values, counted[name]))) if name in counted else None


def wrong(values):
    """Return what is wrong with new values, as faults; the agent has checked names and types already."""
    faults = {}
    for name, value in values.items():
        if value and re.search(r"Address$", name):
            try:
                ipaddress.IPv4Address(value)
            except ValueError:
                faults[name] = [9007, "must be an IPv4 address"]
    return faults


def describe(store, request):
    return {"parameters": PARAMETERS, "tables": TABLES}


def list_instances(store, request):
    values = store.read()
    return {"instances": {one["path"]: instances(values, one["path"]) for one in TABLES}}


def get(store, request):
    values, found, faults = store.read(), {}, {}
    for name in request["names"]:
        value = number_of(values, name) or values.get(name)
        if value is None:
            faults[name] = [9005, "there is no such parameter"]  # it was listed, and has vanished
        else:
            found[name] = value
    return {"values": found, "faults": faults}


def check(store, request):
    return {"faults": wrong(request["values"])}


def set_values(store, request):
    faults = wrong(request["values"])
    if faults:
        raise RefusedError(faults)
    values = store.read()
    values.update(request["values"])
    store.write(values)  # all of them at once
    return {"status": 0}


def add(store, request):
    values = store.read()
    place = "{}{}.".format(request["table"], request["instance"])
    if any(name.startswith(place) for name in values):
        return {"status": 0}  # the request is repeated where its answer was lost
    for one in PARAMETERS:
        if one["path"].startswith(request["table"] + "{i}."):
            values[place + one["path"].rpartition(".")[2]] = one.get("default", "")
    store.write(values)
    return {"status": 0}


def delete(store, request):
    values = store.read()
    left = {name: value for name, value in values.items() if not name.startswith(request["object"])}
    if left != values:
        store.write(left)
    return {"status": 0}


def reset(store, request):
    store.write(dict(FACTORY))
    return {"status": 0}


def nothing(store, request):
    """Lock and unlock: whoever else changes settings should wait in between."""
    return {"status": 0}


WORK = {
    "describe": describe,
    "list": list_instances,
    "get": get,
    "check": check,
    "set": set_values,
    "add": add,
    "delete": delete,
    "lock": nothing,
    "unlock": nothing,
    "reset": reset,
}


def serve(store, lines, write):
    """Answer requests until there are no more; in between say what others have changed in the file."""
    writing = threading.Lock()
    ours = [store.version()]
    over = threading.Event()

    def say(document):
        with writing:
            write(json.dumps(document).encode() + b"\n")

    def watch():
        before = store.read()
        while not over.wait(1):
            with writing:
                changed = store.version() != ours[0]
                ours[0] = store.version()
            now = store.read()
            names = sorted(name for name in {*before, *now} if before.get(name) != now.get(name))
            before = now
            if changed and names:
                say({"changed": names})

    threading.Thread(target=watch, daemon=True).start()
    for line in lines:
        request = json.loads(line)
        try:
            with writing:
                answer = WORK[request["op"]](store, request)
                ours[0] = store.version()
        except RefusedError as exc:
            answer = {"faults": exc.faults}
        say({"id": request["id"], **answer})
    over.set()


def main():
    parser = argparse.ArgumentParser(description="Serve parameters of a gateway to spkg agent.")
    parser.add_argument("--socket", help="listen here; otherwise standard input and output")
    parser.add_argument("store", help="the JSON file with the values")
    arguments = parser.parse_args()
    store = Store(arguments.store)
    if arguments.socket is None:
        output = sys.stdout.buffer

        def write(octets):
            output.write(octets)
            output.flush()

        serve(store, sys.stdin.buffer, write)
        return

    class Handler(socketserver.StreamRequestHandler):
        def handle(self):
            serve(store, self.rfile, self.wfile.write)

    # From its own directory, since the name of a socket has at most 107 octets.
    directory, name = os.path.split(os.path.abspath(arguments.socket))
    os.chdir(directory)
    if os.path.exists(name):
        os.unlink(name)
    before = os.umask(0o077)  # for the agent's user alone
    with socketserver.ThreadingUnixStreamServer(name, Handler) as server:
        os.umask(before)
        server.serve_forever()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):  # the agent has ended
        main()

#!/bin/sh
# A provider for "spkg agent" as a shell script (spkg-provider/1, docs/agent-parameters.md): it is started for
# each request, reads one line, and writes one.  It serves settings from lines such as lease_time=86400.
#
#     [[provider]]
#     name = "dhcp"
#     script = ["/usr/lib/gateway/script.sh", "/etc/gateway.conf"]
#     paths = ["LANDevice.1.LANHostConfigManagement."]
#
# It reads JSON with jsonfilter, which every OpenWrt has, and writes it with printf.

set -eu
settings=$1
base=InternetGatewayDevice.LANDevice.1.LANHostConfigManagement.
# The parameters: name, key in the file, type.
table='DHCPServerEnable enabled boolean
MinAddress first string(15)
MaxAddress last string(15)
DHCPLeaseTime lease_time int[-1:]'

read -r request
field() { jsonfilter -s "$request" -e "$1"; }
quoted() { printf '"%s"' "$(printf %s "$1" | tr -d '\000-\037' | sed 's/\\/\\\\/g; s/"/\\"/g')"; }
key_of() { printf '%s\n' "$table" | while read -r name key _; do [ "$base$name" != "$1" ] || echo "$key"; done; }
value_of() { sed -n "s/^$1=//p" "$settings"; }
reply() { printf '{"id":%s,%s}\n' "$(field '@.id')" "$1"; }

describe() {
	comma=
	printf '%s\n' "$table" | while read -r name _ type; do
		printf '%s{"path":"%s","type":"%s","writable":true}' "$comma" "$base$name" "$type"
		comma=,
	done
}

get() {
	comma=
	field '@.names[*]' | while read -r name; do
		printf '%s"%s":' "$comma" "$name"
		quoted "$(value_of "$(key_of "$name")")"
		comma=,
	done
}

# What the agent can't know from the types alone.
check() {
	comma=
	for name in MinAddress MaxAddress; do
		value=$(field "@.values['$base$name']") || continue
		case $value in
		'' | *[!0-9.]*)
			printf '%s"%s":[9007,"must be an IPv4 address"]' "$comma" "$base$name"
			comma=,
			;;
		esac
	done
}

# All values at once: the file is replaced as a whole, so a power cut leaves the old one or the new one.
set_values() {
	draft=$settings.new
	cp "$settings" "$draft"
	printf '%s\n' "$table" | while read -r name key _; do
		value=$(field "@.values['$base$name']") || continue
		{ grep -v "^$key=" "$draft" || true; } >"$draft.2"
		printf '%s=%s\n' "$key" "$(printf %s "$value" | tr -d '\n')" >>"$draft.2"
		mv "$draft.2" "$draft"
	done
	sync
	mv "$draft" "$settings"
	sync
}

case $(field '@.op') in
describe) reply "\"parameters\":[$(describe)],\"tables\":[]" ;;
list) reply '"instances":{}' ;;
get) reply "\"values\":{$(get)},\"faults\":{}" ;;
check) reply "\"faults\":{$(check)}" ;;
set)
	set_values
	reply '"status":0'
	;;
*) reply '"status":0' ;; # lock, unlock, reset: nothing to do here
esac

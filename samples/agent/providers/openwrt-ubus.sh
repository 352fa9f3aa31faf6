#!/bin/sh
# A provider for "spkg agent" on OpenWrt: settings from uci, what is from ubus, static routes as a table
# (spkg-provider/1, docs/agent-parameters.md).  It is started for each request.
#
#     [[provider]]
#     name = "openwrt"
#     script = ["/usr/lib/spkg/openwrt-ubus.sh"]
#     paths = ["LANDevice.", "WANDevice.", "Layer3Forwarding."]
#
#     [device]
#     wan = { parameter = "WANDevice.1.WANConnectionDevice.1.WANIPConnection.1.ExternalIPAddress" }

set -eu
root=InternetGatewayDevice.
wan=${root}WANDevice.1.WANConnectionDevice.1.WANIPConnection.1.
lan=${root}LANDevice.1.LANHostConfigManagement.
routes=${root}Layer3Forwarding.Forwarding.
# The parameters: name, type, writable, where it is.  N is the number of a route, kept in a section route_N.
table="${lan}DHCPLeaseTime string(16) true uci:dhcp.lan.leasetime
${lan}DomainName string(64) true uci:dhcp.@dnsmasq[0].domain
${wan}ExternalIPAddress string(15) false ubus:@['ipv4-address'][0].address
${wan}ConnectionStatus string{Connected|Disconnected} false ubus:up
${wan}Uptime unsignedInt false ubus:@.uptime
${routes}{i}.DestIPAddress string(15) true uci:network.route_N.target
${routes}{i}.DestSubnetMask string(15) true uci:network.route_N.netmask
${routes}{i}.GatewayIPAddress string(15) true uci:network.route_N.gateway"

read -r request
field() { jsonfilter -s "$request" -e "$1"; }
quoted() { printf '"%s"' "$(printf %s "$1" | tr -d '\000-\037' | sed 's/\\/\\\\/g; s/"/\\"/g')"; }
reply() { printf '{"id":%s,%s}\n' "$(field '@.id')" "$1"; }
numbers() { uci -q show network | sed -n 's/^network\.route_\([1-9][0-9]*\)=route$/\1/p'; }

# Print where a parameter is: uci:…, or ubus:…
place_of() {
	number=
	pattern=$1
	case $1 in
	"$routes"*)
		number=${1#"$routes"}
		pattern="${routes}{i}.${number#*.}"
		number=${number%%.*}
		;;
	esac
	printf '%s\n' "$table" | while read -r name _ _ place; do
		[ "$name" != "$pattern" ] || printf '%s\n' "$place" | sed "s/route_N/route_$number/"
	done
}

status() { ubus call network.interface.wan status; }

value_of() {
	case $1 in
	uci:*) uci -q get "${1#uci:}" || true ;;
	ubus:up)
		case $(jsonfilter -s "$(status)" -e '@.up') in
		true | 1) echo Connected ;;
		*) echo Disconnected ;;
		esac
		;;
	ubus:@.uptime) jsonfilter -s "$(status)" -e '@.uptime' || echo 0 ;;
	ubus:*) jsonfilter -s "$(status)" -e "${1#ubus:}" || true ;;
	esac
}

describe() {
	comma=
	printf '%s\n' "$table" | while read -r name type writable _; do
		case $name in *Uptime) notify=',"notify":"no"' ;; *) notify= ;; esac
		printf '%s{"path":"%s","type":"%s","writable":%s%s}' "$comma" "$name" "$type" "$writable" "$notify"
		comma=,
	done
}

get() { # what is to be printed: values or faults
	comma=
	field '@.names[*]' | while read -r name; do
		place=$(place_of "$name")
		there=values
		case $place in
		'') there=faults ;;
		uci:network.route_*)
			section=${place#uci:network.}
			uci -q get "network.${section%%.*}" >/dev/null || there=faults
			;;
		esac
		[ "$there" = "$1" ] || continue
		printf '%s"%s":' "$comma" "$name"
		if [ "$1" = values ]; then quoted "$(value_of "$place")"; else printf '[9005,"gone"]'; fi
		comma=,
	done
}

set_values() {
	names=$(printf '%s\n' "$table" | while read -r name _ _ _; do
		case $name in
		"$routes"*) for number in $(numbers); do echo "$routes$number.${name##*.}"; done ;;
		*) echo "$name" ;;
		esac
	done)
	for name in $names; do
		value=$(field "@.values['$name']") || continue
		place=$(place_of "$name")
		uci set "${place#uci:}=$value"
	done
	uci commit dhcp
	uci commit network
	reload
}

reload() { ubus call uci reload_config >/dev/null 2>&1 || true; }

case $(field '@.op') in
describe) reply "\"parameters\":[$(describe)],\"tables\":[{\"path\":\"$routes\",\"add\":true,\"max\":64}]" ;;
list) reply "\"instances\":{\"$routes\":[$(numbers | tr '\n' ',' | sed 's/,$//')]}" ;;
get) reply "\"values\":{$(get values)},\"faults\":{$(get faults)}" ;;
check) reply '"faults":{}' ;;
set)
	set_values
	reply '"status":0'
	;;
add)
	uci set "network.route_$(field '@.instance')=route"
	uci commit network
	reply '"status":0'
	;;
delete)
	number=$(field '@.object')
	number=${number#"$routes"}
	uci -q delete "network.route_${number%.}" || true # done already, it is done
	uci commit network
	reload
	reply '"status":0'
	;;
*) reply '"status":0' ;; # lock and unlock; the command for factory resets resets uci
esac

# shellcheck shell=sh
# What the gateway's scripts share.  Sourced, never run: . /lib/gateway.sh
# shellcheck disable=SC2034  # the names below are for the scripts that source this

WAN_INTERFACE=nas0
LAN_INTERFACE=br-lan
LAN_PORTS='eth0 eth1'
LAN_ADDRESS=192.168.1.254
LAN_NETMASK=255.255.255.0

SETTINGS=/data/settings
RUN=/var/run
WAN_STATE=$RUN/wan.state

log() {
    logger -t "${0##*/}" -- "$*" || echo "${0##*/}: $*" >&2
}

# setting FILE KEY DEFAULT: the last "KEY=value" of FILE.  The file is read, never
# run as a script, so nothing typed into a settings page can become a command.
setting() {
    value=
    if [ -r "$1" ]; then
        value=$(sed -n "s/^$2=//p" "$1" | tail -n 1)
    fi
    printf '%s\n' "${value:-$3}"
}

# replace FILE: standard input becomes FILE in one step; readers see old or new.
replace() {
    cat >"$1.new.$$"
    mv "$1.new.$$" "$1"
}

#!/bin/sh
# Brings a Debian machine to the point where a make target can run.   tests/setup.sh PART...
# Only prints the names of a part's packages, one in a line.           tests/setup.sh --packages PART...
#
#   runtime   the Debian packages that the program runs on
#   lab       what the network labs use besides (web servers, certificates, clients)
#   tools     the developer tools, in a virtual environment build/venv that sees Debian's Python packages, and what
#             reads the manual pages and the completion
#   bpffs     the BPF file system on /sys/fs/bpf
#   vm        what builds and runs the virtual machine of tests/vm, on a machine of an architecture that it knows
#   deb       what makes the Debian package
#   servers   the servers that telemetry is tested with
#   routers   the routers that what we tell routers is tested with
#   browser   the browser that judges the console
#   package   what the tests of the package use besides: Debian's checker, and what builds and boots systems to install it
#   plots     what draws the pictures of the simulator
#   elasticsearch   what runs a real Elasticsearch; its jars in build/elasticsearch (from Maven), and another client
#   guest     what that machine has besides runtime and lab (only printed: tests.vm.image installs it there)
#
# Does nothing, and needs no root, where nothing is missing. It lives with the tests because nothing that is installed
# on an appliance uses it: there the package's dependencies do this work.
set -eu
cd "$(dirname "$0")/.."

PYTHON=/usr/bin/python3
RUNTIME='python3 python3-bpfcc python3-pyroute2 python3-jinja2 python3-yaml python3-sdnotify python3-h11 python3-h2
    python3-elasticsearch python3-aiohttp python3-prometheus-client
    libbpf1 linux-libc-dev mount util-linux'
LAB='iproute2 bpftool tcpdump ethtool nginx-light nftables openssl curl procps python3-jsonschema dnsmasq-base python3-grpcio
    rsyslog rsyslog-gnutls'
TOOLS='python3-venv python3-jsonschema ca-certificates man-db mandoc zsh fish'
DEB='debhelper dh-python dpkg-dev make'
SERVERS='prometheus'
ROUTERS='bird2 frr gobgpd'
BROWSER='chromium fonts-dejavu-core'
PLOTS='python3-matplotlib'
PACKAGE='lintian mmdebstrap systemd-container util-linux'
ELASTICSEARCH='maven default-jdk-headless python3-venv ca-certificates'
VM='mmdebstrap e2fsprogs qemu-utils qemu-system-x86 util-linux systemd-container'
GUEST='systemd-sysv dbus udev kmod linux-image-cloud-amd64 qemu-guest-agent iputils-ping tcpdump
    ipvsadm python3-pytest python3-pytest-timeout python3-hypothesis'

say() { printf 'setup: %s\n' "$*" >&2; }
fail() { say "$@"; exit 1; }

# Prints those of its arguments that are not installed. A package that Provides the name counts as well.
missing() {
    for package; do
        dpkg-query -W -f='${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed || printf '%s ' "$package"
    done
}

packages() {
    command -v dpkg-query >/dev/null || fail "this is no Debian system (no dpkg-query); install by hand what matches: $*"
    wanted=$(missing "$@")
    [ -n "$wanted" ] || return 0
    [ "$(id -u)" = 0 ] || fail "missing packages: $wanted- run this as root, or: apt-get install --no-install-recommends $wanted"
    say "installing $wanted"
    if ! apt_log=$(apt-get -q update 2>&1); then
        printf '%s\n' "$apt_log" >&2
        say "apt-get update failed (no network?); trying with the package lists that are here"
    fi
    # shellcheck disable=SC2086  # a list of words
    DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends install $wanted >&2 </dev/null ||
        fail "apt-get could not install: $wanted- is the machine online, and Debian's main archive in /etc/apt/sources.list?"
    # The labs start servers of their own, in namespaces; those that Debian starts at once would hold ports 80, 179 and 9090.
    for server in nginx-light:nginx prometheus:prometheus bird2:bird frr:frr gobgpd:gobgpd; do
        case " $wanted" in
        *" ${server%:*} "*) [ ! -d /run/systemd/system ] || systemctl -q disable --now "${server#*:}" ;;
        esac
    done
}

# Remade when the requirements or the interpreter change; built aside, so that an interrupted run leaves no half.
tools() {
    stamp="$($PYTHON --version) in $PWD
$(cat tests/requirements.txt)"
    [ ! -f build/venv/stamp ] || [ "$(cat build/venv/stamp)" != "$stamp" ] || return 0
    say "building the developer tools in build/venv"
    mkdir -p build
    rm -rf build/venv
    $PYTHON -m venv --system-site-packages build/venv || fail "$PYTHON -m venv failed"
    build/venv/bin/python -m pip install -q --disable-pip-version-check -r tests/requirements.txt >&2 ||
        fail "pip could not install tests/requirements.txt; the developer tools need the network once"
    printf '%s\n' "$stamp" >build/venv/stamp
}

# Besides the server, the client of Debian 13: the program is to work with that of either release.
elasticsearch() {
    $PYTHON -m tests.lab.elasticsearch || fail "no Elasticsearch for the tests; its jars need the network once"
    client='elasticsearch==8.17.2 aiohttp>=3.11,<4'
    stamp="$($PYTHON --version) in $PWD $client"
    [ ! -f build/elasticsearch-client/stamp ] || [ "$(cat build/elasticsearch-client/stamp)" != "$stamp" ] || return 0
    say "building another Elasticsearch client in build/elasticsearch-client"
    rm -rf build/elasticsearch-client
    # shellcheck disable=SC2086
    $PYTHON -m venv build/elasticsearch-client &&
        build/elasticsearch-client/bin/python -m pip install -q --disable-pip-version-check $client >&2 ||
        fail "pip could not install $client; it needs the network once"
    printf '%s\n' "$stamp" >build/elasticsearch-client/stamp
}

bpffs() {
    [ "$(stat -f -c %T /sys/fs/bpf 2>/dev/null)" != bpf_fs ] || return 0
    if [ "$(id -u)" != 0 ] || ! mount -t bpf bpf /sys/fs/bpf 2>/dev/null; then
        say "cannot mount the BPF file system on /sys/fs/bpf (not root, or a container without CAP_SYS_ADMIN);" \
            "what needs pinned programs will not run"
    fi
}

print=
[ "${1-}" != --packages ] || { print=yes; shift; }
[ $# -gt 0 ] || fail 'usage: tests/setup.sh [--packages] runtime|lab|tools|bpffs|vm|deb|package|elasticsearch|servers|routers|browser|plots|guest ...'
list=
for part; do
    case $part in
    runtime) list="$list $RUNTIME" ;;
    lab) list="$list $LAB" ;;
    tools) list="$list $TOOLS" ;;
    bpffs) ;;
    vm) case ${print:-$(uname -m)} in
        yes | x86_64) list="$list $VM" ;;
        *) say "the tests in a virtual machine will not run: they know no machine for $(uname -m)" ;;
        esac ;;
    deb) list="$list $DEB" ;;
    servers) list="$list $SERVERS" ;;
    routers) list="$list $ROUTERS" ;;
    browser) list="$list $BROWSER" ;;
    package) list="$list $PACKAGE" ;;
    plots) list="$list $PLOTS" ;;
    elasticsearch) list="$list $ELASTICSEARCH" ;;
    guest) [ -n "$print" ] || fail "part 'guest' is for the virtual machine; it can only be printed (--packages)"
        list="$list $GUEST" ;;
    *) fail "unknown part '$part' (runtime, lab, tools, bpffs, vm, deb, package, elasticsearch, servers, routers, browser, plots, guest)" ;;
    esac
done
# shellcheck disable=SC2086  # lists of words, here and below
[ -z "$print" ] || { printf '%s\n' $list; exit; }
# shellcheck disable=SC2086
packages $list
for part; do
    case $part in
    tools | bpffs | elasticsearch) $part ;;
    esac
done

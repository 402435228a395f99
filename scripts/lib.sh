# Sourced by the scripts beside it: installs what they need, once, and says so in one line each.
# shellcheck shell=bash
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export HOME=${HOME:-/root}
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/apm-ebpf
VENVS=$CACHE/venvs
LOG=$CACHE/${0##*/}.log
mkdir -p "$VENVS"
: >"$LOG"

die() {
	echo "${0##*/}: $*" >&2
	exit 1
}

say() { echo "== $*" >&2; }

# quietly WHAT COMMAND...: shows the command's output only where it fails.
quietly() {
	local what=$1
	shift
	"$@" >>"$LOG" 2>&1 </dev/null && return
	tail -n 20 "$LOG" >&2
	die "cannot $what; the whole output is in $LOG"
}

# locked COMMAND...: one installation at a time, also across scripts.
locked() {
	(
		flock 9
		"$@"
	) 9>"$CACHE/lock"
}

need_root() {
	[ "$(id -u)" = 0 ] || die "needs root ($1): run with sudo"
}

need_bpf() {
	need_root "to load BPF programs"
	[ -r /sys/kernel/btf/vmlinux ] ||
		die "no BTF in /sys/kernel/btf/vmlinux: needs Linux 5.10 or newer built with CONFIG_DEBUG_INFO_BTF, and /sys mounted"
}

# packages NAME...: installs those Debian packages that are missing. Other systems bring their own.
packages() {
	command -v apt-get >/dev/null || return 0
	local missing=() name
	for name; do
		[ "$(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null)" = installed ] || missing+=("$name")
	done
	[ ${#missing[@]} -gt 0 ] || return 0
	need_root "to install ${missing[*]}"
	say "installing ${missing[*]}"
	export DEBIAN_FRONTEND=noninteractive
	# One broken foreign source must not stop what the others can give.
	apt-get -qq update >>"$LOG" 2>&1 </dev/null || true
	quietly "install ${missing[*]}" \
		apt-get -qq -o DPkg::Lock::Timeout=300 install -y --no-install-recommends "${missing[@]}"
}

# go_directive NAME: a version that go.mod names.
go_directive() { sed -n "s/^$1 \(go\)\?//p" "$ROOT/go.mod"; }

go_is_recent() {
	local have want
	# Outside of the module: an old go stops at this go.mod.
	have=$(cd / && "$1" env GOVERSION 2>/dev/null) || return 1
	want=$(go_directive go)
	[ "$(printf '%s\n' "$want" "${have#go}" | sort -V | head -n 1)" = "$want" ]
}

# use_go: puts a go that is new enough for go.mod on the PATH.
use_go() {
	export GOTOOLCHAIN=local
	unset GOROOT
	local candidate
	for candidate in go /usr/local/go/bin/go "$CACHE/go/bin/go"; do
		if candidate=$(command -v "$candidate") && go_is_recent "$candidate"; then
			PATH=$(dirname "$candidate"):$PATH
			return
		fi
	done
	command -v go >/dev/null || packages ca-certificates golang-go
	command -v go >/dev/null || die "no Go here: install Go $(go_directive go) or newer"
	locked fetch_go
	PATH=$CACHE/go/bin:$PATH
}

# fetch_go: any old go can bring a new one, which is published as a module.
fetch_go() {
	local version
	version=$(go_directive toolchain)
	version=${version:-$(go_directive go)}
	say "fetching Go $version"
	toolchain "$version" || die "cannot fetch Go $version: $(cat "$CACHE/go.json") (log: $LOG)"
	ln -sfn "$TOOLCHAIN" "$CACHE/go"
}

# toolchain VERSION: brings a Go into go's cache of modules, in the directory TOOLCHAIN.
toolchain() {
	(cd / && GO111MODULE=on go mod download -json "golang.org/toolchain@v0.0.1-go$1.linux-$(go env GOARCH)") \
		>"$CACHE/go.json" 2>>"$LOG" || return 1
	TOOLCHAIN=$(sed -n 's/^[[:space:]]*"Dir": "\(.*\)",\?$/\1/p' "$CACHE/go.json")
	# Modules carry no run bits.
	chmod +x "$TOOLCHAIN"/bin/* "$TOOLCHAIN"/pkg/tool/*/*
}

# go_tool NAME VERSION MODULE: puts a program of that module's on the PATH. A fixed version: a new one finds new things.
go_tool() {
	local bin=$CACHE/$1-$2
	locked build_go_tool "$bin" "$@"
	PATH=$bin:$PATH
}

build_go_tool() {
	[ ! -x "$1/$2" ] || return 0
	say "building $2 $3"
	quietly "build $2" env GOBIN="$1" CGO_ENABLED=0 go install "$4@$3"
}

# system_python: the distribution's interpreter, with what it takes to make virtual environments.
system_python() {
	packages ca-certificates python3 python3-venv
	PYTHON=/usr/bin/python3
	[ -x "$PYTHON" ] || PYTHON=$(command -v python3) || die "no python3 here: install it, with its venv module"
}

# venv NAME PYTHON REQUIREMENTS: makes $VENVS/NAME, unless it is there and current.
venv() {
	local dir=$VENVS/$1 python=$2 requirements=$3 key
	key="$python $("$python" -V 2>&1) $(sha256sum <"$requirements")"
	[ "$(cat "$dir/key" 2>/dev/null)" != "$key" ] || return 0
	say "preparing Python packages: $1"
	rm -rf "$dir"
	if ! "$python" -m venv "$dir" ||
		! "$dir/bin/python" -m pip install -q --disable-pip-version-check -r "$requirements" </dev/null; then
		rm -rf "$dir"
		return 1
	fi >>"$LOG" 2>&1
	echo "$key" >"$dir/key"
}

# system_venv: $VENVS/system, from Debian's packages where the package index cannot be reached.
system_venv() {
	system_python
	locked venv system "$PYTHON" "$ROOT/scripts/requirements.txt" && return
	say "no answer from the Python package index: taking Debian's packages"
	packages python3-flask python3-gunicorn python3-django
	rm -rf "$VENVS/system"
	quietly "make a virtual environment" "$PYTHON" -m venv --without-pip --system-site-packages "$VENVS/system"
	"$VENVS/system/bin/python" -c 'import flask, gunicorn' 2>>"$LOG" ||
		die "flask and gunicorn cannot be installed; the reason is in $LOG"
}

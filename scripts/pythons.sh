# Sourced by test: interpreters that are newer than this system's, from the packages of Debian unstable. They are
# unpacked beside the system and told where their own libraries are; nothing is installed.
# shellcheck shell=bash
. "$(dirname "${BASH_SOURCE[0]}")/vm/debian.sh"

PYTHONS=$CACHE/pythons

# newer_python MINOR: makes $PYTHONS/3.MINOR/usr/bin/python3.MINOR, unless it is there.
newer_python() {
	local name=python3.$1 dir=$PYTHONS/3.$1 arch deb libs
	[ ! -x "$dir/usr/bin/$name" ] || return 0
	arch=$(dpkg --print-architecture)
	say "fetching Python 3.$1 of Debian unstable"
	packages patchelf
	open_release sid "$arch"
	quietly "fetch $name" in_release sid "$arch" apt-get -qq -y --download-only install "$name" "lib$name-dev"
	rm -rf "$dir.new"
	mkdir -p "$dir.new"
	for deb in "$VMS/apt/sid-$arch"/archives/*.deb; do
		dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$dir.new" --keep-directory-symlink
	done
	rm -rf "$VMS/apt/sid-$arch"/archives/*.deb "$dir"
	libs=$dir/usr/lib/$(uname -m)-linux-gnu
	# From the executable on, so that the libraries of its modules are found too.
	quietly "prepare $name" patchelf --force-rpath --set-rpath "$libs" \
		--set-interpreter "$(compgen -G "$dir.new/usr/lib*/*linux*.so.*" | sed "s|^$dir.new|$dir|" | head -n 1)" "$dir.new/usr/bin/$name"
	mv "$dir.new" "$dir"
	"$dir/usr/bin/$name" -c 'import asyncio, ssl'
}

# newer_venv MINOR REQUIREMENTS: makes $VENVS/3.MINOR, unless it is there and current. Packages are chosen for it by
# another pip: its own is not among its packages.
newer_venv() {
	local dir=$VENVS/3.$1 python=$PYTHONS/3.$1/usr/bin/python3.$1 key
	key="$python $("$python" -V) $(sha256sum <"$2")"
	[ "$(cat "$dir/key" 2>/dev/null)" != "$key" ] || return 0
	say "preparing Python packages: 3.$1"
	rm -rf "$dir"
	quietly "make a virtual environment for Python 3.$1" "$python" -m venv --without-pip "$dir"
	quietly "install packages for Python 3.$1" "$VENVS/system/bin/python" -m pip install -q --disable-pip-version-check \
		--target "$dir/lib/python3.$1/site-packages" --python-version "3.$1" --only-binary :all: -r "$2"
	echo "$key" >"$dir/key"
}

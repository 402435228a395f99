# Sourced by test: interpreters that are newer than this system's, from the packages of Debian unstable. They are
# unpacked beside the system and told where their own libraries are; nothing is installed. And those that no package has.
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

# free_threaded_python MINOR SUITE: builds $PYTHONS/3.MINORt/bin/python3.MINORt from the sources of that release of Debian,
# which has no package of it, unless it is there.
free_threaded_python() {
	local name=python3.$1t dir=$PYTHONS/3.$1t arch root source
	[ ! -x "$dir/bin/$name" ] || return 0
	arch=$(dpkg --print-architecture)
	root=$VMS/apt/$2-$arch
	source=$dir.new/source
	say "building free-threaded Python 3.$1 of Debian $2"
	packages gcc libffi-dev libssl-dev make xz-utils zlib1g-dev
	open_release "$2" "$arch"
	sed 's/^deb /deb-src /' "$root/sources.list" >"$root/sources.new"
	mv "$root/sources.new" "$root/sources.list"
	quietly "read the sources of Debian $2" in_release "$2" "$arch" apt-get -qq update
	rm -rf "$dir.new"
	mkdir -p "$source"
	(cd "$dir.new" && quietly "fetch the source of python3.$1" in_release "$2" "$arch" apt-get -qq source --download-only "python3.$1")
	tar -x -C "$source" --strip-components=1 -f "$dir.new"/*.orig.tar.xz
	(cd "$source" && quietly "configure $name" ./configure --disable-gil --disable-test-modules --prefix="$dir" CFLAGS=-O1)
	quietly "build $name" make -C "$source" -s -j "$(nproc)"
	quietly "install $name" make -C "$source" -s altinstall
	rm -rf "$dir.new" "$dir/bin/python3.$1" # the same under an ordinary build's name
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

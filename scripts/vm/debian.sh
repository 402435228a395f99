# Sourced by ../test-vm: kernels of Debian and Ubuntu releases and root file systems of Debian's, for any
# architecture. A release's Python comes with its kernel, so the machines cover interpreters as well.
# shellcheck shell=bash

VMS=$CACHE/vm

# in_release SUITE ARCH COMMAND...: an apt command that sees that release and nothing of what is installed here.
in_release() {
	local arch=$2 root=$VMS/apt/$1-$2 command=$3
	shift 3
	"$command" -o Dir::State="$root" -o Dir::State::status="$root/status" -o Dir::Cache="$root" \
		-o Dir::Etc::sourcelist="$root/sources.list" -o Dir::Etc::sourceparts=/dev/null \
		-o Dir::Etc::preferencesparts=/dev/null -o APT::Architecture="$arch" -o APT::Architectures="$arch" \
		-o APT::Sandbox::User=root -o Acquire::Languages=none -o APT::Install-Recommends=no "$@"
}

# open_release SUITE ARCH: reads what there is.
open_release() {
	local root=$VMS/apt/$1-$2
	mkdir -p "$root"/{lists,archives}/partial
	: >"$root/status"
	case $1 in
	jammy | noble) ubuntu_source "$1" "$2" >"$root/sources.list" ;;
	*) debian_source "$1" >"$root/sources.list" ;;
	esac
	quietly "read the packages of $1 for $2" in_release "$1" "$2" apt-get -qq update
}

# debian_source SUITE: from the mirror that this system uses.
debian_source() {
	local mirror
	# shellcheck disable=SC2016 # apt expands it
	mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Identifier: Packages' 'Label: Debian' | head -n 1)
	[ -n "$mirror" ] || die "apt knows no mirror of Debian here: the machines are made of its packages"
	echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $1 main"
}

# ubuntu_source SUITE ARCH: Ubuntu's keys are in a Debian package.
ubuntu_source() {
	local keys=$VMS/ubuntu-archive-keyring.gpg dir=$VMS/apt/keys
	if [ ! -f "$keys" ]; then
		open_release trixie "$2"
		rm -rf "$dir"
		mkdir "$dir"
		(cd "$dir" && quietly "fetch Ubuntu's keys" in_release trixie "$2" apt-get -qq download ubuntu-keyring)
		dpkg-deb --fsys-tarfile "$dir"/*.deb | tar -x -C "$VMS" --strip-components 4 ./usr/share/keyrings/"${keys##*/}"
		rm -rf "$dir"
	fi
	echo "deb [signed-by=$keys] $UBUNTU_MIRROR $1-updates main"
}

# kernel SUITE FLAVOUR ARCH: makes $VMS/SUITE-FLAVOUR-ARCH.vmlinuz of the newest kernel that linux-image-FLAVOUR stands
# for, unless it is there.
kernel() {
	local image=$VMS/$1-$2-$3.vmlinuz dir=$VMS/apt/$1-$3/kernel names name
	[ ! -f "$image" ] || return 0
	say "fetching the kernel $2 of $1 for $3"
	open_release "$1" "$3"
	rm -rf "$dir"
	mkdir "$dir"
	# Up to 6.x the image is in linux-image, from 7 on in linux-binary.
	names=$(in_release "$1" "$3" apt-cache depends --recurse --important "linux-image-$2" |
		grep -E '^linux-(image|binary)-[0-9]' | sort -u)
	for name in $names; do
		(cd "$dir" && quietly "fetch $name" in_release "$1" "$3" apt-get -qq download "$name")
	done
	for name in "$dir"/*.deb; do
		dpkg-deb --fsys-tarfile "$name" | tar -x -C "$dir" --wildcards --no-anchored 'vmlinuz*' 2>>"$LOG" || true
	done
	name=$(find "$dir" -name 'vmlinuz*' -type f | head -n 1)
	[ -n "$name" ] || die "no kernel in the packages of $1 for $3: $names"
	mv "$name" "$image"
	rm -rf "$dir"
}

PACKAGES='busybox-static python3-gunicorn python3-flask python3-uvicorn'

# root SUITE ARCH: makes $VMS/SUITE-ARCH.cpio of those packages with all they depend on, for the kernel to unpack
# into memory, unless it is there.
root() {
	local image=$VMS/$1-$2.cpio dir=$VMS/apt/$1-$2/root name
	[ ! -f "$image" ] || [ "$(cat "$image.packages" 2>/dev/null)" != "$PACKAGES" ] || return 0
	say "fetching Python and gunicorn of Debian $1 for $2"
	open_release "$1" "$2"
	# shellcheck disable=SC2086 # a list
	quietly "fetch Python and gunicorn of $1 for $2" \
		in_release "$1" "$2" apt-get -qq -y --download-only install $PACKAGES
	rm -rf "$dir"
	mkdir -p "$dir"/{dev,proc,sys,tmp,root,usr/bin,usr/sbin,usr/lib,usr/lib64}
	for name in bin sbin lib lib64; do ln -s "usr/$name" "$dir/$name"; done
	for name in "$VMS/apt/$1-$2"/archives/*.deb; do
		dpkg-deb --fsys-tarfile "$name" | tar -x -C "$dir" --keep-directory-symlink --exclude='./usr/share/*' \
			--exclude='./usr/lib/*/gconv' --exclude='./usr/lib/*/perl*' --exclude='./usr/lib/python3*/test' \
			--exclude='*/idlelib' --exclude='*/lib2to3' --exclude='*/pydoc_data'
	done
	(cd "$dir" && archive) >"$image.new"
	mv "$image.new" "$image"
	echo "$PACKAGES" >"$image.packages"
	rm -rf "$dir" "$VMS/apt/$1-$2"/archives/*.deb
}

# archive: the working directory as the kernel unpacks it. Several such follow each other as one.
archive() { find . | LC_ALL=C sort | cpio --quiet -o -H newc --owner=0:0; }

#!/bin/sh
# Run Python for ARM64 on another CPU: arm64.sh FOLDER ARGUMENTS... On Debian 12; no root needed, nothing is installed.
# The first time it downloads, into FOLDER, an emulator, Debian's Python, and the wheels of numpy, h5py and rich.
set -eu
folder=$1
shift
packages="libc6 libgcc-s1 libstdc++6 libexpat1 zlib1g libssl3 libbz2-1.0 liblzma5 libffi8 libsqlite3-0 libuuid1
    python3.11-minimal libpython3.11-minimal libpython3.11-stdlib"
if [ ! -d "$folder/wheels" ]; then
    mkdir -p "$folder/debs" "$folder/state/lists/partial" "$folder/cache/archives/partial"
    folder=$(cd "$folder" && pwd)
    (
        cd "$folder/debs"
        apt-get -q download qemu-user-static
        arm64="-o APT::Architecture=arm64 -o APT::Architectures::=arm64 -o Dir::State=$folder/state
            -o Dir::State::status=/dev/null -o Dir::Cache=$folder/cache"
        apt-get -q $arm64 update
        apt-get -q $arm64 download $packages
        for package in *.deb; do dpkg -x "$package" "$folder/root"; done
    )
    python3 -m pip install -q --target "$folder/partial" --only-binary=:all: --python-version 3.11 \
        --platform manylinux_2_28_aarch64 --platform manylinux_2_27_aarch64 --platform manylinux2014_aarch64 numpy h5py rich
    mv "$folder/partial" "$folder/wheels"
fi >&2
export PYTHONPATH="$folder/wheels:$(cd "$(dirname "$0")/.." && pwd)"
exec "$folder/root/usr/bin/qemu-aarch64-static" -L "$folder/root" "$folder/root/usr/bin/python3.11" "$@"

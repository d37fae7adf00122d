# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# Another architecture: a build for arm64, made here and tested on an arm64 kernel. clang and
# Debian's binutils build it against the root of the virtual machine, which has the libraries.

load ../lib/common

# More than the limit of tests/run, for a build, and suites in an emulated machine.
export BATS_TEST_TIMEOUT=1080

@test "arm64: the build has the same BPF object, and passes tests on an arm64 kernel" {
	local sysroot built=$ROOT/build/arm64 triplet=aarch64-linux-gnu
	requires build clang aarch64-linux-gnu-ld vm-arm64
	sysroot=$("$ROOT/scripts/vm" --arch arm64 --fetch)
	expect 0 env PKG_CONFIG_SYSROOT_DIR="$sysroot" PKG_CONFIG_LIBDIR="$sysroot/usr/lib/$triplet/pkgconfig" \
		make -C "$ROOT" -j"$(nproc)" BUILD="$built" CC="clang --target=$triplet --sysroot=$sysroot" \
		AR=$triplet-ar VARIANTS= tests
	expect 0 cmp "$ROOT/build/bpf/conncount.bpf.o" "$built/bpf/conncount.bpf.o"
	CONNCOUNT_BUILD=$built expect 0 "$ROOT/scripts/vm" --arch arm64 --timeout 900 -- \
		tests/run tests/unit/{cidr,config,lua}.bats tests/integration/sessions.bats
	expect_match '[1-9][0-9]* passed, 0 failed' "$output"
	sed -n '$ s/^/# /p' <<<"$output" >&3
}

# shellcheck shell=bats
# SPDX-License-Identifier: BSD-2-Clause
#
# The manifest for Kubernetes, checked by Kubernetes' own description of its resources, of which an
# npm package has made types: a field that does not exist, that lacks, or that has another type is an
# error.

load ../lib/common

setup() {
	requires kubernetes-types
	mkdir "$BATS_TEST_TMPDIR/node_modules"
	ln -s "$(kubernetes_types)" "$BATS_TEST_TMPDIR/node_modules/kubernetes-types"
	MANIFEST=$ROOT/user/dist/container/conncount.daemonset.yml
}

# accepted MANIFEST: checks each of its documents as the resource that it says to be.
accepted() {
	python3 -c '
import json, sys, yaml
for n, document in enumerate(yaml.safe_load_all(open(sys.argv[1]))):
    version, kind = document["apiVersion"], document["kind"]
    module = version if "/" in version else "core/" + version
    print(f"import {{ {kind} as Kind{n} }} from \"kubernetes-types/{module}\";")
    print(f"export const document{n}: Kind{n} = {json.dumps(document)};")
' "$1" >"$BATS_TEST_TMPDIR/manifest.ts" &&
		node "$(typescript)/bin/tsc" --noEmit --strict "$BATS_TEST_TMPDIR/manifest.ts"
}

# changed FROM TO: prints the manifest with TO in place of FROM.
changed() {
	grep -q -- "$1" "$MANIFEST" || fail "no $1 in the manifest"
	echo ---
	sed "s/$1/$2/" "$MANIFEST"
}

@test "Kubernetes' types accept the manifest" {
	expect 0 accepted "$MANIFEST"
}

@test "the check finds a field that does not exist, one that lacks, and one of another type" {
	local wrong=$BATS_TEST_TMPDIR/wrong.yml
	{
		changed hostPID hostPid
		changed '- name: load' '- title: load'
		changed 'runAsUser: 65534' 'runAsUser: nobody'
	} >"$wrong"
	expect 2 accepted "$wrong"
	expect_match 'hostPid.* does not exist' "$output"
	expect_match 'title.* does not exist|name.* is missing' "$output"
	expect_match "'string' is not assignable to type 'number'" "$output"
	expect_eq 3 "$(grep -c ': error ' <<<"$output")" errors
}

@test "the manifest and the units have the capabilities, the volume and the group of the manual" {
	local page=$ROOT/user/dist/man/conncount-containers.7 unit=$ROOT/user/dist/container/conncount.container
	local image=$ROOT/user/dist/container/Containerfile capabilities
	capabilities=$(sed -n 's/.*--cap-drop=all --cap-add=\([A-Z_,]*\) .e$/\1/p' "$page" | head -n 1)
	expect_eq 'SYS_ADMIN,NET_ADMIN,SYS_PTRACE,CHOWN' "$capabilities" manual
	grep -qF "add: [${capabilities//,/, }]" "$MANIFEST"
	grep -qxF "AddCapability=CAP_${capabilities//,/ CAP_}" "$unit"
	grep -qF 'path: /sys/fs/bpf/conncount,' "$MANIFEST"
	grep -qF 'runAsGroup: 10125' "$MANIFEST"
	grep -qF -- '--gid 10125 conncount' "$image"
}

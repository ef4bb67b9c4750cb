#!/usr/bin/env bash
# Which change of the deciding code does no test notice? cargo-mutants on layers 0 and 1: src/api, src/policy, src/recreate, src/workload.
#
# They are pure and need few crates, so they are taken out into a package of their own, where a mutant is built and tested
# in a few seconds; in the whole crate it takes minutes. Arguments go to `cargo mutants`: --list, --file 'src/api/**', -j 4.
# Without any, all of them are tried, and docs/proof/mutation.md tells what became of them.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/../.."
tools=$PWD/.cluster/mutants
table=$PWD/tests/mutants/table.sh
package=${CARGO_TARGET_DIR:-$PWD/target}/mutants
version=27.1.0

[ "$("$tools/bin/cargo-mutants" mutants --version 2>/dev/null)" = "cargo-mutants $version" ] ||
    cargo install --quiet --locked --version "$version" --root "$tools" cargo-mutants
export PATH=$tools/bin:$PATH

# A line of a table in Cargo.toml: the very requirement of the crate itself.
requirement() {
    grep -E "^$1 = " Cargo.toml
}

mkdir -p "$package/src" "$package/.cargo"
{
    printf '[package]\nname = "rso"\nversion = "0.0.0"\nedition = "2024"\n\n[workspace]\n\n[lib]\ndoctest = false\n\n[features]\ndefault = ["testing"]\ntesting = []\n\n[dependencies]\n'
    for name in serde serde_json json-patch jiff humantime flate2 sha2 base64 thiserror k8s-openapi; do requirement $name; done
    printf '\n[dev-dependencies]\n'
    requirement proptest
    printf '\n[profile.dev]\ndebug = false\n\n[profile.dev.package."*"]\nopt-level = 2\n'
} >"$package/Cargo.toml"
printf 'pub mod api;\npub mod policy;\npub mod recreate;\npub mod workload;\n' >"$package/src/lib.rs"
cp Cargo.lock rust-toolchain.toml "$package/"
cp tests/mutants/mutants.toml "$package/.cargo/mutants.toml"
for room in api policy recreate workload; do
    rm -rf "$package/src/$room"
    cp -r "src/$room" "$package/src/"
done
cd "$package"

# What is excused must still be there to be excused.
listed=$(cargo mutants --no-config --list)
excuses=$(sed -n "s/^ *'\(.*\)',$/\1/p" .cargo/mutants.toml)
while read -r excuse; do
    grep -qE "$excuse" <<<"$listed" || { echo "tests/mutants/mutants.toml: matches no mutant: $excuse" >&2; exit 1; }
done <<<"$excuses"

# A test that fails is enough; the smallest case is not asked for. The tests take about two seconds.
mutants() { env -u CARGO_TARGET_DIR PROPTEST_MAX_SHRINK_ITERS=0 cargo mutants --timeout 30 "$@"; }

[ $# = 0 ] || { mutants "$@"; exit; }
mutants -j "$(nproc)"
grep -E "$excuses" <<<"$listed" >mutants.out/excused.txt
"$table" "$PWD/mutants.out"

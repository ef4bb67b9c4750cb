#!/usr/bin/env bash
# Which change of the deciding code does no test notice? `cargo mutants` on layers 0 and 1.
#
# They are pure and need few crates, so they are taken out into a package of their own, where a mutant is built and tested
# in seconds. The versions are those of Cargo.lock. Further arguments go to `cargo mutants`: --list, --file 'src/api/**'.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/../.."
top=$PWD
package=${CARGO_TARGET_DIR:-$top/target}/mutants
tests/mutants/package.sh "$package"
cd "$package"
exec cargo mutants "$@"

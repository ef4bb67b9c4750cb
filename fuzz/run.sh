#!/usr/bin/env bash
# Runs fuzz targets with libFuzzer and writes what they did to the table in docs/proof/fuzzing.md.
# usage: run.sh time SECONDS [TARGET...]   each target for so long, JOBS at a time (default: one for each core)
#        run.sh merge [TARGET...]          takes what reaches new code from the last runs into fuzz/corpus
#
# No nightly compiler: the flags that make coverage visible are stable, and there is no unsafe code for a sanitizer to
# watch. `cargo fuzz` knows the same targets (with `--features libfuzzer`).
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
work=.cluster/fuzz
page=$(grep -lF '<!-- fuzz: begin,' docs/reliability.md docs/proof/*.md)
triple=$(uname -m)-unknown-linux-gnu
programs=${CARGO_TARGET_DIR:-target}/$triple/fuzz

build() {
    command -v c++ >/dev/null || { echo "missing: c++, which compiles libFuzzer. On Debian: apt-get install g++" >&2; exit 1; }
    echo "  building the targets ..."
    RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
        -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
        -Cllvm-args=-sanitizer-coverage-trace-compares -Cllvm-args=-simplifycfg-branch-fold-threshold=0 --cfg fuzzing" \
        cargo build --locked --quiet --profile fuzz --target "$triple" --package rso-fuzz --features libfuzzer --bins
}

# run SECONDS TARGET: a line of the table lands in its folder.
run() {
    local seconds=$1 target=$2 log=$work/$2.log found executed
    mkdir -p "$work/$target" "fuzz/artifacts/$target"
    # The most that a bomb takes is well below this; more is a finding.
    "$programs/$target" "$work/$target" "fuzz/corpus/$target" -max_total_time="$seconds" -rss_limit_mb=2048 -timeout=60 \
        -len_control=0 -max_len=4096 -dict=fuzz/words.dict -print_final_stats=1 -artifact_prefix="fuzz/artifacts/$target/" >"$log" 2>&1 || true
    found=$(find "fuzz/artifacts/$target" -type f | wc -l)
    executed=$(stat_of number_of_executed_units "$log")
    printf '| %s | %s | %d s | %s | %s | %s | %s MiB | %s | %s |\n' "$target" "$(sed -n '1s|^//! \(.*\)\.$|\1|p' "fuzz/fuzz_targets/$target.rs")" \
        "$seconds" "$(thousands "$executed")" "$(thousands "$(stat_of average_exec_per_sec "$log")")" \
        "$(grep -o ' ft: [0-9]*' "$log" | tail -1 | grep -o '[0-9]*')" "$(stat_of peak_rss_mb "$log")" "$found" "$(date -u +%F)" >"$work/$target.row"
    cat "$work/$target.row"
    [ "$found" = 0 ] || { tail -40 "$log" | cut -c1-300; echo "$target: see fuzz/artifacts/$target and $log"; }
}

stat_of() { awk -v name="stat::$1:" '$1 == name { value = $2 } END { print value + 0 }' "$2"; }
thousands() { sed -e :a -e 's/\([0-9]\)\([0-9]\{3\}\)\($\|,\)/\1,\2\3/;ta' <<<"$1"; }

# Rows of targets that have not run now stay as they are.
write_table() {
    local begin='<!-- fuzz: begin, written by make fuzz -->' end='<!-- fuzz: end -->' rows
    rows=$({
        for target in "$@"; do cat "$work/$target.row"; done
        awk -v begin="$begin" -v end="$end" '$0 == end { on = 0 } on && /^\| [a-z_]+ \|/; $0 == begin { on = 1 }' "$page"
    } | awk -F ' \\| |^\\| ' '!known[$2]++' | sort)
    sum=$(awk -F ' \\| ' '{ gsub(",", "", $4); gsub(" s", "", $3); runs += $4; crashes += $8; seconds += $3 } END { printf "%d %d %d", runs, crashes, seconds }' <<<"$rows")
    read -r executed found took <<<"$sum"
    {
        sed "/^$begin\$/q" "$page"
        echo '| Target | What it is given | Time | Executions | a second | Features | Memory | Findings | Date |'
        echo '|---|---|---|---|---|---|---|---|---|'
        echo "$rows"
        echo "| **Together** | | **$(thousands "$took") s** | **$(thousands "$executed")** | | | | **$found** | |"
        sed -n "/^$end\$/,\$p" "$page"
    } >"$work/page"
    cat "$work/page" >"$page"
    echo "  together: $(thousands "$executed") executions in $(thousands "$took") s, $found findings"
}

targets() {
    if [ $# -gt 0 ]; then
        printf '%s\n' "$@"
    else
        find fuzz/fuzz_targets -name '*.rs' -printf '%f\n' | sed 's/\.rs$//' | sort
    fi
}

mkdir -p "$work"
mode=$1; shift
case $mode in
time)
    seconds=$1; shift
    build
    mapfile -t all < <(targets "$@")
    for target in "${all[@]}"; do
        while [ "$(jobs -rp | wc -l)" -ge "${JOBS:-$(nproc)}" ]; do wait -n; done
        run "$seconds" "$target" &
    done
    wait
    write_table "${all[@]}"
    [ -z "$(find fuzz/artifacts -type f)" ]
    ;;
merge)
    build
    for target in $(targets "$@"); do
        mkdir -p "$work/$target"
        # Lines that are reached, not how often: a corpus for people's eyes.
        "$programs/$target" -set_cover_merge=1 -use_counters=0 "fuzz/corpus/$target" "$work/$target" >"$work/$target.log" 2>&1
        echo "  $target: $(find "fuzz/corpus/$target" -type f | wc -l) files"
    done
    ;;
*)
    echo "run.sh does not know '$mode'" >&2
    exit 2
    ;;
esac

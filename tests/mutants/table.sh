#!/usr/bin/env bash
# What became of the mutants, file by file, from the folders in which cargo-mutants has told it: into docs/proof/mutation.md.
set -euo pipefail
docs=$(dirname "$(readlink -f "$0")")/../../docs
begin='<!-- mutants: begin,' end='<!-- mutants: end -->'
page=$(grep -lF "$begin" "$docs"/reliability.md "$docs"/proof/*.md)

table=$(
    for outcome in caught timeout unviable excused missed; do
        for told in "$@"; do
            [ ! -e "$told/$outcome.txt" ] || sed "s/:.*//; s/^/$outcome /" "$told/$outcome.txt"
        done
    done | awk '
        { count[$2, $1]++; all[$2]++; sum[$1]++; files[$2] }
        function cell(n) { return n ? n : "" }
        END {
            for (file in files)
                printf "| `%s` | %d | %s | %s | %s | %s | %d |\n", file, all[file], cell(count[file, "caught"]),
                    cell(count[file, "timeout"]), cell(count[file, "unviable"]), cell(count[file, "excused"]),
                    count[file, "missed"] | "sort"
            close("sort")
            printf "| **Together** | **%d** | **%d** | **%d** | **%d** | **%d** | **%d** |\n", NR, sum["caught"],
                sum["timeout"], sum["unviable"], sum["excused"], sum["missed"]
        }'
)
grep -qF "$end" "$page"
{
    sed "/$begin/q" "$page"
    printf '| File | Mutants | Caught | Too slow | Not code | Excused | Survived |\n|---|---|---|---|---|---|---|\n%s\n\n%s\n' \
        "$table" "$(date +%F)."
    sed -n "/$end/,\$p" "$page"
} >"$page.new"
mv "$page.new" "$page"

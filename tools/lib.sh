# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# Shared by the developer commands; sourced, never run. Afterwards the current directory is the
# tree's root and $jobs says how many processes a build may use.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
jobs=${JOBS:-$(nproc)}
if command -v ccache >/dev/null; then # welcome when it is there, never needed
    export CMAKE_C_COMPILER_LAUNCHER=ccache CMAKE_CXX_COMPILER_LAUNCHER=ccache
fi

# die WHAT [NEXT STEP]
die() {
    printf 'error: %s\n' "$1" >&2
    [ $# -lt 2 ] || printf 'next:  %s\n' "$2" >&2
    exit 1
}

# build PRESET [TARGET...]: silent when it works; otherwise the compiler's first complaints.
build() {
    local preset=$1 log=build/logs/build-$1.log
    shift
    mkdir -p build/logs
    if cmake --preset "$preset" >"$log" 2>&1 &&
        cmake --build --preset "$preset" -j "$jobs" ${1:+--target "$@"} >>"$log" 2>&1; then
        return
    fi
    grep -m1 -A40 -E 'error:|FAILED:|Error at' "$log" >&2 || tail -n 40 "$log" >&2
    die "the $preset build failed" "the whole log is $log"
}

# Files that differ from the branch point on main, or from the last commit when on main itself,
# plus what is not committed yet. Without a history: every file.
changed_files() {
    local base
    base=$(git merge-base main HEAD 2>/dev/null || git merge-base origin/main HEAD 2>/dev/null) || true
    if [ -z "$base" ] || [ "$base" = "$(git rev-parse HEAD)" ]; then
        base=$(git rev-parse -q --verify HEAD~) || { git ls-files; return; }
    fi
    { git diff --name-only --diff-filter=d "$base"; git ls-files --others --exclude-standard; } | sort -u
}

# source_files all|changed PATTERN...: those of the tree's files that match.
source_files() {
    local which=$1
    shift
    if [ "$which" = all ]; then
        git ls-files --cached --others --exclude-standard -- "$@" | while read -r f; do [ ! -f "$f" ] || echo "$f"; done
    else
        comm -12 <(changed_files) <(git ls-files --cached --others --exclude-standard -- "$@" | sort)
    fi
}

# shellcheck shell=bash
# Steps with a watchdog and a table of their results; sourced by scripts/test and scripts/deep.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root" || exit

# Where cargo builds. Builds with other flags get directories of their own below it, so that neither spoils the other.
target=${CARGO_TARGET_DIR:-$root/target}
export CARGO_TARGET_DIR=$target

results=()
failures=0
running=

# A step is a process group of its own; it must not outlive this script, however the script ends.
end_running_step() {
    if [[ -n $running ]]; then
        # A platform's keepers ignore TERM.
        if kill -TERM -- "-$running" 2>/dev/null; then
            sleep 0.5
            kill -KILL -- "-$running" 2>/dev/null || true
        fi
        running=
    fi
}
trap end_running_step EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

have() {
    command -v "$1" >/dev/null 2>&1
}

# record NAME RESULT SECONDS
record() {
    results+=("$(printf '%-28s %5d s  %s' "$1" "$3" "$2")")
    if [[ $2 == FAILED* ]]; then
        failures=$((failures + 1))
    fi
}

# step NAME LIMIT COMMAND...: runs a command that is ended after LIMIT seconds with all that it started.
step() {
    local name=$1 limit=$2 status=0 began=$SECONDS result
    shift 2
    printf '\n==> %s: %s\n' "$name" "$*"
    # Job control gives the command a process group of its own and leaves its signals as they are by default.
    set -m
    timeout --kill-after=20 "$limit" "$@" </dev/null &
    running=$!
    set +m
    wait "$running" || status=$?
    # What the command itself left behind.
    end_running_step
    case $status in
        0) result=passed ;;
        75) result='could not run (see above)' ;;
        124 | 137) result="FAILED: ended after $limit s, or killed" ;;
        *) result="FAILED: exit status $status" ;;
    esac
    record "$name" "$result" $((SECONDS - began))
    printf '<== %s: %s, %d s\n' "$name" "$result" $((SECONDS - began))
}

# could_not_run NAME WHY
could_not_run() {
    printf '\n==> %s: could not run: %s\n' "$1" "$2"
    record "$1" "could not run: $2" 0
}

# Prints the table; the exit status says whether something failed.
summary() {
    printf '\n%s, %s, %d processors\n' "$(rustc --version)" "$(uname -srm)" "$(nproc)"
    printf '%s\n' "${results[@]}"
    printf '%-28s %5d s  %s\n' total "$SECONDS" "$failures failed"
    ((failures == 0))
}

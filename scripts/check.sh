#!/bin/bash
# Runs the project's checks, all of them even when one fails, and prints how long each took.
#
#   scripts/check.sh all            every check
#   scripts/check.sh all tests      every check, then every test
#   scripts/check.sh lint types     only these
#   scripts/check.sh bench          every module of tests/bench
#
# PYTEST_ADDOPTS reaches pytest, as always.
set -u
cd "$(dirname "$0")/.." || exit 1
python=.venv/bin/python
code=(nexushub tui web tests)
failed=()
times=()

run() {
    local name=$1 began=$EPOCHREALTIME outcome=ok
    shift
    printf '== %s: %s\n' "$name" "$*"
    if ! "$@"; then
        outcome=FAILED
        failed+=("$name")
    fi
    local spent=$(((${EPOCHREALTIME/./} - ${began/./}) / 1000))
    times+=("$(printf '%-10s %6d.%03d s  %s' "$name" $((spent / 1000)) $((spent % 1000)) "$outcome")")
}

bench() {
    local module outcome=0
    for module in tests/bench/[a-z]*.py; do
        module=${module//\//.}
        "$python" -m "${module%.py}" --json || outcome=1
    done
    return $outcome
}

step() {
    case $1 in
        format) run format "$python" -m ruff format --check --quiet . ;;
        lint) run lint "$python" -m ruff check --quiet . ;;
        types) run types "$python" -m mypy --no-error-summary "${code[@]}" ;;
        imports) run imports .venv/bin/lint-imports --no-logo ;;
        unused) run unused "$python" -m deptry . ;;
        layout) run layout "$python" -m pytest -q -p no:cacheprovider tests/test_layout.py ;;
        shell) run shell shellcheck scripts/*.sh .ci/run ;;
        tests) run tests "$python" -m pytest -q -n "$(nproc)" ;;
        bench) run bench bench ;;
        all) for each in format lint types imports unused layout shell; do step "$each"; done ;;
        *)
            echo "scripts/check.sh: there is no check '$1'" >&2
            exit 2
            ;;
    esac
}

for name in "${@:-all}"; do step "$name"; done
printf '\n'
printf '%s\n' "${times[@]}"
if [ ${#failed[@]} -gt 0 ]; then
    printf 'failed: %s\n' "${failed[*]}"
    exit 1
fi

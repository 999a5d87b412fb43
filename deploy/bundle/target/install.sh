#!/bin/sh
# Installs this bundle without a network: ./install.sh PREFIX [--models A,B] [--without X,Y]
#
# It lies beside the parts of a bundle, which may have come in any order, or in an unpacked one. It
# needs sh, cat, tar, sed, sha256sum and the Python that the bundle was made for; nothing of the
# bundle is run before its digests are found right.
set -eu

usage() {
    cat <<'END'
usage: ./install.sh PREFIX [--models NAME,NAME] [--without NAME,NAME]

Installs into the folder PREFIX; what was installed there before is replaced once everything is ready.

  --models NAME,NAME    only these models, with what they need
  --without NAME,NAME   what this machine's Python has already, or nobody needs:
                        onnxruntime, cuda-libraries, gpu-check
  PYTHON=...            (environment) the Python to use; otherwise python3
END
}

fail() {
    echo "error: $*" >&2
    exit 1
}

prefix= models= without=
while [ $# -gt 0 ]; do
    case $1 in
        -h | --help) usage; exit 0 ;;
        --models | --without)
            [ $# -ge 2 ] || fail "$1 needs names, with commas between them"
            if [ "$1" = --models ]; then models=$models,$2; else without=$without,$2; fi
            shift 2 ;;
        --models=*) models=$models,${1#*=}; shift ;;
        --without=*) without=$without,${1#*=}; shift ;;
        -*) fail "there is no option $1; ./install.sh --help shows them" ;;
        *)
            [ -z "$prefix" ] || fail "one folder is needed, and '$prefix' and '$1' are two"
            [ -n "$1" ] || fail "PREFIX is empty"
            prefix=$1; shift ;;
    esac
done
[ -n "$prefix" ] || { usage >&2; exit 2; }

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
for needed in cat tar sed sha256sum; do
    command -v "$needed" >/dev/null || fail "the program $needed is needed and not here"
done
for needed in SHA256SUMS bundle.json; do
    [ -f "$here/$needed" ] || fail "$here/$needed is missing: send it again"
done

# Says in words which of the files that SHA256SUMS names are missing or damaged.
check() {
    [ -z "$(sed '/^[0-9a-f]\{64\}  ./d' "$1/SHA256SUMS")" ] || fail "$1/SHA256SUMS is damaged: send it again"
    if ! report=$(cd -- "$1" && LC_ALL=C sha256sum -c SHA256SUMS 2>/dev/null); then
        printf '%s\n' "$report" | sed -n \
            -e 's/^\(.*\): FAILED open or read$/error: \1 is missing: send it again/p' \
            -e 's/^\(.*\): FAILED$/error: \1 is damaged, its SHA-256 differs: send it again/p' >&2
        fail "nothing was changed"
    fi
}

echo "checking $(($(wc -l <"$here/SHA256SUMS"))) files ..."
check "$here"

fact() {
    sed -n "s/^ \"$1\": \"\(.*\)\",\$/\1/p" "$here/bundle.json"
}
needs=$(fact python)
bundle=$(fact name)-$(fact version)-$(fact device)

if [ -n "${PYTHON:-}" ]; then set -- "$PYTHON"; else set -- python3 "python$needs"; fi
python=
for candidate; do
    if "$candidate" -c 'import sys
sys.exit("%d.%d" % sys.version_info[:2] != sys.argv[1])' "$needs" 2>/dev/null; then
        python=$candidate
        break
    fi
done
if [ -z "$python" ]; then
    have=$("$1" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null) || have=missing
    fail "this bundle needs Python $needs and $1 is $have: name one with PYTHON=, or make a bundle" \
        "for this one with BUNDLE_PYTHON="
fi

mkdir -p -- "$prefix" 2>/dev/null || fail "the folder $prefix cannot be made"
prefix=$(CDPATH='' cd -- "$prefix" && pwd -P)
[ -w "$prefix" ] || fail "the folder $prefix cannot be written to"
[ -f "$prefix/.model-serving" ] || [ -z "$(ls -A -- "$prefix")" ] ||
    fail "the folder $prefix holds something else: name an empty or a new one"
: >"$prefix/.model-serving"

work=
tidy() {
    [ -z "$work" ] || rm -rf -- "$work"
    # Made for nothing.
    [ -L "$prefix/current" ] || rm -f -- "$prefix/.model-serving"
    rmdir -- "$prefix" 2>/dev/null || :
}
trap tidy EXIT
trap 'echo "interrupted: nothing was changed" >&2; exit 130' HUP INT TERM

if [ -d "$here/wheels" ]; then
    root=$here
else
    # Of installations that were killed.
    for left in "$prefix"/.unpacked.*; do
        kill -0 "${left##*.}" 2>/dev/null || rm -rf -- "$left"
    done
    work=$prefix/.unpacked.$$
    mkdir -- "$work"
    echo "unpacking ..."
    joined() {
        sed -n 's/^[0-9a-f]*  \(.*\.tar.*\)$/\1/p' "$here/SHA256SUMS" |
            while IFS= read -r part; do cat -- "$here/$part" || exit; done
    }
    plain() {
        if [ "$(fact compress)" != xz ]; then
            cat
        elif "$python" -c 'import lzma' 2>/dev/null; then
            "$python" -c 'import lzma, shutil, sys
shutil.copyfileobj(lzma.open(sys.stdin.buffer), sys.stdout.buffer, 1 << 20)'
        else
            xz -dc
        fi
    }
    joined | plain | tar -xof - -C "$work" || fail "the parts cannot be unpacked in $prefix: is there room?"
    root=$work/$bundle
    [ -f "$root/SHA256SUMS" ] || fail "the parts hold no $bundle"
    echo "checking $(($(wc -l <"$root/SHA256SUMS"))) files ..."
    check "$root"
fi
trap - EXIT HUP INT TERM
exec "$python" -E "$root/app/deploy/bundle/target/run.py" deploy.bundle.target.install \
    --bundle "$root" --prefix "$prefix" --models "$models" --without "$without" \
    ${work:+--unpacked "$work"}

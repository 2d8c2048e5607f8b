#!/usr/bin/env bash
# numba 0.68.1: a function with `fastmath` (or `error_model`) hands its flags on to every plain `@njit` function that it
# is the first to compile. That function keeps them: when it is called directly later, and on disk with `cache=True`,
# from where another process takes them that never saw the caller. What `njit` of the callee says itself is kept
# (`fastmath=False` too), and a caller of flags of its own between the two hands on its own. So the same source computes
# other numbers by which function was called first.
set -euo pipefail
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
python3 -m venv "$here/env"
"$here/env/bin/pip" install -q --disable-pip-version-check numba==0.68.1 numpy==2.4.6
export NUMBA_CACHE_DIR="$here/kept" PYTHONPATH="$here"
cat > "$here/sums.py" <<'P'
from numba import njit

# (x + 1) - x is 0 for x = 1e20, as it is written; reassociated it is 1

@njit
def plain(x):
    return (x + 1.0) - x

@njit(cache=True)
def kept(x):
    return (x + 1.0) - x

@njit(fastmath=False)
def said(x):
    return (x + 1.0) - x

@njit
def inner(x):
    return (x + 1.0) - x

@njit
def between(x):
    return inner(x)

@njit
def behind(x):
    return (x + 1.0) - x

@njit(fastmath=False)
def wall(x):
    return behind(x)

@njit
def first(x):
    return (x + 1.0) - x

@njit
def inverse(x):
    return 1.0 / x

@njit(fastmath={"reassoc", "nsz"})
def fast(x):
    return plain(x), kept(x), said(x), between(x), wall(x), first(x)

@njit(error_model="numpy")
def quiet(x):
    return inverse(x)
P
cat > "$here/show.py" <<'P'
import numba, numpy
import sums

print("numba", numba.__version__, "numpy", numpy.__version__)
x, failed = 1e20, []

def look(what, found, expected):
    print(f"{what:62} {found!r}")
    if found != expected:
        failed.append(f"{what}: {found!r}, was {expected!r}")

look("first(x), called before anything is fast", sums.first(x), 0.0)
sums.fast(x)
look("plain(x), directly, after fast(x)", sums.plain(x), 1.0)
look("kept(x) with cache=True, directly, after fast(x)", sums.kept(x), 1.0)
look("said(x) with fastmath=False, directly, after fast(x)", sums.said(x), 0.0)
look("between(x), which says nothing and calls inner", sums.between(x), 1.0)
look("inner(x), two calls below fast(x)", sums.inner(x), 1.0)
look("behind(x), below one that says fastmath=False", sums.behind(x), 0.0)
look("first(x), directly, after fast(x)", sums.first(x), 0.0)
sums.quiet(0.0)
look("inverse(0.0), directly, after a caller with error_model numpy", sums.inverse(0.0), float("inf"))
raise SystemExit("\n".join(failed) or None)
P
cat > "$here/other.py" <<'P'
import sums

found, hits = sums.kept(1e20), sum(sums.kept.stats.cache_hits.values())
print(f"{'kept(x) in another process that calls nothing fast':62} {found!r} (cache hits: {hits})")
raise SystemExit(None if (found, hits) == (1.0, 1) else "another process no longer takes the fast code from disk")
P
"$here/env/bin/python" "$here/show.py"
"$here/env/bin/python" "$here/other.py"
echo "numba behaves as is claimed above"

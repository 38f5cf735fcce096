#!/bin/bash
# Trains under Slurm and resumes automatically after a time limit, a preemption, or the loss of ranks or nodes. In the
# checkout run:
#
#   sbatch --nodes=2 --ntasks=8 --time=00:30:00 scripts/slurm-job.sh --data datasets/mnist.h5 --run runs/cluster
#
# Arguments are those of `distlenet train`; --resume is added. The first start finds no checkpoint, every later one
# resumes from the newest, and the result is the same to the last bit. At most `--shards` (8) tasks.
# Options on sbatch's command line override those below. Two signals can be sent by hand:
#
#   scancel --batch --signal=USR1 JOBID      save a checkpoint and continue
#   scancel --batch --signal=USR2 JOBID      save, and put the job back into the queue (before maintenance)
#
# Environment variables (sbatch passes yours on):
#   DISTLENET_PYTHON     the Python to use (default: .venv/bin/python if it exists, else python3)
#   DISTLENET_LAUNCHER   the command that starts the ranks. Default: mpirun next to that Python or on the PATH, with
#                        the job's number of tasks. With srun the MPI determines the option; others are refused:
#                          DISTLENET_LAUNCHER="srun --mpi=pmix"    Open MPI
#                          DISTLENET_LAUNCHER="srun --mpi=pmi2"    MPICH and its relatives
#
#SBATCH --job-name=distlenet
#SBATCH --ntasks=2
#SBATCH --cpus-per-task=1
#SBATCH --time=01:00:00
# USR2 to this script (B:), two minutes before the time limit. Without B: only srun's ranks would get it.
#SBATCH --signal=B:USR2@120
# After a preemption or a node failure Slurm restarts the job; at the time limit this script requeues it.
#SBATCH --requeue
# Without this a restarted job would empty its log.
#SBATCH --open-mode=append
#SBATCH --output=distlenet-%j.log
set -u

patience=60 # seconds to wait for a save before the job is requeued anyway
attempts=3  # starts whose ranks died before they saved, until the job fails

python=${DISTLENET_PYTHON:-}
if [ -z "$python" ]; then if [ -x .venv/bin/python ]; then python=.venv/bin/python; else python=python3; fi; fi
mpirun=$(dirname "$(command -v "$python")")/mpirun
if [ ! -x "$mpirun" ]; then mpirun=mpirun; fi
launcher=${DISTLENET_LAUNCHER:-$mpirun -n ${SLURM_NTASKS:-1}}

run=
previous=
for argument in "$@"; do
    case $argument in --run=*) run=${argument#--run=} ;; esac
    if [ "$previous" = --run ]; then run=$argument; fi
    previous=$argument
done
case $run in "~/"*) run=$HOME/${run#"~/"} ;; esac # in --run=~/runs/a the shell does not expand ~, but distlenet does
if [ -z "$run" ]; then echo "error: give --run DIR, on a file system that all nodes share" >&2 && exit 2; fi

# Where the ranks leave their exit code, because a launcher's own code says less. Kept until the job is over.
folder=$(dirname "$run")/.distlenet-job-$SLURM_JOB_ID
mkdir -p "$folder" || exit 6
export DISTLENET_EXIT_FILE=$folder/exit-code

# One BLAS thread per rank: each rank uses one core.
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1
if [ "$(id -u)" = 0 ]; then export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1; fi
# On one node Open MPI's mpirun would end at a TERM without informing its ranks. On several nodes it needs Slurm.
if [ "${SLURM_JOB_NUM_NODES:-1}" = 1 ]; then export PRTE_MCA_plm=ssh; fi
# Slurm sends TERM to every process. Open MPI's mpirun and its daemons would kill the ranks half a second later, before
# they have finished a longer step and saved: so these do not receive it (env has this option since coreutils 8.31).
stop=TERM deaf="env --block-signal=TERM"
if "${launcher%% *}" --version 2>/dev/null | grep -q "Open MPI" && $deaf true 2>/dev/null; then
    prted=$(dirname "$(command -v "${launcher%% *}")")/prted
    if [ -x "$prted" ]; then export PRTE_MCA_prte_launch_agent="$deaf $prted"; fi
    launcher="$deaf $launcher" stop=USR2 # which mpirun forwards
fi
# srun ends all ranks when one dies. By default MPICH's others would hang until they are found to make no progress.
export SLURM_KILL_BAD_EXIT=1

training= # the launcher's process
signalled= cancelled= requeued=

save() { # USR1: the ranks save and continue
    signalled=yes
    kill -USR1 "$training" 2>/dev/null
}
end() { # TERM, from scancel or before a preemption: the ranks save and end
    signalled=yes cancelled=yes
    kill -"$stop" "$training" 2>/dev/null
}
again() { # USR2: the ranks save, and the job goes back into the queue
    touch "$folder/requested"
    save
    for ((i = 0; i < 10 * patience; i++)); do
        if ! kill -0 "$training" 2>/dev/null || saved_since requested; then break; fi
        sleep 0.1
    done
    if ! over; then requeue; fi
}
saved_since() { [ -n "$(find "$run/checkpoints" -name '*.h5' -newer "$folder/$1" 2>/dev/null)" ]; }
over() { [ -s "$DISTLENET_EXIT_FILE" ]; } # the ranks have ended by themselves, with success or with an error
died() { # the ranks did not end by themselves
    if over; then
        [ "$status" = 143 ] # nobody asked: one rank died, and the launcher asked the others to end
    elif [ "${SLURM_NTASKS:-1}" = 1 ]; then # it leaves no exit code
        [ "$status" -ge 128 ]
    else
        [ "$status" != 0 ]
    fi
}
requeue() { # Slurm then ends this script, and starts the job again two minutes later
    requeued=yes
    echo "requeueing job $SLURM_JOB_ID"
    scontrol requeue "$SLURM_JOB_ID"
}
preempted() { scontrol show job "$SLURM_JOB_ID" | grep -q 'PreemptTime=[0-9]'; }
nodes_answer() { timeout 30 srun --nodes="$SLURM_JOB_NUM_NODES" --ntasks-per-node=1 --ntasks="$SLURM_JOB_NUM_NODES" true; }

start() { # starts the ranks, waits for them, and sets `status`
    rm -f "$folder"/{exit-code,left,aborted,ready}
    touch "$folder/started"
    # In the background, because bash runs no trap while it waits for a foreground command.
    $launcher "$python" -m distlenet train "${arguments[@]}" --resume </dev/null &
    training=$!
    while :; do # a trap interrupts `wait`
        signalled=
        wait "$training"
        status=$?
        if [ -z "$signalled" ]; then break; fi
    done
    if over; then
        status=$(cat "$DISTLENET_EXIT_FILE")
    elif [ "$status" = 0 ] && [ "${SLURM_NTASKS:-1}" != 1 ]; then
        status=11 # Open MPI's mpirun does not report a lost node
    fi
}

trap save USR1
trap end TERM
trap again USR2
arguments=("$@")
echo "start ${SLURM_RESTART_COUNT:-0} of job $SLURM_JOB_ID: $launcher $python -m distlenet train $* --resume"
start
while [ -z "$requeued$cancelled" ] && died && ! preempted; do
    if saved_since started; then rm -f "$folder/fruitless"; fi
    echo >>"$folder/fruitless"
    if [ "$(wc -l <"$folder/fruitless")" -ge "$attempts" ]; then
        echo "error: the ranks died $attempts times, the last time with exit code $status, and saved nothing" >&2
        break
    fi
    if nodes_answer; then
        echo "the ranks died with exit code $status: starting them again"
        start
    else
        requeue
    fi
done
# Slurm itself requeues a preempted job only if it still runs at the end of the grace time.
if [ -z "$requeued" ] && [ "$status" != 0 ] && preempted; then requeue; fi
if [ -z "$requeued" ]; then rm -rf "$folder"; fi
exit "$status"

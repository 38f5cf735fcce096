#!/bin/bash
# Trains under Slurm and resumes automatically after a time limit, a preemption or a node failure. In the checkout run:
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

# One BLAS thread per rank: each rank uses one core.
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1
if [ "$(id -u)" = 0 ]; then export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1; fi
# On one node Open MPI's mpirun would end at a TERM without informing its ranks. On several nodes it needs Slurm.
if [ "${SLURM_JOB_NUM_NODES:-1}" = 1 ]; then export PRTE_MCA_plm=ssh; fi

echo "start ${SLURM_RESTART_COUNT:-0} of job $SLURM_JOB_ID: $launcher $python -m distlenet train $* --resume"
# In the background, because bash runs no trap while it waits for a foreground command.
$launcher "$python" -m distlenet train "$@" --resume </dev/null &
training=$!
signalled=

save() { # USR1: the ranks save and continue
    signalled=yes
    kill -USR1 "$training" 2>/dev/null
}
end() { # TERM, from scancel or before a preemption: the ranks save and end. Slurm requeues preempted jobs.
    signalled=yes
    kill -TERM "$training" 2>/dev/null
}
again() { # USR2: the ranks save, and the job goes back into the queue
    local mark
    mark=$(mktemp)
    save
    for ((i = 0; i < 10 * patience; i++)); do
        if ! kill -0 "$training" 2>/dev/null; then rm -f "$mark" && return; fi # the training has just ended
        if [ -n "$(find "$run/checkpoints" -name '*.h5' -newer "$mark" 2>/dev/null)" ]; then break; fi
        sleep 0.1
    done
    rm -f "$mark"
    echo "requeueing job $SLURM_JOB_ID"
    scontrol requeue "$SLURM_JOB_ID"
}
trap save USR1
trap end TERM
trap again USR2

while :; do # a trap interrupts `wait`
    signalled=
    wait "$training"
    status=$?
    if [ -z "$signalled" ]; then break; fi
done
exit "$status"

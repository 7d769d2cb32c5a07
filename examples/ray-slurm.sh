#!/bin/bash
#SBATCH --job-name=vrx
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --gpus-per-node=1
#SBATCH --time=12:00:00
# One raylet a node, vrx on the first: sbatch examples/ray-slurm.sh FILMS RESULTS
# Both folders on a file system that all nodes see.  A job that ran out of time is submitted again, and goes on.
set -euo pipefail

export RAY_AUTH_MODE=token RAY_AUTH_TOKEN # only this job may use its cluster: nodes may be others', too
RAY_AUTH_TOKEN=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')

head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
address=$(getent hosts "$head" | cut -d ' ' -f 1):6379

srun --nodes=1 --ntasks=1 -w "$head" \
    ray start --head --port=6379 --num-cpus="$SLURM_CPUS_PER_TASK" --block &
sleep 20
if [ "$SLURM_JOB_NUM_NODES" -gt 1 ]; then
    srun --nodes=$((SLURM_JOB_NUM_NODES - 1)) --ntasks=$((SLURM_JOB_NUM_NODES - 1)) --exclude="$head" \
        ray start --address="$address" --num-cpus="$SLURM_CPUS_PER_TASK" --block &
    sleep 20
fi

srun --nodes=1 --ntasks=1 --overlap -w "$head" vrx upscale "$1" -r -s 2 -o "$2" --ray "$address" --progress plain

#!/bin/bash
#SBATCH --array=0-@last@
#SBATCH --cpus-per-task=@threads@
#SBATCH --mem=@memory_mb@M
#SBATCH --time=@minutes@
#SBATCH --output=logs/%a.log
# bash run.sh NUMBER: a point of the sweep; bash run.sh compare: the comparison of all; in this folder, sbatch run.sh: all
# points as jobs of Slurm, without waiting for them. Written anew whenever the command of the sweep is repeated: what a
# node needs first goes into 'hydra.launcher.setup=[module load ..., source ...]'.
what=${1:-$SLURM_ARRAY_TASK_ID}
place=$(dirname "$0")
# Slurm runs a copy of what it is handed.
if [ $# = 0 ]; then place=$SLURM_SUBMIT_DIR; fi
cd "$place" || exit 1
# Snakemake and HTCondor set it to the cores of the job.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-@threads@}
@setup@
if [ "$what" = compare ]; then
    exec @start@ compare runs=.
fi
exec @start@ @step@ --point "$what"

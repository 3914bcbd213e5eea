#!/bin/bash
# bash run.sh NUMBER: a point of the sweep; bash run.sh compare: the comparison of all. Written anew whenever the command
# of the sweep is repeated: what a node needs first goes into 'hydra.launcher.setup=[module load ..., source ...]'.
cd "$(dirname "$0")" || exit 1
# Snakemake and HTCondor set it to the cores of the job.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-@threads@}
@setup@
if [ "$1" = compare ]; then
    exec @start@ compare runs=.
fi
exec @start@ @step@ --point "$1"

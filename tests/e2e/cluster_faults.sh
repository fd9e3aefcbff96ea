#!/bin/bash
# timeout: 420
# alone
# Six of the failures of `make test-cluster`, on 4 virtual nodes under a real SLURM.
cd "$(dirname "$0")/../.." || exit 1
exec bash tests/cluster/faults.sh rank_killed exit_in_save mpirun_killed node_crash preempted damaged_checkpoint

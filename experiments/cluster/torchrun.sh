#!/usr/bin/env bash
# Train on the GPUs of one or more machines without a scheduler. Arguments go to `impasto fit`.
#
#   METHOD=clast PROFILE=full experiments/cluster/torchrun.sh
#   METHOD=clast PROFILE=full RUN_NAME=first experiments/cluster/torchrun.sh --ckpt_path last      # continues that run
#   METHOD=clast PROFILE=full RUN_NAME=first NODES=2 NODE_RANK=0 MASTER_ADDR=node0 experiments/cluster/torchrun.sh
#   METHOD=neat PROFILE=full OVERLAYS="bbst bf16" experiments/cluster/torchrun.sh --model.accumulate 2
#
# The GPUs share data.batch_size, so their number must divide it. configs.sh says which files are read. A name that is
# taken is refused, unless continued. The third form runs once on each machine, with its own NODE_RANK, from the same
# commit and on a shared disk. The first rank that fails ends the others.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source experiments/cluster/configs.sh

NODES=${NODES:-1}
DEVICES=${DEVICES:-$(nvidia-smi --list-gpus | wc -l)}
if [ "$NODES" -gt 1 ]; then
  : "${RUN_NAME:?several machines need one name for the run: set RUN_NAME to the same on each}"
  : "${MASTER_ADDR:?several machines need the address of the first: set MASTER_ADDR to the same on each}"
  : "${NODE_RANK:?each machine needs its number, from 0: set NODE_RANK}"
fi

# After the caller's arguments, whose files may speak of devices too.
exec "$PYTHON" -m torch.distributed.run \
  --nnodes "$NODES" --node-rank "${NODE_RANK:-0}" --nproc-per-node "$DEVICES" \
  --master-addr "${MASTER_ADDR:-127.0.0.1}" --master-port "${MASTER_PORT:-29500}" \
  -m experiments "$COMMAND" "${configs[@]}" "$@" \
  --runs_dir "$RUNS" --run_name "${RUN_NAME:-$(date +%Y-%m-%d_%H%M%S)}" \
  --trainer.num_nodes "$NODES" --trainer.devices "$DEVICES"

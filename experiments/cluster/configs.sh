# Read by the launch files beside it, from the repo's root: what METHOD, PROFILE and OVERLAYS name, as --config options
# in `configs`. Of two files that say something about the same key, the later one counts.
#
#   METHOD=neat PROFILE=full OVERLAYS="bbst bf16 mine.yaml"
#
# are experiments/neat/full.yaml, overlays/ddp.yaml, neat/bbst.yaml, overlays/bf16.yaml and mine.yaml.
METHOD=${METHOD:?name a method or another experiment, as in METHOD=clast}
PROFILE=${PROFILE:-full}
COMMAND=${COMMAND:-fit} # or validate, test, predict
PYTHON=${PYTHON:-.venv/bin/python}
RUNS=${RUNS:-runs} # where runs live, as on a scratch disk

configs=()
lay() {
  if [ ! -f "$1" ]; then
    echo "There is no $1: METHOD is a folder of experiments/, PROFILE and OVERLAYS are files in it or in overlays/." >&2
    exit 1
  fi
  configs+=(--config "$1")
}

lay "experiments/$METHOD/$PROFILE.yaml"
lay experiments/overlays/ddp.yaml
for overlay in ${OVERLAYS:-}; do
  if [[ $overlay == *.yaml ]]; then lay "$overlay"
  elif [ -f "experiments/overlays/$overlay.yaml" ]; then lay "experiments/overlays/$overlay.yaml"
  else lay "experiments/$METHOD/$overlay.yaml"; fi
done

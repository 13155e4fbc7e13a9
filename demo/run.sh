#!/usr/bin/env bash
# The main job, from an empty cluster to scores: install, apply, follow.
set -euo pipefail
cd "$(dirname "$0")/.."
storage=${DEMO_STORAGE:-/var/lib/llmtrain-demo}
eval "$(python3 hack/cluster env)"
if [ ! -f "$storage/corpus/docs.jsonl.gz" ]; then
  mkdir -p "$storage/corpus" "$storage/benchmarks"
  .venv/bin/llmtrain corpus --out "$storage/corpus/docs.jsonl.gz"
fi
.venv/bin/python demo/questions.py "$storage/benchmarks/arc_easy.jsonl"
chown -R 1000:1000 "$storage"
operator=$(.venv/bin/python -c "import json,sys; print(json.load(sys.stdin)['operator'])" < <(python3 hack/images refs))
jobs=$(.venv/bin/python -c "import json,sys; print(json.load(sys.stdin)['jobs'])" < <(python3 hack/images refs))
helm upgrade --install llmtrain charts/llmtrain --namespace llmtrain-system --create-namespace \
  --set "image.repository=${operator%:*},image.tag=${operator##*:},jobsImage=$jobs" --wait=watcher --timeout 120s
sed "s#DEMO_STORAGE#$storage#" demo/volume.yaml | kubectl apply -f -
kubectl apply -f demo/plans.yaml -f demo/job.yaml
.venv/bin/llmtrain watch docs-gpt --namespace llmtrain-demo --timeout 3600

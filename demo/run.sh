#!/usr/bin/env bash
# The main job, from an empty cluster to scores: install, apply, follow.
#
# On the cluster of `make up`, or where KUBECONFIG names another one, there. That one needs a default StorageClass whose
# volumes many pods may mount, and a way to the images: REGISTRY=host/path has them pushed there, or OPERATOR_IMAGE and
# JOBS_IMAGE name ones that are there already. Its GPU nodes carry the label `accelerator=h100`, or edit demo/plans.yaml.
set -euo pipefail
cd "$(dirname "$0")/.."
given=${KUBECONFIG:-}
eval "$(python3 hack/cluster env)"
if [ -n "$given" ] && [ "$given" != "$KUBECONFIG" ]; then
  export KUBECONFIG=$given
  if [ -n "${REGISTRY:-}" ]; then
    images=$(python3 hack/images push --registry "$REGISTRY")
  else
    : "${OPERATOR_IMAGE:?set REGISTRY, or OPERATOR_IMAGE and JOBS_IMAGE: the cluster of KUBECONFIG has to find both images}"
    : "${JOBS_IMAGE:?set JOBS_IMAGE as well}"
    images="{\"operator\": \"$OPERATOR_IMAGE\", \"jobs\": \"$JOBS_IMAGE\"}"
  fi
  kubectl apply -f demo/namespace.yaml
else
  storage=${DEMO_STORAGE:-/var/lib/llmtrain-demo}
  install -d -o 1000 -g 1000 "$storage"
  images=$(python3 hack/images refs)
  kubectl apply -f demo/namespace.yaml
  sed "s#DEMO_STORAGE#$storage#" demo/volume.yaml | kubectl apply -f -
fi
image() { .venv/bin/python -c 'import json, sys; print(json.loads(sys.argv[1])[sys.argv[2]])' "$images" "$1"; }
operator=$(image operator)
jobs=$(image jobs)

questions=$(mktemp -d)
trap 'rm -rf "$questions"' EXIT
job=$(.venv/bin/python demo/questions.py "$questions")
kubectl create configmap questions -n llmtrain-demo --from-file="$questions" --dry-run=client -o yaml | kubectl apply -f -
kubectl delete pod prepare -n llmtrain-demo --ignore-not-found
sed "s#JOBS_IMAGE#$jobs#" demo/prepare.yaml | kubectl apply -f -
kubectl wait pod/prepare -n llmtrain-demo --for=jsonpath='{.status.phase}'=Succeeded --timeout=600s
kubectl logs prepare -n llmtrain-demo

helm upgrade --install llmtrain charts/llmtrain --namespace llmtrain-system --create-namespace \
  --set "image.repository=${operator%:*},image.tag=${operator##*:},jobsImage=$jobs" --wait=watcher --timeout 300s
kubectl apply -f demo/plans.yaml
kubectl apply -f - <<<"$job"
.venv/bin/llmtrain watch docs-gpt --namespace llmtrain-demo --timeout 3600

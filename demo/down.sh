#!/usr/bin/env bash
# Take the demo away: from the cluster that KUBECONFIG names, or together with the cluster of `make up`.
set -euo pipefail
cd "$(dirname "$0")/.."
given=${KUBECONFIG:-}
eval "$(python3 hack/cluster env)"
if [ -n "$given" ] && [ "$given" != "$KUBECONFIG" ]; then
  export KUBECONFIG=$given
  kubectl delete --ignore-not-found -f demo/job.yaml --timeout 300s
  kubectl delete --ignore-not-found -f demo/plans.yaml -f demo/namespace.yaml --timeout 300s
  helm uninstall llmtrain --namespace llmtrain-system --ignore-not-found --wait
  kubectl delete --ignore-not-found crd \
    llmtrainingjobs.llmtrain.dev computeplans.llmtrain.dev trainingbudgets.llmtrain.dev
  kubectl delete --ignore-not-found namespace llmtrain-system
else
  python3 hack/cluster down
  rm -rf "${DEMO_STORAGE:-/var/lib/llmtrain-demo}"
fi

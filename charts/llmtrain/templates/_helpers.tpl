{{- define "llmtrain.fullname" -}}
{{- if .Values.fullnameOverride }}{{ .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else }}{{ printf "%s-%s" .Release.Name (default "operator" .Values.nameOverride) | trunc 63 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "llmtrain.selector" -}}
app.kubernetes.io/name: llmtrain-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "llmtrain.commonLabels" -}}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: llmtrain
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "llmtrain.labels" -}}
{{ include "llmtrain.selector" . }}
{{ include "llmtrain.commonLabels" . }}
{{- end }}

{{- /* Labels of pods that are not the operator: its Service and PodDisruptionBudget must not select them. */}}
{{- define "llmtrain.hookLabels" -}}
app.kubernetes.io/name: llmtrain-hook
app.kubernetes.io/instance: {{ .Release.Name }}
{{ include "llmtrain.commonLabels" . }}
{{- end }}

{{- define "llmtrain.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}{{ default (include "llmtrain.fullname" .) .Values.serviceAccount.name }}
{{- else }}{{ default "default" .Values.serviceAccount.name }}{{ end }}
{{- end }}

{{- /* Only the operator and Prometheus read what stage pods serve; the rest of the policy is the operator's. */}}
{{- define "llmtrain.stageNetworkPolicy" -}}
{{- $own := dict "podSelector" (dict "matchLabels" (include "llmtrain.selector" . | fromYaml)) }}
{{- $_ := set $own "namespaceSelector" (dict "matchLabels" (dict "kubernetes.io/metadata.name" .Release.Namespace)) }}
{{- with .Values.stageNetworkPolicy }}
{{- dict "enabled" .enabled "progressFrom" (concat (list $own) .metricsFrom) "extraEgress" .extraEgress | toJson }}
{{- end }}
{{- end }}

{{- define "llmtrain.image" -}}
{{- if .Values.image.digest }}{{ printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}{{ printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) }}{{ end }}
{{- end }}

{{- /* What the hooks' pods share with the operator's: image, account of their own, no rights beyond it. */}}
{{- define "llmtrain.hookPod" -}}
restartPolicy: Never
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
securityContext: {{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
volumes:
  - {name: tmp, emptyDir: {}}
{{- end }}

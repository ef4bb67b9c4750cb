{{- /* Labels that never change for a release, for the selector of the Deployment. */ -}}
{{- define "rso.selector" -}}
app.kubernetes.io/name: rso
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "rso.labels" -}}
{{ include "rso.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- /* An image by its digest if it is set, else by its tag: (dict "image" .Values.image "chart" .Chart) */ -}}
{{- define "rso.image" -}}
{{- if .image.digest -}}
{{ .image.repository }}@{{ .image.digest }}
{{- else -}}
{{ .image.repository }}:{{ .image.tag | default .chart.AppVersion }}
{{- end -}}
{{- end }}

{{- /* The namespaces to watch; empty: all of them. */ -}}
{{- define "rso.watched" -}}
{{- .Values.watchNamespaces | uniq | sortAlpha | join "," -}}
{{- end }}

{{- /* Pod Security level "restricted", with a read-only root filesystem. */ -}}
{{- define "rso.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "rso.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- /* Admission is cluster-scoped, so it is left out in a namespaced installation. "true" or "". */ -}}
{{- define "rso.admission" -}}
{{- if and .Values.admission.enabled (not .Values.watchNamespaces) }}true{{ end }}
{{- end }}

{{- /* Nodes are cluster-scoped, so the operator uses kubelets only with a ClusterRole. "true" or "". */ -}}
{{- define "rso.kubelets" -}}
{{- if and .Values.usage.kubelet (not .Values.watchNamespaces) }}true{{ end }}
{{- end }}

{{- define "rso.webhook" -}}
{{- if and (eq (include "rso.admission" .) "true") (eq .Values.admission.mode "webhook") }}true{{ end }}
{{- end }}

{{- /* Never the operator's own namespace: the operator must be able to start without its webhook. */ -}}
{{- define "rso.admittedNamespaces" -}}
matchExpressions:
  - {key: kubernetes.io/metadata.name, operator: NotIn, values: [kube-system, {{ .Release.Namespace }}]}
  - {key: resize-statefulset-operator/admission, operator: NotIn, values: [ignore]}
{{- end }}

{{- define "rso.absorbConditions" -}}
- name: not-ours
  expression: request.userInfo.username != 'system:serviceaccount:{{ .Release.Namespace }}:{{ .Release.Name }}'
- name: templates-differ
  expression: object.spec.?volumeClaimTemplates.orValue([]) != oldObject.spec.?volumeClaimTemplates.orValue([])
{{- end }}

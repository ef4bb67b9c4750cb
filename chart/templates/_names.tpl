{{- /* What never changes for a release: a Deployment's selector. */ -}}
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

{{- /* An image by digest when there is one, else by tag: (dict "image" .Values.image "chart" .Chart) */ -}}
{{- define "rso.image" -}}
{{- if .image.digest -}}
{{ .image.repository }}@{{ .image.digest }}
{{- else -}}
{{ .image.repository }}:{{ .image.tag | default .chart.AppVersion }}
{{- end -}}
{{- end }}

{{- /* The namespaces to look after, unless it is all of them. */ -}}
{{- define "rso.watched" -}}
{{- .Values.watchNamespaces | uniq | sortAlpha | join "," -}}
{{- end }}

{{- /* Pod Security "restricted", and a filesystem that cannot be written. */ -}}
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

{{- /* Admission belongs to the whole cluster, so it is left out where rights are Roles. "true" or "". */ -}}
{{- define "rso.admission" -}}
{{- if and .Values.admission.enabled (not .Values.watchNamespaces) }}true{{ end }}
{{- end }}

{{- /* Nodes belong to the whole cluster, so their kubelets are asked only with a ClusterRole. "true" or "". */ -}}
{{- define "rso.kubelets" -}}
{{- if and .Values.usage.kubelet (not .Values.watchNamespaces) }}true{{ end }}
{{- end }}

{{- define "rso.webhook" -}}
{{- if and (eq (include "rso.admission" .) "true") (eq .Values.admission.mode "webhook") }}true{{ end }}
{{- end }}

{{- /* Never its own namespace: the operator must come up without itself. */ -}}
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

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

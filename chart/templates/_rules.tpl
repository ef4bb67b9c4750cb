{{- /*
What the operator may do in each namespace it looks after. Each line is there because a call in src/cluster needs it; the
audit log of the tests on a cluster shows that nothing was denied and none is unused; tests/e2e/serial/verdict.rs names the
two that it cannot show.
*/ -}}
{{- define "rso.rules.sets" -}}
# The subject. `delete` always orphans and always names UID and resourceVersion; `create` brings the set back, larger.
- apiGroups: [apps]
  resources: [statefulsets]
  verbs: [get, list, watch, patch, create, delete]
# Grown in place. There is no `delete`: a volume cannot be lost by this account.
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [list, watch, patch]
# Looked at; `patch` only to take away a reference to the old set that the garbage collector missed.
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch, patch]
- apiGroups: [apps]
  resources: [controllerrevisions]
  verbs: [list, patch]
# Only looked at: whose selector matches the Pods of a set too. Its controller would adopt them in the moment in which they
# have no owner. Without these rights no set is recreated.
- apiGroups: [apps]
  resources: [replicasets, daemonsets]
  verbs: [list]
- apiGroups: [""]
  resources: [replicationcontrollers]
  verbs: [list]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [list]
# Backups, for people. RBAC cannot tell them from other ConfigMaps; the operator reads only those with its label.
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, list, create, delete]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
# Guards claims during a recreate with `whenDeleted: Delete`, and tells a namespace that is being deleted.
- apiGroups: [""]
  resources: [namespaces]
  verbs: [get]
{{- end }}

{{- /* What belongs to the whole cluster. */ -}}
{{- define "rso.rules.cluster" -}}
# Whether a class allows expansion, and whose driver it is.
- apiGroups: [storage.k8s.io]
  resources: [storageclasses]
  verbs: [list, watch]
{{- if .Values.usage.kubelet }}
# The address of a node. Its kubelet is asked as another account, which may do nothing else.
- apiGroups: [""]
  resources: [nodes]
  verbs: [get]
{{- end }}
{{- if eq (include "rso.webhook" .) "true" }}
# The webhook's own configuration: which CA the API server is to trust, and by which path it asks. `list` and `watch` of one
# object by its name.
- apiGroups: [admissionregistration.k8s.io]
  resources: [mutatingwebhookconfigurations]
  resourceNames: [{{ .Release.Name }}]
  verbs: [get, list, watch, patch]
{{- end }}
{{- end }}

{{- /* What the operator keeps for itself, in its own namespace. */ -}}
{{- define "rso.rules.own" -}}
# Journals of recreates. Nobody but the cluster's administrators can write here, so they can be trusted.
- apiGroups: [""]
  resources: [configmaps]
  verbs: [list, watch, create, update, delete]
# Who leads. `create` cannot be limited by name.
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [create]
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames: [rso]
  verbs: [get, update]
{{- if eq (include "rso.kubelets" .) "true" }}
# Short tokens of the account that kubelets are asked as. They never get the operator's own.
- apiGroups: [""]
  resources: [serviceaccounts/token]
  resourceNames: [{{ .Release.Name }}-kubelet]
  verbs: [create]
{{- end }}
{{- if eq (include "rso.webhook" .) "true" }}
# The webhook's certificate; this Secret and no other.
- apiGroups: [""]
  resources: [secrets]
  resourceNames: [{{ .Release.Name }}-webhook]
  verbs: [get, list, watch{{ if not .Values.admission.certManager.enabled }}, update{{ end }}]
{{- if not .Values.admission.certManager.enabled }}
# Made when it is missing. `create` cannot be limited by name.
- apiGroups: [""]
  resources: [secrets]
  verbs: [create]
{{- end }}
{{- end }}
{{- end }}

{{- /*
Permissions in each namespace that the operator watches. A call in src/cluster needs each line. The audit log of the tests on
a cluster shows that no request is denied and no permission is unused; tests/e2e/serial/verdict.rs names the two permissions
that the log cannot show.
*/ -}}
{{- define "rso.rules.sets" -}}
# The object that is recreated. `delete` always orphans the Pods and names UID and resourceVersion; `create` creates the
# StatefulSet again with larger templates.
- apiGroups: [apps]
  resources: [statefulsets]
  verbs: [get, list, watch, patch, create, delete]
# Expanded in place. There is no `delete`, so this account cannot lose a volume.
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [list, watch, patch]
# Read. `patch` removes a reference to the old StatefulSet that the garbage collector missed, and sets the annotation
# `resize-seen`, which makes a kubelet expand the filesystem of a larger disk at once.
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch, patch]
- apiGroups: [apps]
  resources: [controllerrevisions]
  verbs: [list, patch]
# Only listed, to find other workloads whose selector matches the Pods of a StatefulSet: their controllers would adopt the Pods
# while these have no owner. Without these permissions, the operator does not recreate a StatefulSet.
- apiGroups: [apps]
  resources: [replicasets, daemonsets]
  verbs: [list]
- apiGroups: [""]
  resources: [replicationcontrollers]
  verbs: [list]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [list]
# Backups, for people. RBAC cannot distinguish them from other ConfigMaps; the operator reads only those with its label.
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, list, create, delete]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
# The owner that protects PVCs during a recreation with `whenDeleted: Delete`; also shows whether the namespace is being deleted.
- apiGroups: [""]
  resources: [namespaces]
  verbs: [get]
{{- end }}

{{- /* Permissions on cluster-scoped objects. */ -}}
{{- define "rso.rules.cluster" -}}
# Whether a StorageClass allows expansion, and its CSI driver.
- apiGroups: [storage.k8s.io]
  resources: [storageclasses]
  verbs: [list, watch]
{{- if .Values.usage.kubelet }}
# The address of a node. The operator reads its kubelet's statistics with a separate account that has no other permission.
- apiGroups: [""]
  resources: [nodes]
  verbs: [get]
{{- end }}
{{- if eq (include "rso.webhook" .) "true" }}
# The webhook's own configuration: the CA that the API server trusts, and the path that it calls. `list` and `watch` of one
# object by its name.
- apiGroups: [admissionregistration.k8s.io]
  resources: [mutatingwebhookconfigurations]
  resourceNames: [{{ .Release.Name }}]
  verbs: [get, list, watch, patch]
{{- end }}
{{- end }}

{{- /* Permissions in the operator's own namespace. */ -}}
{{- define "rso.rules.own" -}}
# Journals of recreations. Only the cluster's administrators can write in this namespace, so the operator trusts the journals.
- apiGroups: [""]
  resources: [configmaps]
  verbs: [list, watch, create, update, delete]
# The leader's Lease. RBAC cannot restrict `create` by name; `watch` is of one object by its name.
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [create]
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames: [rso]
  verbs: [get, watch, update]
{{- if eq (include "rso.kubelets" .) "true" }}
# Short-lived tokens of the account for kubelets, which never receive the operator's own token.
- apiGroups: [""]
  resources: [serviceaccounts/token]
  resourceNames: [{{ .Release.Name }}-kubelet]
  verbs: [create]
{{- end }}
{{- if eq (include "rso.webhook" .) "true" }}
# The webhook's certificate: this Secret and no other.
- apiGroups: [""]
  resources: [secrets]
  resourceNames: [{{ .Release.Name }}-webhook]
  verbs: [get, list, watch{{ if not .Values.admission.certManager.enabled }}, update{{ end }}]
{{- if not .Values.admission.certManager.enabled }}
# Created if it is missing. RBAC cannot restrict `create` by name.
- apiGroups: [""]
  resources: [secrets]
  verbs: [create]
{{- end }}
{{- end }}
{{- end }}

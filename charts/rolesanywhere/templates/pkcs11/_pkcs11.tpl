{{/* The p11-kit server's own settings. */}}
{{- define "rolesanywhere.pkcs11Server" -}}
{{- $given := .Values.pkcs11Server | default dict -}}
{{- if and $given.enabled (not $given.token) -}}
{{- fail "pkcs11Server: enabled, and token is not set: give the URI of the one token that it is to serve, such as pkcs11:token=node" -}}
{{- end -}}
{{- toYaml $given -}}
{{- end -}}

{{/* The folders of nodes that bindings may give their sidecars, as the operator's programs are told. */}}
{{- define "rolesanywhere.hostPaths" -}}
{{- $paths := (.Values.pkcs11 | default dict).hostPaths | default list -}}
{{- $server := .Values.pkcs11Server | default dict -}}
{{- if $server.enabled -}}
{{- $paths = append $paths $server.socketDirectory -}}
{{- end -}}
{{- join "," (uniq $paths) -}}
{{- end -}}

{{/* What both programs may do where there are such folders. */}}
{{- define "rolesanywhere.hostPathsRule" -}}
{{- if include "rolesanywhere.hostPaths" . }}
# Whether a namespace's Pod Security lets pods have folders of their node.
- apiGroups: [""]
  resources: [namespaces]
  verbs: [get]
{{- end }}
{{- end -}}

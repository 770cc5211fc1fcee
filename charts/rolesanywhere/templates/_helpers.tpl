{{/* The name of everything in the release's namespace. */}}
{{- define "rolesanywhere.fullname" -}}
{{- if contains "rolesanywhere" .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-rolesanywhere" (.Release.Name | trunc 36 | trimSuffix "-") -}}
{{- end -}}
{{- end -}}

{{/* The name of what belongs to no namespace: two releases of one name may not share it. */}}
{{- define "rolesanywhere.clusterName" -}}
{{- printf "%s-%s" .Release.Namespace (include "rolesanywhere.fullname" .) -}}
{{- end -}}

{{/* Labels of a component; call with (list . "webhook"). */}}
{{- define "rolesanywhere.labels" -}}
{{- $root := index . 0 -}}
{{ include "rolesanywhere.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* The labels that a component's pods are known by. */}}
{{- define "rolesanywhere.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: rolesanywhere
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{/* An image with its tag; call with (list . .Values.images.operator). */}}
{{- define "rolesanywhere.image" -}}
{{- $root := index . 0 -}}
{{- printf "%s:%s" (index . 1) ($root.Values.images.tag | default $root.Chart.AppVersion) -}}
{{- end -}}

{{/* What Pod Security "restricted" asks of a pod, and a bit more. */}}
{{- define "rolesanywhere.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "rolesanywhere.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{- define "rolesanywhere.pullSecrets" -}}
{{- with .Values.images.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* The replicas of a component on different nodes, where there are that many. */}}
{{- define "rolesanywhere.spread" -}}
- maxSkew: 1
  topologyKey: kubernetes.io/hostname
  whenUnsatisfiable: ScheduleAnyway
  labelSelector:
    matchLabels: {{- include "rolesanywhere.selector" . | nindent 6 }}
{{- end -}}

{{/* The Secret with the webhook's certificate, whoever makes it. */}}
{{- define "rolesanywhere.certificateSecret" -}}
{{- $given := .Values.webhook.certificate -}}
{{- if and $given.secretName (not $given.caBundle) -}}
{{- fail "webhook.certificate: secretName is set and caBundle is not: give the PEM of the CA too, or neither" -}}
{{- end -}}
{{- if and $given.caBundle (not $given.secretName) -}}
{{- fail "webhook.certificate: caBundle is set and secretName is not: name the Secret too, or neither" -}}
{{- end -}}
{{- $given.secretName | default (printf "%s-webhook-tls" (include "rolesanywhere.fullname" .)) -}}
{{- end -}}

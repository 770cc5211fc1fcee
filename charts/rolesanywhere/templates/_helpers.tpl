{{/*
Names, labels and images. A value that came after 0.1.0 has its default here or in a template as
well as in values.yaml, because `helm upgrade --reuse-values` brings the values of the older chart.
*/}}

{{/* The name of everything in the release's namespace. */}}
{{- define "rolesanywhere.fullname" -}}
{{- $name := .Values.nameOverride | default "rolesanywhere" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" (.Release.Name | trunc 36 | trimSuffix "-") $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* The name of what belongs to no namespace: two releases of one name may not share it. */}}
{{- define "rolesanywhere.clusterName" -}}
{{- printf "%s-%s" .Release.Namespace (include "rolesanywhere.fullname" .) -}}
{{- end -}}

{{/* Labels of a component's objects; call with (list . "webhook"). */}}
{{- define "rolesanywhere.labels" -}}
{{- $root := index . 0 -}}
{{- $own := include "rolesanywhere.ownLabels" . | fromYaml -}}
{{- toYaml (merge $own ($root.Values.commonLabels | default dict)) -}}
{{- end -}}

{{- define "rolesanywhere.ownLabels" -}}
{{- $root := index . 0 -}}
{{ include "rolesanywhere.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: rolesanywhere
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* The labels that a component's pods are known by. */}}
{{- define "rolesanywhere.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: rolesanywhere
app.kubernetes.io/instance: {{ $root.Release.Name | quote }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{/* The image of a program; call with (list . "operator"). A digest wins over the tag. */}}
{{- define "rolesanywhere.image" -}}
{{- $root := index . 0 -}}
{{- $program := index . 1 -}}
{{- $images := $root.Values.images -}}
{{- $registry := ($root.Values.global).imageRegistry | default $images.registry -}}
{{- $digest := get ($images.digests | default dict) $program -}}
{{- with $registry }}{{ trimSuffix "/" . }}/{{ end -}}
{{- get $images $program | default (eq $program "sidecarPkcs11" | ternary "rolesanywhere-sidecar-pkcs11" "") -}}
{{- if $digest }}@{{ $digest }}{{ else }}:{{ $images.tag | default $root.Chart.AppVersion }}{{ end -}}
{{- end -}}

{{/* Requests and limits of sidecars, in JSON; nothing in them is a choice as well. */}}
{{- define "rolesanywhere.sidecarResources" -}}
{{- $given := (.Values.sidecar).resources -}}
{{- if kindIs "map" $given -}}
{{- toJson $given -}}
{{- else -}}
{"limits":{"memory":"128Mi"},"requests":{"cpu":"10m","memory":"64Mi"}}
{{- end -}}
{{- end -}}

{{/* The ServiceAccount of a component; call with (list . "webhook"). */}}
{{- define "rolesanywhere.serviceAccountName" -}}
{{- $root := index . 0 -}}
{{- $component := index . 1 -}}
{{- $given := (get $root.Values $component).serviceAccount | default dict -}}
{{- $given.name | default (printf "%s-%s" (include "rolesanywhere.fullname" $root) $component) -}}
{{- end -}}

{{/* The ServiceAccount itself, unless somebody else makes it. */}}
{{- define "rolesanywhere.serviceAccount" -}}
{{- $root := index . 0 -}}
{{- $given := (get $root.Values (index . 1)).serviceAccount | default dict -}}
{{- if dig "create" true $given -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ include "rolesanywhere.serviceAccountName" . }}
  namespace: {{ $root.Release.Namespace | quote }}
  labels: {{- merge (include "rolesanywhere.labels" . | fromYaml) ($given.labels | default dict) | toYaml | nindent 4 }}
  {{- with $given.annotations }}
  annotations: {{- toYaml . | nindent 4 }}
  {{- end }}
automountServiceAccountToken: false
---
{{ end }}
{{- end -}}

{{/* Who makes the webhook's certificate. The first values had no word for it, and meant cert-manager. */}}
{{- define "rolesanywhere.certificateSource" -}}
{{- $given := .Values.webhook.certificate -}}
{{- $any := or $given.secretName $given.caBundle -}}
{{- $otherwise := ternary "self" "certManager" (hasKey $given "source") -}}
{{- $source := $given.source | default (ternary "secret" $otherwise (not (empty $any))) -}}
{{- if eq $source "secret" -}}
{{- if not $given.caBundle -}}
{{- fail "webhook.certificate: source is secret and caBundle is not set: give the PEM of the CA that signed the certificate" -}}
{{- end -}}
{{- if not $given.secretName -}}
{{- fail "webhook.certificate: source is secret and secretName is not set: name the Secret that holds the certificate" -}}
{{- end -}}
{{- else if $any -}}
{{- fail (printf "webhook.certificate: secretName or caBundle is set and source is %s, which makes its own: set source to secret, or leave both empty" $source) -}}
{{- end -}}
{{- $source -}}
{{- end -}}

{{/* The Secret with the webhook's certificate, whoever makes it. */}}
{{- define "rolesanywhere.certificateSecret" -}}
{{- .Values.webhook.certificate.secretName | default (printf "%s-webhook-tls" (include "rolesanywhere.fullname" .)) -}}
{{- end -}}

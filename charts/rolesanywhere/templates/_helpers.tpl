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

{{/* The proxy of sidecars, in JSON as a binding has it; nothing where there is none. */}}
{{- define "rolesanywhere.sidecarProxy" -}}
{{- $given := (.Values.sidecar).proxy | default dict -}}
{{- $secret := $given.urlSecretRef | default dict -}}
{{- $port := $given.url | default "" | regexFind ":[0-9]+/?$" | trimPrefix ":" | trimSuffix "/" | int -}}
{{- $told := dict -}}
{{- with $given.url }}{{ $_ := set $told "url" . }}{{ end -}}
{{- if or $secret.name $secret.key }}{{ $_ := set $told "urlSecretRef" $secret }}{{ end -}}
{{- with $given.noProxy }}{{ $_ := set $told "noProxy" . }}{{ end -}}
{{- if contains "@" ($given.url | default "") -}}
{{- fail "sidecar.proxy.url: holds a user or a password, and a secret does not belong into values: put the URL into a Secret of each namespace with bindings, and name that in sidecar.proxy.urlSecretRef" -}}
{{- else if gt $port 65535 -}}
{{- fail "sidecar.proxy.url: its port is too high: 65535 is the highest" -}}
{{- else if and $given.url $told.urlSecretRef -}}
{{- fail "sidecar.proxy: url and urlSecretRef are set: leave one of them empty" -}}
{{- else if and $told.urlSecretRef (not (and $secret.name $secret.key)) -}}
{{- fail "sidecar.proxy.urlSecretRef: name or key is not set: name the Secret and its key, or neither" -}}
{{- else if and $told.noProxy (not (or $given.url $told.urlSecretRef)) -}}
{{- fail "sidecar.proxy.noProxy: is set, and there is no proxy: set url or urlSecretRef, or leave it empty" -}}
{{- end -}}
{{- with $told }}{{ toJson . }}{{ end -}}
{{- end -}}

{{/* The CA bundle of sidecars, likewise. */}}
{{- define "rolesanywhere.sidecarCaBundle" -}}
{{- $given := ((.Values.sidecar).caBundle).configMap | default dict -}}
{{- with $given.name -}}
{{- dict "configMap" (dict "name" . "key" ($given.key | default "ca.crt")) | toJson -}}
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

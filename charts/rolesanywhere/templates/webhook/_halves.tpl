{{/*
The webhook's replicas are two halves, each a Deployment, because an API server tries each entry of a
configuration once, and a Service chooses by chance: a second try may meet the replica that has just
been killed again. Tried at the one half and then at the other, it meets one that is alive. What
tells the halves apart is the name of a port: a Service leaves out the pods that have none of it.
The first half's selector matches the second's pods too, since a Deployment's cannot be changed by an
upgrade; each still keeps to the pods that it owns.
*/}}
{{- define "rolesanywhere.halves" -}}
{{- $replicas := int .Values.webhook.replicas -}}
{{- $second := div $replicas 2 -}}
- {name: first, deployment: webhook, replicas: {{ sub $replicas $second }}, port: 1443, selector: {}}
{{- if $second }}
- {name: second, deployment: webhook-second, replicas: {{ $second }}, port: 2443, selector: {rolesanywhere.dev/half: second}}
{{- end }}
{{- end -}}

{{/* Whom a review is put to, in this order, until one answers: anyone, and then each half. */}}
{{- define "rolesanywhere.attempts" -}}
- {name: inject.rolesanywhere.dev, port: 443}
{{- if gt (int .Values.webhook.replicas) 1 }}
{{- range include "rolesanywhere.halves" . | fromYamlArray }}
- {name: {{ .name }}-half.inject.rolesanywhere.dev, port: {{ .port }}}
{{- end }}
{{- end }}
{{- end -}}

{{/* Whom the pods of a component talk to; call with (list . "webhook"). */}}
{{- define "rolesanywhere.networkPolicy" -}}
{{- $root := index . 0 -}}
{{- $component := index . 1 -}}
{{- $given := $root.Values.networkPolicy | default dict -}}
{{- if $given.enabled -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {{ include "rolesanywhere.fullname" $root }}-{{ $component }}
  namespace: {{ $root.Release.Namespace | quote }}
  labels: {{- include "rolesanywhere.labels" . | nindent 4 }}
spec:
  podSelector:
    matchLabels: {{- include "rolesanywhere.selector" . | nindent 6 }}
  policyTypes: [Ingress, Egress]
  ingress:
    {{- if eq $component "webhook" }}
    # Admission reviews, from the API server.
    - ports: [{port: {{ $root.Values.webhook.port | default 9443 }}, protocol: TCP}]
      {{- with $given.webhookFrom }}
      from: {{- toYaml . | nindent 8 }}
      {{- end }}
    {{- end }}
    # Probes and metrics.
    - ports: [{port: probes, protocol: TCP}]
      {{- with $given.metricsFrom }}
      from: {{- toYaml . | nindent 8 }}
      {{- end }}
    {{- with $given.extraIngress }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  egress:
    # The API server. Nothing else: neither program talks to AWS.
    - ports:
        {{- range $given.apiServerPorts }}
        - {port: {{ . }}, protocol: TCP}
        {{- end }}
      {{- with $given.apiServerTo }}
      to: {{- toYaml . | nindent 8 }}
      {{- end }}
    # Names, for an API server that is known by one.
    - ports: [{port: 53, protocol: UDP}, {port: 53, protocol: TCP}]
      {{- with $given.dnsTo }}
      to: {{- toYaml . | nindent 8 }}
      {{- end }}
    {{- with $given.extraEgress }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end -}}
{{- end -}}

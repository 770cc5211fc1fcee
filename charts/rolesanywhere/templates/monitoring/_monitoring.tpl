{{/* Labels and annotations of an object that another operator selects; call with (list . .Values.monitoring.X). */}}
{{- define "rolesanywhere.monitorMetadata" -}}
{{- $given := index . 1 -}}
{{- $own := include "rolesanywhere.labels" (list (index . 0) "monitoring") | fromYaml -}}
labels: {{- merge $own ($given.labels | default dict) | toYaml | nindent 2 }}
{{- with $given.annotations }}
annotations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* How an endpoint is asked. */}}
{{- define "rolesanywhere.scrape" -}}
path: /metrics
interval: {{ .interval }}
scrapeTimeout: {{ .scrapeTimeout }}
{{- with .relabelings }}
relabelings: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .metricRelabelings }}
metricRelabelings: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

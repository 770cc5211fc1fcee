{{/*
What the pods of both components have in common, each called with (list . "webhook").
*/}}

{{/* How one set of them takes over from another; call with (list . "webhook" 2) for two of them. */}}
{{- define "rolesanywhere.scale" -}}
{{- $given := get (index . 0).Values (index . 1) -}}
replicas: {{ index . 2 }}
{{- with $given.strategy }}
strategy: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* The pods' labels, the third of the list among them, and annotations. None of ours can be overridden. */}}
{{- define "rolesanywhere.podMetadata" -}}
{{- $root := index . 0 -}}
{{- $given := get $root.Values (index . 1) -}}
{{- $own := merge (include "rolesanywhere.labels" . | fromYaml) (index . 2) -}}
labels: {{- toYaml (merge $own ($given.podLabels | default dict)) | nindent 2 }}
{{- with $given.podAnnotations }}
annotations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Who the pods are, where they run and what they may do there. */}}
{{- define "rolesanywhere.podSpec" -}}
{{- $root := index . 0 -}}
{{- $given := get $root.Values (index . 1) -}}
serviceAccountName: {{ include "rolesanywhere.serviceAccountName" . }}
automountServiceAccountToken: true
{{- include "rolesanywhere.pullSecrets" $root }}
securityContext: {{- include "rolesanywhere.podSecurityContext" $root | nindent 2 }}
terminationGracePeriodSeconds: 30
{{- with $given.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $given.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $given.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $given.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
topologySpreadConstraints:
{{- if $given.topologySpreadConstraints }}
  {{- toYaml $given.topologySpreadConstraints | nindent 2 }}
{{- else }}
  # The replicas on different nodes, where there are that many.
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{- include "rolesanywhere.selector" . | nindent 8 }}
{{- end }}
{{- end -}}

{{/* By default what Pod Security "restricted" asks of a pod, and a bit more. */}}
{{- define "rolesanywhere.podSecurityContext" -}}
{{- with .Values.podSecurityContext -}}
{{ toYaml . }}
{{- else -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end -}}
{{- end -}}

{{- define "rolesanywhere.containerSecurityContext" -}}
{{- with .Values.securityContext -}}
{{ toYaml . }}
{{- else -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}
{{- end -}}

{{- define "rolesanywhere.pullSecrets" -}}
{{- $names := concat ((.Values.global).imagePullSecrets | default list) (.Values.images.pullSecrets | default list) -}}
{{- with $names }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* The three probes of a container. What a value gives of one wins, field by field. */}}
{{- define "rolesanywhere.probes" -}}
{{- $given := get (index . 0).Values (index . 1) -}}
{{- $livez := dict "httpGet" (dict "path" "/livez" "port" "probes") -}}
{{- $readyz := dict "httpGet" (dict "path" "/readyz" "port" "probes") -}}
startupProbe: {{- merge ($given.startupProbe | default dict | deepCopy) (dict "periodSeconds" 2 "failureThreshold" 30) $livez | toYaml | nindent 2 }}
livenessProbe: {{- merge ($given.livenessProbe | default dict | deepCopy) (dict "periodSeconds" 10) $livez | toYaml | nindent 2 }}
readinessProbe: {{- merge ($given.readinessProbe | default dict | deepCopy) (dict "periodSeconds" 5) $readyz | toYaml | nindent 2 }}
{{- end -}}

{{/* Resources, and what else ends a container of ours. */}}
{{- define "rolesanywhere.container" -}}
{{- $root := index . 0 -}}
{{- $given := get $root.Values (index . 1) -}}
{{ include "rolesanywhere.probes" . }}
{{- with $given.resources }}
resources: {{- toYaml . | nindent 2 }}
{{- end }}
securityContext: {{- include "rolesanywhere.containerSecurityContext" $root | nindent 2 }}
{{- end -}}

{{/* A budget for a component's pods; call with (list . "webhook" true), true: by default there is one. */}}
{{- define "rolesanywhere.disruptionBudget" -}}
{{- $root := index . 0 -}}
{{- $component := index . 1 -}}
{{- $given := (get $root.Values $component).podDisruptionBudget | default dict -}}
{{- if dig "enabled" (index . 2) $given -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ include "rolesanywhere.fullname" $root }}-{{ $component }}
  namespace: {{ $root.Release.Namespace | quote }}
  labels: {{- include "rolesanywhere.labels" . | nindent 4 }}
spec:
  {{- if dig "minAvailable" "" $given }}
  minAvailable: {{ $given.minAvailable }}
  {{- else }}
  maxUnavailable: {{ dig "maxUnavailable" 1 $given }}
  {{- end }}
  # A pod that is of no use anyway does not hold up the drain of its node.
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels: {{- include "rolesanywhere.selector" . | nindent 6 }}
{{- end -}}
{{- end -}}

{{/* Names, labels and the pod settings that every container shares. */}}

{{- define "videofleet.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{ .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" }}
{{- end -}}
{{- end }}

{{/* Labels of an object; call with (dict "root" $ "component" "gateway"). */}}
{{- define "videofleet.labels" -}}
{{ include "videofleet.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{- define "videofleet.selector" -}}
app.kubernetes.io/name: videofleet-{{ .component }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- end }}

{{/* An image reference; call with (dict "root" $ "image" .Values.images.operator). */}}
{{- define "videofleet.image" -}}
{{- if .image.digest -}}
{{ .image.repository }}@{{ .image.digest }}
{{- else -}}
{{ .image.repository }}:{{ .image.tag | default .root.Chart.AppVersion }}
{{- end -}}
{{- end }}

{{- define "videofleet.namespaces" -}}
{{ .Values.namespaces | default (list .Release.Namespace) | uniq | toJson }}
{{- end }}

{{- define "videofleet.redisSecret" -}}
{{ .Values.redis.existingSecret | default "videofleet-redis" }}
{{- end }}

{{- define "videofleet.keysSecret" -}}
{{ .Values.gateway.existingSecret | default (printf "%s-gateway-keys" (include "videofleet.fullname" .)) }}
{{- end }}

{{/* The claim behind a store; call with (dict "root" $ "store" $store). */}}
{{- define "videofleet.storeClaim" -}}
{{ .store.persistentVolumeClaim.existing | default (printf "%s-%s" (include "videofleet.fullname" .root) .store.name) }}
{{- end }}

{{/* The restricted Pod Security Standard, and a root file system that nobody writes to. */}}
{{- define "videofleet.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "videofleet.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "videofleet.placement" -}}
{{- with .nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "videofleet.pullSecrets" -}}
{{- with .Values.images.pullSecrets }}
imagePullSecrets:
{{- range . }}
- name: {{ . }}
{{- end }}
{{- end }}
{{- end }}

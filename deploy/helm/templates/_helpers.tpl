{{- define "name" -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" -}}
{{- end }}

{{- define "selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "labels" -}}
{{ include "selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- /* Other names than those of the servers, or services would lead to these pods. */}}
{{- define "loadSelector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}-load
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "loadLabels" -}}
{{ include "loadSelector" (first .) }}
app.kubernetes.io/component: {{ last . }}
{{- end }}

{{- define "adminSecret" -}}
{{- .Values.adminTokenSecret | default (printf "%s-admin" (include "name" .)) -}}
{{- end }}

{{- define "containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- define "podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "serverContainer" -}}
image: "{{ .Values.image.repository }}:{{ .Values.image.tag }}"
imagePullPolicy: {{ .Values.image.pullPolicy }}
env:
  - {name: BIND, value: "0.0.0.0"}
  # In front of Triton, on these ports. What ended a server outlives the container in the pod's
  # /tmp.
  - {name: GUARD, value: "on"}
  - {name: QUARANTINE_DIR, value: /tmp/quarantine}
  - {name: HTTP_PORT, value: "8000"}
  - {name: GRPC_PORT, value: "8001"}
  - {name: METRICS_PORT, value: "8002"}
  - {name: CONFIG, value: {{ eq .Values.device "gpu" | ternary "config.pbtxt" "cpu" }}}
  - {name: MODEL_REPOSITORY, value: /models}
  - {name: START_TIMEOUT, value: {{ .Values.startSeconds | quote }}}
  - {name: EXIT_TIMEOUT, value: {{ .Values.exitSeconds | quote }}}
  - {name: TRACE_URL, value: {{ .Values.traceUrl | quote }}}
  - name: ADMIN_TOKEN
    valueFrom:
      secretKeyRef:
        name: {{ include "adminSecret" . }}
        key: token
ports:
  - {name: http, containerPort: 8000}
  - {name: grpc, containerPort: 8001}
  - {name: metrics, containerPort: 8002}
startupProbe:
  httpGet: {path: /v2/health/ready, port: http}
  periodSeconds: 5
  failureThreshold: {{ div (add .Values.startSeconds 4) 5 }}
readinessProbe:
  httpGet: {path: /v2/health/ready, port: http}
  periodSeconds: 2
  timeoutSeconds: 2
  failureThreshold: 2
livenessProbe:
  httpGet: {path: /v2/health/live, port: http}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
lifecycle:
  preStop:
    exec:
      # The pod is taken from the services meanwhile; then SIGTERM lets requests finish.
      command: [sleep, {{ .Values.drainSeconds | quote }}]
securityContext:
  {{- include "containerSecurity" . | nindent 2 }}
resources:
  {{- toYaml .Values.resources | nindent 2 }}
volumeMounts:
  - {{ include "modelsMount" . }}
  - {name: shared-memory, mountPath: /dev/shm}
  - {name: tmp, mountPath: /tmp}
{{- end }}

{{- define "modelsMount" -}}
{name: models, mountPath: /models, readOnly: true{{ if and (eq .Values.models.source "volume") .Values.models.volume.subPath }}, subPath: {{ .Values.models.volume.subPath | quote }}{{ end }}}
{{- end }}

{{- define "modelsVolume" -}}
- name: models
  {{- if eq .Values.models.source "volume" }}
  persistentVolumeClaim:
    claimName: {{ .Values.models.volume.claim }}
    readOnly: true
  {{- else if eq .Values.models.source "image" }}
  image:
    {{- toYaml .Values.models.image | nindent 4 }}
  {{- else }}
  emptyDir:
    sizeLimit: {{ .Values.models.objectStore.sizeLimit }}
  {{- end }}
{{- end }}

{{- define "volumes" -}}
{{ include "modelsVolume" . }}
- name: shared-memory
  emptyDir:
    medium: Memory
    sizeLimit: {{ .Values.sharedMemory }}
- name: tmp
  emptyDir:
    sizeLimit: 256Mi
{{- end }}

{{- define "initContainers" -}}
{{- if eq .Values.models.source "objectStore" -}}
- name: models
  image: {{ .Values.models.objectStore.image }}
  args: [copy, --checksum, {{ regexReplaceAll "^([a-z0-9]+)://" .Values.models.objectStore.uri "${1}:" | quote }}, /models]
  envFrom:
    - secretRef:
        name: {{ .Values.models.objectStore.secret }}
  env:
    - {name: HOME, value: /tmp}
  securityContext:
    {{- include "containerSecurity" . | nindent 4 }}
  resources:
    requests: {cpu: 500m, memory: 256Mi}
    limits: {memory: 1Gi}
  volumeMounts:
    - {name: models, mountPath: /models}
    - {name: tmp, mountPath: /tmp}
{{- end -}}
{{- end }}

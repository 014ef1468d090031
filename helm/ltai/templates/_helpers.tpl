{{- /* Names, labels and the parts every pod has. Components are called RELEASE-COMPONENT. */ -}}

{{- define "ltai.services" -}}
tenancy catalog environments training models serving billing monitor
{{- end }}

{{- /* The release names namespaces, queues and cohorts of tenants too, so it has to be short. */ -}}
{{- define "ltai.instance" -}}
{{- if not (regexMatch "^[a-z]([a-z0-9-]{0,18}[a-z0-9])?$" .Release.Name) }}
{{- fail (printf "the release %q begins the names of tenants' namespaces: at most 20 lower-case letters, digits and dashes" .Release.Name) }}
{{- end }}
{{- .Release.Name }}
{{- end }}

{{- define "ltai.labels" -}}
app.kubernetes.io/name: ltai
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{- define "ltai.selector" -}}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- /* An image of the platform's own. */ -}}
{{- define "ltai.image" -}}
{{ .root.Values.image.prefix }}ltai/{{ .name }}:{{ .root.Values.image.tag | default .root.Chart.AppVersion }}
{{- end }}

{{- define "ltai.pod" -}}
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 1000
  runAsGroup: 100
  fsGroup: 100
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: { type: RuntimeDefault }
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with .Values.scheduling.nodeSelector }}
nodeSelector: {{ toJson . }}
{{- end }}
{{- with .Values.scheduling.tolerations }}
tolerations: {{ toJson . }}
{{- end }}
{{- end }}

{{- define "ltai.container" -}}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: { drop: [ALL] }
{{- end }}

{{- define "ltai.spread" -}}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "ltai.selector" . | nindent 8 }}
{{- end }}

{{- /* One environment variable from a Secret. */ -}}
{{- define "ltai.secretEnv" -}}
- name: {{ .name }}
  valueFrom:
    secretKeyRef: { name: {{ .secret }}, key: {{ .key }} }
{{- end }}

{{- define "ltai.secretName" -}}
{{ .Values.secrets.existing | default (printf "%s-secrets" .Release.Name) }}
{{- end }}

{{- /* Holds the URL of each database: platform, hub, mlflow. */ -}}
{{- define "ltai.databaseSecret" -}}
{{- if .Values.database.bundled -}}
{{ .Release.Name }}-database
{{- else -}}
{{ required "database.bundled is false: name the Secret with the databases' URLs in database.existingSecret" .Values.database.existingSecret }}
{{- end -}}
{{- end }}

{{- /* The value a Secret has already, else the new one: passwords survive every upgrade. Both and the result are base64. */ -}}
{{- define "ltai.kept" -}}
{{ get .data .key | default .new }}
{{- end }}

{{- define "ltai.hubUrl" -}}
http://{{ .Release.Name }}-hub.{{ .Release.Namespace }}.svc.{{ .Values.clusterDomain }}:8081
{{- end }}

{{- /* A new pod where what it read at its start has changed. */ -}}
{{- define "ltai.checksums" -}}
checksum/settings: {{ include (print .Template.BasePath "/common/settings.yaml") . | sha256sum }}
checksum/catalog: {{ include (print .Template.BasePath "/common/catalog.yaml") . | sha256sum }}
{{- end }}

{{- /* path → contents: the chart's files, and over them those of the values. */ -}}
{{- define "ltai.catalogFiles" -}}
{{- $files := dict }}
{{- range $path, $contents := .Files.Glob "catalog/{*.yaml,pictures/*}" }}
{{- $_ := set $files (trimPrefix "catalog/" $path) (toString $contents) }}
{{- end }}
{{- toJson (merge (deepCopy .Values.catalog) $files) }}
{{- end }}

{{- define "ltai.catalogVolume" -}}
{{- if .Values.catalog }}
- name: catalog
  configMap:
    name: {{ .Release.Name }}-catalog
    items:
      {{- range $path, $_ := include "ltai.catalogFiles" . | fromJson }}
      - { key: {{ replace "/" "--" $path }}, path: {{ $path }} }
      {{- end }}
{{- end }}
{{- end }}

{{- define "ltai.catalogMount" -}}
{{- if .Values.catalog }}
- { name: catalog, mountPath: /etc/ltai/catalog, readOnly: true }
{{- end }}
{{- end }}

{{- /* Those that speak to the other clusters: the one makes the tenants there, the other looks after jobs. */ -}}
{{- define "ltai.clustersVolume" -}}
{{- if and .Values.clusters.names (has .name (list "tenancy" "training")) }}
- name: clusters
  secret:
    secretName: {{ required "clusters.names has clusters: name the Secret with their kubeconfigs in clusters.secret" .Values.clusters.secret }}
{{- end }}
{{- end }}

{{- define "ltai.clustersMount" -}}
{{- if and .Values.clusters.names (has .name (list "tenancy" "training")) }}
- { name: clusters, mountPath: /etc/ltai/clusters, readOnly: true }
{{- end }}
{{- end }}

{{- /* The rows of images.yaml as the platform sees them. */ -}}
{{- define "ltai.labImages" -}}
{{- $text := get .Values.catalog "images.yaml" | default (.Files.Get "catalog/images.yaml") }}
{{- range $name, $row := (fromYaml $text).images }}
- {{ $.Values.image.prefix }}{{ $row.container }}
{{- end }}
{{- end }}

{{- /* service: the account it speaks to the cluster with; those not named have none. Rights: templates/rbac. */ -}}
{{- define "ltai.accounts" -}}
tenancy: tenancy
monitor: monitor
training: services
serving: services
catalog: nodes
environments: nodes
{{- end }}

{{/* Puts defaults where there is nothing: `helm upgrade --reuse-values` brings MetalLB's default values in place of this chart's, and those lack
what is new here. In values that may hold anything, such as a security context, nothing is added: who takes a part out of it, or all of it (null),
means that; those of MetalLB's chart are there in each of its versions. */}}
{{- define "metallb.prepare" -}}
{{- if not (hasKey .Values "_prepared") }}
{{- include "metallb.fill" (dict "prefix" "" "into" .Values "from" (include "metallb.defaults" . | fromYaml) "known" (include "metallb.known" . | splitList "\n")) }}
{{- $_ := set .Values "_prepared" true }}
{{- end }}
{{- end }}

{{- define "metallb.fill" -}}
{{- range $key, $standard := .from }}
{{- $path := printf "%s.%s" $.prefix $key | trimPrefix "." }}
{{- if and (ne $.prefix "") (regexMatch `^(controller\.(strategy|securityContext)|speaker\.updateStrategy|prometheus\..*\.(tlsConfig|labels|thresholds))$` $path) }}
{{- else if or (not (hasKey $.into $key)) (kindIs "invalid" (get $.into $key)) }}
{{- $_ := set $.into $key $standard }}
{{- else if and (kindIs "map" $standard) (not (has (printf "%s.*" $path) $.known)) }}
{{- include "metallb.fill" (dict "prefix" $path "into" (get $.into $key) "from" $standard "known" $.known) }}
{{- end }}
{{- end }}
{{- end }}

{{/* A map of texts, such as labels: numbers and booleans are written as text, which is what the API server takes. */}}
{{- define "metallb.texts" -}}
{{- range $key, $value := . }}
{{- if kindIs "string" $value }}
{{ $key | quote }}: {{ $value | quote }}
{{- else if not (kindIs "invalid" $value) }}
{{ $key | quote }}: {{ $value | toJson | quote }}
{{- end }}
{{- end }}
{{- end }}

{{/* Names and labels: those of MetalLB's chart, because selectors cannot be changed and people have commands with them. */}}
{{- define "metallb.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "metallb.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{- define "metallb.selectorLabels" -}}
app.kubernetes.io/name: {{ include "metallb.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "metallb.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "metallb.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "metallb.controller.serviceAccountName" -}}
{{- if .Values.controller.serviceAccount.create }}
{{- default (printf "%s-controller" (include "metallb.fullname" .)) .Values.controller.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.controller.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "metallb.speaker.serviceAccountName" -}}
{{- if .Values.speaker.serviceAccount.create }}
{{- default (printf "%s-speaker" (include "metallb.fullname" .)) .Values.speaker.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.speaker.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "metallb.secretName" -}}
{{- default (printf "%s-memberlist" (include "metallb.fullname" .)) .Values.speaker.secretName }}
{{- end }}

{{/* Whether this repository is MetalLB's own (quay.io/metallb/speaker), a copy of it, or another build (bitnami/metallb-speaker): people copy that
chart's default values, or have them rewritten for a mirror. A registry says nothing, it has a dot or a port and is not all there is. */}}
{{- define "metallb.foreignImage" -}}
{{- $parts := . | splitList "@" | first | splitList "/" }}
{{- $first := first $parts }}
{{- if and (gt (len $parts) 1) (or (contains "." $first) (contains ":" $first) (eq $first "localhost")) }}{{ $parts = rest $parts }}{{ end }}
{{- $last := last $parts | splitList ":" | first }}
{{- if and (or (hasSuffix "controller" $last) (hasSuffix "speaker" $last)) (contains "metallb" (printf "%s/%s" (initial $parts | join "/") $last)) (not (contains "ferrolb" $last)) }}yes{{ end }}
{{- end }}

{{/* The image of a component. MetalLB's own cannot be run with this chart: ours stands in for it, and the notes say so. */}}
{{- define "metallb.image" -}}
{{- $root := index . 0 }}
{{- $image := index . 1 }}
{{- if include "metallb.foreignImage" $image.repository }}
{{- printf "ghcr.io/ferrolb/ferrolb:%s" $root.Chart.AppVersion }}
{{- else }}
{{- printf "%s:%s" $image.repository (default $root.Chart.AppVersion $image.tag) }}
{{- end }}
{{- end }}

{{/* The words that start a component: MetalLB's own program names mean ours. Another program is started as it is, with the flags alone. */}}
{{- define "metallb.command" -}}
{{- $component := index . 0 }}
{{- $command := index . 1 }}
{{- if or (not $command) (eq $command (printf "/%s" $component)) -}}
args:
- {{ $component }}
{{- else -}}
command:
- {{ $command | quote }}
args:
{{- end }}
{{- end }}

{{- define "metallb.tlsArgs" -}}
{{- with .Values.tls.cipherSuites }}
- {{ printf "--tls-cipher-suites=%s" . | quote }}
{{- end }}
{{- with .Values.tls.curvePreferences }}
- {{ printf "--tls-curve-preferences=%v" . | quote }}
{{- end }}
{{- with .Values.tls.minVersion }}
- {{ printf "--tls-min-version=%s" . | quote }}
{{- end }}
{{- end }}

{{- define "metallb.probe" -}}
failureThreshold: {{ .failureThreshold }}
initialDelaySeconds: {{ .initialDelaySeconds }}
periodSeconds: {{ .periodSeconds }}
successThreshold: {{ .successThreshold }}
timeoutSeconds: {{ .timeoutSeconds }}
{{- end }}

{{/* A pod's security context, with the seccomp profile that costs nothing. */}}
{{- define "metallb.podSecurity" -}}
{{- toYaml (merge (dict) (ternary . (dict) (kindIs "map" .)) (dict "seccompProfile" (dict "type" "RuntimeDefault"))) }}
{{- end }}

{{- define "metallb.scrapeAnnotations" -}}
prometheus.io/port: {{ .Values.prometheus.metricsPort | quote }}
prometheus.io/scheme: "https"
prometheus.io/scrape: "true"
{{- end }}

{{/* Values that do nothing, a line each: unknown ones with the nearest right one, MetalLB's that mean nothing here with why. Nothing is
refused: whoever comes from MetalLB's chart must get an installation, and be told. The list is shown in the notes of an installation, and
is an annotation of the controller's Deployment for those who see no notes. */}}
{{- define "metallb.findings" -}}
{{/* Values of earlier versions of MetalLB's chart, of which people keep the defaults: empty they ask for nothing. */}}
{{- $earlier := list "configInline" "prometheus.controllerMetricsTLSSecret" "prometheus.speakerMetricsTLSSecret" "prometheus.secureMetricsPort" "controller.tlsMinVersion" "controller.tlsCipherSuites" "speaker.frr.secureMetricsPort" }}
{{- include "metallb.unknown" (dict "prefix" "" "values" .Values "known" (include "metallb.known" . | splitList "\n") "earlier" $earlier) }}
{{- include "metallb.frr" . }}
{{- range $component := list "controller" "speaker" }}
{{- $values := index $.Values $component }}
{{- if include "metallb.foreignImage" $values.image.repository }}
{{ $component }}.image: {{ $values.image.repository }} is MetalLB's own program, which this chart cannot run; {{ include "metallb.image" (list $ $values.image) }} is used. Remove {{ $component }}.image. (LB3002)
{{- else if regexMatch "^v0\\.(9|1[0-9])\\." (toString (default "" $values.image.tag)) }}
{{ $component }}.image.tag: {{ $values.image.tag }} looks like a version of MetalLB. It is used as it is; if the image cannot be pulled, remove {{ $component }}.image.tag (this chart's is {{ $.Chart.AppVersion }}). (LB3002)
{{- end }}
{{- with $values.readinessProbe.port }}
{{- if ne (int .) (int $values.livenessProbe.port) }}
{{ $component }}.readinessProbe.port: both probes use {{ $component }}.livenessProbe.port ({{ $values.livenessProbe.port }}). Remove it. (LB3002)
{{- end }}
{{- end }}
{{- end }}
{{- with .Values.speaker.wanConfig }}
speaker.wanConfig: chooses timers of MetalLB's memberlist; membership here has its own, which adapt. Remove it. (LB3002)
{{- end }}
{{- with .Values.speaker.bgpDebounceTimeout }}
speaker.bgpDebounceTimeout: delayed reloads of FRR, which is not used. Remove it. (LB3002)
{{- end }}
{{- end }}

{{/* Values that configure FRR, if they switch something on (decision D7). */}}
{{- define "metallb.frr" -}}
{{- $on := list }}
{{- if (.Values.speaker.frr).enabled }}{{ $on = append $on "speaker.frr.enabled" }}{{ end }}
{{- if (.Values.frrk8s).enabled }}{{ $on = append $on "frrk8s.enabled" }}{{ end }}
{{- if (.Values.frrk8s).external }}{{ $on = append $on "frrk8s.external" }}{{ end }}
{{- if and (.Values.frrk8s).enabled (index .Values "frr-k8s") }}{{ $on = append $on "frr-k8s" }}{{ end }}
{{- if $on }}
{{ join ", " $on }}: no FRR and no frr-k8s is installed or needed, now or later: BGP belongs to the speaker itself. LB0010 on a BGPPeer says what this release does not do yet. Remove {{ ternary "it" "them" (eq (len $on) 1) }}. (LB3002)
{{- end }}
{{- end }}

{{- define "metallb.unknown" -}}
{{- range $key, $value := .values }}
{{- $path := ternary $key (printf "%s.%s" $.prefix $key) (eq $.prefix "") }}
{{- if or (has $path (list "global" "crds.global" "_prepared")) (and (empty $value) (has $path $.earlier)) }}
{{- else if has (printf "%s.*" $path) $.known }}
{{- else if has $path $.known }}
{{- if kindIs "map" $value }}
{{- include "metallb.unknown" (dict "prefix" $path "values" $value "known" $.known "earlier" $.earlier) }}
{{- end }}
{{- else }}
{{ $path }}: {{ include "metallb.explained" (dict "path" $path "key" $key "prefix" $.prefix "known" $.known) }} (LB3001)
{{- end }}
{{- end }}
{{- end }}

{{/* What is to be said of an unknown value. */}}
{{- define "metallb.explained" -}}
{{- if eq .path "speaker.hostNetwork" -}}
not a value of this chart or of MetalLB's. The speakers always use the node's network. Remove it.
{{- else if has .path (list "podSecurityPolicy" "psp") -}}
not a value of this chart. Kubernetes has had no PodSecurityPolicy since 1.25: label the namespace pod-security.kubernetes.io/enforce: privileged instead. Remove it.
{{- else if eq .path "prometheus.rbacProxy" -}}
the metrics endpoint checks for itself who may read it, so there is no proxy. Remove it.
{{- else -}}
{{- $nearest := include "metallb.nearest" . -}}
not a value of this chart.{{ if $nearest }} Did you mean {{ $nearest }}?{{ else }} Remove it.{{ end }}
{{- end }}
{{- end }}

{{/* The known value whose last word is most like this one's; one with the same parent comes first. Likeness is the share of common pairs of
letters, in percent, without regard to case, hyphens and underscores; below 60 it is none (45 with the same parent). */}}
{{- define "metallb.nearest" -}}
{{- $pairs := include "metallb.pairs" .key | splitList "," }}
{{- $best := "" }}
{{- $most := 0 }}
{{- range .known }}
{{- $candidate := trimSuffix ".*" . }}
{{- $word := $candidate | splitList "." | last }}
{{- $theirs := include "metallb.pairs" $word | splitList "," }}
{{- $common := 0 }}
{{- range $pairs }}{{ if has . $theirs }}{{ $common = add1 $common }}{{ end }}{{ end }}
{{- $likeness := div (mul 200 $common) (add (len $pairs) (len $theirs)) }}
{{- if and (ge $likeness 45) (eq (printf "%s.%s" $.prefix $word | trimPrefix ".") $candidate) }}{{ $likeness = add $likeness 15 }}{{ end }}
{{- if and (ge $likeness 60) (gt $likeness $most) }}
{{- $most = $likeness }}
{{- $best = $candidate }}
{{- end }}
{{- end }}
{{- $best }}
{{- end }}

{{- define "metallb.pairs" -}}
{{- $word := . | lower | replace "-" "" | replace "_" "" }}
{{- $pairs := list }}
{{- range $i := until (max 1 (sub (len $word) 1) | int) }}
{{- $pairs = append $pairs (substr $i (min (len $word) (add $i 2) | int) $word) }}
{{- end }}
{{- $pairs | uniq | join "," }}
{{- end }}

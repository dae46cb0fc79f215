{{/* Values that do nothing, a line each: unknown ones with the nearest right one, MetalLB's that mean nothing here with why. Nothing is
refused: whoever comes from MetalLB's chart must get an installation, and be told. The list is shown in the notes of an installation, and
is an annotation of the controller's Deployment for those who see no notes. */}}
{{- define "metallb.findings" -}}
{{/* Values of earlier versions of MetalLB's chart, of which people keep the defaults: empty they ask for nothing. */}}
{{- $earlier := list "configInline" "prometheus.controllerMetricsTLSSecret" "prometheus.speakerMetricsTLSSecret" "prometheus.secureMetricsPort" "controller.tlsMinVersion" "controller.tlsCipherSuites" "speaker.frr.secureMetricsPort" }}
{{- include "metallb.unknown" (dict "prefix" "" "values" .Values "known" (include "metallb.known" . | splitList "\n") "earlier" $earlier "meant" (.Files.Get "files/meant.txt" | trim | splitList "\n")) }}
{{- include "metallb.frr" . }}
{{- range $component := list "controller" "speaker" }}
{{- $values := index $.Values $component }}
{{- if include "metallb.foreignImage" $values.image.repository }}
{{ $component }}.image.repository: {{ $values.image.repository }} is MetalLB's image, which this chart cannot run; FerroLB's is used, {{ include "metallb.image" (list $ $values.image) }}. Remove {{ $component }}.image. (LB3002)
{{- else if regexMatch "^v0\\.(9|1[0-9])\\." (toString (default "" $values.image.tag)) }}
{{ $component }}.image.tag: {{ $values.image.tag }} looks like a version of MetalLB; it is used as it is. Remove {{ $component }}.image.tag if the image cannot be pulled; this chart's is {{ $.Chart.AppVersion }}. (LB3002)
{{- end }}
{{- with $values.readinessProbe.port }}
{{- if ne (int .) (int $values.livenessProbe.port) }}
{{ $component }}.readinessProbe.port: both probes use {{ $component }}.livenessProbe.port ({{ $values.livenessProbe.port }}). Remove {{ $component }}.readinessProbe.port. (LB3002)
{{- end }}
{{- end }}
{{- end }}
{{- $context := ternary .Values.speaker.securityContext (dict) (kindIs "map" .Values.speaker.securityContext) }}
{{- $notRoot := "" }}
{{- if and (hasKey $context "runAsUser") (ne (toString $context.runAsUser) "0") (not (kindIs "invalid" $context.runAsUser)) }}{{ $notRoot = "runAsUser" }}
{{- else if eq (toString $context.runAsNonRoot) "true" }}{{ $notRoot = "runAsNonRoot" }}{{ end }}
{{- with $notRoot }}
speaker.securityContext.{{ . }}: with {{ . }} {{ get $context . }} the capability NET_RAW does nothing, and the speaker cannot announce. Remove speaker.securityContext.{{ . }}. (LB3002)
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
{{- else if and (not (contains "." $key)) (has (printf "%s.*" $path) $.known) }}
{{- else if and (not (contains "." $key)) (has $path $.known) }}
{{- if kindIs "map" $value }}
{{- include "metallb.unknown" (dict "prefix" $path "values" $value "known" $.known "earlier" $.earlier "meant" $.meant) }}
{{- end }}
{{- else }}
{{- $said := include "metallb.meant" (dict "path" $path "key" $key "prefix" $.prefix "known" $.known "meant" $.meant) }}
{{ $path }}: not a value of this chart. {{ substr 0 1 $said | upper }}{{ substr 1 -1 $said }}. (LB3001)
{{- end }}
{{- end }}
{{- end }}

{{/* What to do about a name that is no value. `ferrolb lint` says the same: crates/ferrolb-rules/src/values/meant.rs. */}}
{{- define "metallb.meant" -}}
{{- $said := "" }}
{{- if contains "." .key }}
{{- $is := has .path .known }}
{{- range .known }}{{ if and (hasSuffix ".*" .) (hasPrefix (trimSuffix "*" .) (printf "%s." $.path)) }}{{ $is = true }}{{ end }}{{ end }}
{{- $words := splitList "." .path }}
{{- if $is }}{{ $said = printf "write `%s` below `%s`: in a file a dot is part of the name" (last $words) (initial $words | join ".") }}{{ end }}
{{- end }}
{{- $before := printf "%s: " .path }}
{{- if not $said }}{{ range .meant }}{{ if hasPrefix $before . }}{{ $said = trimPrefix $before . }}{{ end }}{{ end }}{{ end }}
{{- if not $said }}
{{- with include "metallb.nearest" . }}{{ $said = printf "did you mean %s? Otherwise remove it" . }}{{ end }}
{{- end }}
{{- default "remove it; `helm show values` lists the values that exist" $said }}
{{- end }}

{{/* The known values whose last word is most like this one's; none, if there are more than two. Likeness is the share of common pairs of letters, in
percent, without regard to case, hyphens and underscores: at least 50 in the same group, which comes first by 15, and 80 elsewhere. */}}
{{- define "metallb.nearest" -}}
{{- $pairs := include "metallb.pairs" .key | splitList "," }}
{{- $best := list }}
{{- $most := 0 }}
{{- range .known }}
{{- $candidate := trimSuffix ".*" . }}
{{- $word := $candidate | splitList "." | last }}
{{- $theirs := include "metallb.pairs" $word | splitList "," }}
{{- $common := 0 }}
{{- range $pairs }}{{ if has . $theirs }}{{ $common = add1 $common }}{{ end }}{{ end }}
{{- $likeness := div (mul 200 $common) (add (len $pairs) (len $theirs)) }}
{{- $beside := eq (printf "%s.%s" $.prefix $word | trimPrefix ".") $candidate }}
{{- if ge $likeness (ternary 50 80 $beside) }}
{{- $score := add $likeness (ternary 15 0 $beside) }}
{{- if gt $score $most }}{{ $most = $score }}{{ $best = list }}{{ end }}
{{- if eq $score $most }}{{ $best = append $best $candidate }}{{ end }}
{{- end }}
{{- end }}
{{- if le (len $best) 2 }}{{ join " or " $best }}{{ end }}
{{- end }}

{{- define "metallb.pairs" -}}
{{- $word := regexReplaceAll "[^a-z0-9]" (lower .) "" }}
{{- $pairs := list }}
{{- range $i := until (max 1 (sub (len $word) 1) | int) }}
{{- $pairs = append $pairs (substr $i (min (len $word) (add $i 2) | int) $word) }}
{{- end }}
{{- $pairs | uniq | join "," }}
{{- end }}

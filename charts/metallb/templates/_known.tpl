{{/* All values, made from values.yaml. */}}
{{- define "metallb.known" -}}
imagePullSecrets
nameOverride
fullnameOverride
loadBalancerClass
rbac
rbac.create
tls
tls.cipherSuites
tls.curvePreferences
tls.minVersion
tls.controllerMetricsTLSSecret
tls.speakerMetricsTLSSecret
prometheus
prometheus.scrapeAnnotations
prometheus.metricsPort
prometheus.rbacPrometheus
prometheus.serviceAccount
prometheus.namespace
prometheus.podMonitor
prometheus.podMonitor.enabled
prometheus.podMonitor.additionalLabels.*
prometheus.podMonitor.annotations.*
prometheus.podMonitor.jobLabel
prometheus.podMonitor.interval
prometheus.podMonitor.metricRelabelings
prometheus.podMonitor.relabelings
prometheus.podMonitor.tlsConfig.*
prometheus.serviceMonitor
prometheus.serviceMonitor.enabled
prometheus.serviceMonitor.speaker
prometheus.serviceMonitor.speaker.additionalLabels.*
prometheus.serviceMonitor.speaker.annotations.*
prometheus.serviceMonitor.speaker.tlsConfig.*
prometheus.serviceMonitor.controller
prometheus.serviceMonitor.controller.additionalLabels.*
prometheus.serviceMonitor.controller.annotations.*
prometheus.serviceMonitor.controller.tlsConfig.*
prometheus.serviceMonitor.jobLabel
prometheus.serviceMonitor.interval
prometheus.serviceMonitor.metricRelabelings
prometheus.serviceMonitor.relabelings
prometheus.prometheusRule
prometheus.prometheusRule.enabled
prometheus.prometheusRule.additionalLabels.*
prometheus.prometheusRule.annotations.*
prometheus.prometheusRule.staleConfig
prometheus.prometheusRule.staleConfig.enabled
prometheus.prometheusRule.staleConfig.labels.*
prometheus.prometheusRule.configNotLoaded
prometheus.prometheusRule.configNotLoaded.enabled
prometheus.prometheusRule.configNotLoaded.labels.*
prometheus.prometheusRule.addressPoolExhausted
prometheus.prometheusRule.addressPoolExhausted.enabled
prometheus.prometheusRule.addressPoolExhausted.labels.*
prometheus.prometheusRule.addressPoolExhausted.excludePools
prometheus.prometheusRule.addressPoolUsage
prometheus.prometheusRule.addressPoolUsage.enabled
prometheus.prometheusRule.addressPoolUsage.thresholds
prometheus.prometheusRule.addressPoolUsage.excludePools
prometheus.prometheusRule.bgpSessionDown
prometheus.prometheusRule.bgpSessionDown.enabled
prometheus.prometheusRule.bgpSessionDown.labels.*
prometheus.prometheusRule.notAnnounced
prometheus.prometheusRule.notAnnounced.enabled
prometheus.prometheusRule.notAnnounced.labels.*
prometheus.prometheusRule.announcedTwice
prometheus.prometheusRule.announcedTwice.enabled
prometheus.prometheusRule.announcedTwice.labels.*
prometheus.prometheusRule.addressConflict
prometheus.prometheusRule.addressConflict.enabled
prometheus.prometheusRule.addressConflict.labels.*
prometheus.prometheusRule.flapping
prometheus.prometheusRule.flapping.enabled
prometheus.prometheusRule.flapping.labels.*
prometheus.prometheusRule.flapping.turns
prometheus.prometheusRule.extraAlerts
prometheus.grafanaDashboard
prometheus.grafanaDashboard.enabled
prometheus.grafanaDashboard.labels.*
prometheus.grafanaDashboard.annotations.*
controller
controller.enabled
controller.replicas
controller.logLevel
controller.command
controller.webhookMode
controller.image
controller.image.repository
controller.image.tag
controller.image.pullPolicy
controller.strategy.*
controller.serviceAccount
controller.serviceAccount.create
controller.serviceAccount.name
controller.serviceAccount.annotations.*
controller.securityContext.*
controller.resources.*
controller.nodeSelector.*
controller.tolerations
controller.priorityClassName
controller.runtimeClassName
controller.affinity.*
controller.podAnnotations.*
controller.labels.*
controller.livenessProbe
controller.livenessProbe.enabled
controller.livenessProbe.port
controller.livenessProbe.failureThreshold
controller.livenessProbe.initialDelaySeconds
controller.livenessProbe.periodSeconds
controller.livenessProbe.successThreshold
controller.livenessProbe.timeoutSeconds
controller.readinessProbe
controller.readinessProbe.enabled
controller.readinessProbe.port
controller.readinessProbe.failureThreshold
controller.readinessProbe.initialDelaySeconds
controller.readinessProbe.periodSeconds
controller.readinessProbe.successThreshold
controller.readinessProbe.timeoutSeconds
controller.webPage
controller.webPage.enabled
controller.webPage.address
controller.webPage.port
controller.extraContainers
speaker
speaker.enabled
speaker.command
speaker.logLevel
speaker.tolerateMaster
speaker.memberlist
speaker.memberlist.enabled
speaker.memberlist.mlBindPort
speaker.memberlist.mlBindAddrOverride
speaker.memberlist.mlSecretKeyPath
speaker.secretName
speaker.excludeInterfaces
speaker.excludeInterfaces.enabled
speaker.ignoreExcludeLB
speaker.announceIfAllExcluded
speaker.drainOn
speaker.failover
speaker.promiscuous
speaker.answerPing
speaker.bgpDebounceTimeout
speaker.wanConfig
speaker.image
speaker.image.repository
speaker.image.tag
speaker.image.pullPolicy
speaker.updateStrategy.*
speaker.serviceAccount
speaker.serviceAccount.create
speaker.serviceAccount.name
speaker.serviceAccount.annotations.*
speaker.securityContext.*
speaker.resources.*
speaker.nodeSelector.*
speaker.tolerations
speaker.priorityClassName
speaker.affinity.*
speaker.runtimeClassName
speaker.podAnnotations.*
speaker.labels.*
speaker.livenessProbe
speaker.livenessProbe.enabled
speaker.livenessProbe.port
speaker.livenessProbe.failureThreshold
speaker.livenessProbe.initialDelaySeconds
speaker.livenessProbe.periodSeconds
speaker.livenessProbe.successThreshold
speaker.livenessProbe.timeoutSeconds
speaker.readinessProbe
speaker.readinessProbe.enabled
speaker.readinessProbe.port
speaker.readinessProbe.failureThreshold
speaker.readinessProbe.initialDelaySeconds
speaker.readinessProbe.periodSeconds
speaker.readinessProbe.successThreshold
speaker.readinessProbe.timeoutSeconds
speaker.startupProbe.*
speaker.frr.*
speaker.reloader.*
speaker.frrMetrics.*
speaker.initContainers.*
speaker.extraContainers
crds
crds.enabled
crds.validationFailurePolicy
crds.namespace
admissionPolicy
admissionPolicy.enabled
frrk8s.*
frr-k8s.*
networkpolicies
networkpolicies.enabled
networkpolicies.defaultDeny
networkpolicies.apiPort
{{- end }}

{{/* What they are by default, made from values.yaml. */}}
{{- define "metallb.defaults" -}}
imagePullSecrets: []
nameOverride: ""
fullnameOverride: ""
loadBalancerClass: ""
rbac:
  create: true
tls:
  cipherSuites: ""
  curvePreferences: ""
  minVersion: ""
  controllerMetricsTLSSecret: ""
  speakerMetricsTLSSecret: ""
prometheus:
  scrapeAnnotations: false
  metricsPort: 9120
  rbacPrometheus: true
  serviceAccount: ""
  namespace: ""
  podMonitor:
    enabled: false
    additionalLabels: {}
    annotations: {}
    jobLabel: app.kubernetes.io/name
    interval: null
    metricRelabelings: []
    relabelings: []
    tlsConfig:
      insecureSkipVerify: true
  serviceMonitor:
    enabled: false
    speaker:
      additionalLabels: {}
      annotations: {}
      tlsConfig:
        insecureSkipVerify: true
    controller:
      additionalLabels: {}
      annotations: {}
      tlsConfig:
        insecureSkipVerify: true
    jobLabel: app.kubernetes.io/name
    interval: null
    metricRelabelings: []
    relabelings: []
  prometheusRule:
    enabled: false
    additionalLabels: {}
    annotations: {}
    staleConfig:
      enabled: true
      labels:
        severity: warning
    configNotLoaded:
      enabled: true
      labels:
        severity: warning
    addressPoolExhausted:
      enabled: true
      labels:
        severity: critical
      excludePools: ""
    addressPoolUsage:
      enabled: true
      thresholds:
        - percent: 75
          labels:
            severity: warning
        - percent: 85
          labels:
            severity: warning
        - percent: 95
          labels:
            severity: critical
      excludePools: ""
    bgpSessionDown:
      enabled: true
      labels:
        severity: critical
    notAnnounced:
      enabled: true
      labels:
        severity: critical
    announcedTwice:
      enabled: true
      labels:
        severity: critical
    addressConflict:
      enabled: true
      labels:
        severity: critical
    flapping:
      enabled: true
      labels:
        severity: warning
      turns: 4
    extraAlerts: []
  grafanaDashboard:
    enabled: false
    labels:
      grafana_dashboard: "1"
    annotations: {}
controller:
  enabled: true
  replicas: 1
  logLevel: info
  command: null
  webhookMode: enabled
  image:
    repository: ghcr.io/ferrolb/ferrolb
    tag: null
    pullPolicy: null
  strategy:
    type: RollingUpdate
  serviceAccount:
    create: true
    name: ""
    annotations: {}
  securityContext:
    runAsNonRoot: true
    runAsUser: 65534
    fsGroup: 65534
  resources: {}
  nodeSelector: {}
  tolerations: []
  priorityClassName: ""
  runtimeClassName: ""
  affinity: {}
  podAnnotations: {}
  labels: {}
  livenessProbe:
    enabled: true
    port: 17472
    failureThreshold: 3
    initialDelaySeconds: 10
    periodSeconds: 10
    successThreshold: 1
    timeoutSeconds: 1
  readinessProbe:
    enabled: true
    port: null
    failureThreshold: 3
    initialDelaySeconds: 0
    periodSeconds: 1
    successThreshold: 1
    timeoutSeconds: 1
  webPage:
    enabled: false
    address: 127.0.0.1
    port: 7473
  extraContainers: []
speaker:
  enabled: true
  command: null
  logLevel: info
  tolerateMaster: true
  memberlist:
    enabled: true
    mlBindPort: 7946
    mlBindAddrOverride: ""
    mlSecretKeyPath: /etc/ml_secret_key
  secretName: null
  excludeInterfaces:
    enabled: true
  ignoreExcludeLB: false
  announceIfAllExcluded: true
  drainOn: []
  failover: default
  promiscuous: wireless
  answerPing: false
  bgpDebounceTimeout: null
  wanConfig: null
  image:
    repository: ghcr.io/ferrolb/ferrolb
    tag: null
    pullPolicy: null
  updateStrategy:
    type: RollingUpdate
  serviceAccount:
    create: true
    name: ""
    annotations: {}
  securityContext: {}
  resources: {}
  nodeSelector: {}
  tolerations: []
  priorityClassName: ""
  affinity: {}
  runtimeClassName: ""
  podAnnotations: {}
  labels: {}
  livenessProbe:
    enabled: true
    port: 17472
    failureThreshold: 3
    initialDelaySeconds: 10
    periodSeconds: 10
    successThreshold: 1
    timeoutSeconds: 1
  readinessProbe:
    enabled: true
    port: null
    failureThreshold: 3
    initialDelaySeconds: 0
    periodSeconds: 1
    successThreshold: 1
    timeoutSeconds: 1
  startupProbe: {}
  frr: {}
  reloader: {}
  frrMetrics: {}
  initContainers: {}
  extraContainers: []
crds:
  enabled: true
  validationFailurePolicy: Ignore
  namespace: ""
admissionPolicy:
  enabled: true
frrk8s: {}
frr-k8s: {}
networkpolicies:
  enabled: false
  defaultDeny: false
  apiPort: 6443
{{- end }}

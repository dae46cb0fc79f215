package chart_test

import (
	"regexp"
	"strings"
	"testing"
)

const manifestHead = `# FerroLB for a cluster, without Helm: namespace, accounts, webhooks, controller and speakers. Apply deploy/crds.yaml with it, in any order.
# Rendered from charts/metallb by scripts/chart; the names are those that MetalLB's chart renders, so that the commands people know keep working.
apiVersion: v1
kind: Namespace
metadata:
  name: metallb-system
  labels:
    # The speaker uses the host's network and raw sockets; without these labels its pods are refused.
    pod-security.kubernetes.io/enforce: privileged
    pod-security.kubernetes.io/audit: privileged
    pod-security.kubernetes.io/warn: privileged
---
`

const policyHead = `# Annotations of Services that do nothing are named when they are written: kubectl apply prints a warning, and nothing is ever refused
# (decision D13). For Kubernetes 1.30 and newer. Rendered from charts/metallb by scripts/chart.
`

const rightsHead = `# For who keeps MetalLB's own manifests and changes nothing but the image: what FerroLB needs and their roles do not grant (the lease by which one of
# several controllers leads, and more to read), for their accounts "controller" and "speaker". Rendered from charts/metallb by scripts/chart.
`

// plain is what Helm rendered without what only Helm needs.
func plain(text string) string {
	text = regexp.MustCompile(`(?m)^ *(helm\.sh/chart|app\.kubernetes\.io/managed-by): .*\n`).ReplaceAllString(text, "")
	text = regexp.MustCompile(`(?m)^# Source: .*\n`).ReplaceAllString(text, "")
	text = regexp.MustCompile(`\n\n+`).ReplaceAllString(text, "\n")
	return strings.TrimPrefix(strings.TrimSpace(text), "---\n") + "\n"
}

// The manifests for those without Helm, and for the cluster tests, are the chart's.
func TestTheManifestsInDeployAreRenderedFromTheChart(t *testing.T) {
	same(t, root+"deploy/metallb.yaml", manifestHead+plain(render(t, "--set=crds.enabled=false,admissionPolicy.enabled=false")))
	// Roles of their own, so that they stand beside those of deploy/metallb.yaml; for accounts, a Deployment and a Secret of MetalLB's names.
	theirs := "--set=fullnameOverride=ferrolb-rights,controller.serviceAccount.name=controller,speaker.serviceAccount.name=speaker"
	rights := plain(render(t, "--show-only=templates/rbac.yaml", theirs))
	rights = strings.ReplaceAll(rights, "resourceNames: [ferrolb-rights-", "resourceNames: [")
	same(t, root+"deploy/rights-for-metallb-manifests.yaml", rightsHead+rights)
	same(t, root+"deploy/admission-policy.yaml", policyHead+plain(render(t, "--show-only=templates/admission-policy.yaml")))
}

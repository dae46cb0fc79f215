package ferrolb_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	cluster "ferrolb.io/tests/cluster"
)

// strangers is an account that may not read metrics, beside the one that may, and a router that is not there.
const strangers = `
apiVersion: v1
kind: ServiceAccount
metadata: {name: stranger, namespace: metallb-system}
---
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: absent, namespace: metallb-system}
spec: {myASN: 64512, peerASN: 64513, peerAddress: 192.168.1.77}
`

// What upstream's dashboards and alerts ask for: name, type, labels, each of them on a program that runs.
var controllerSeries = []string{
	`gauge metallb_allocator_addresses_total{pool="default-pool"} 21`,
	`gauge metallb_allocator_ipv4_addresses_total{pool="default-pool"} 21`,
	`gauge metallb_allocator_ipv6_addresses_total{pool="default-pool"} 0`,
	`gauge metallb_allocator_addresses_in_use_total{pool="default-pool"} 1`,
	`gauge metallb_allocator_ipv4_addresses_in_use_total{pool="default-pool"} 1`,
	`gauge metallb_allocator_ipv6_addresses_in_use_total{pool="default-pool"} 0`,
	`counter metallb_k8s_client_updates_total [1-9]\d*`,
	`counter metallb_k8s_client_update_errors_total 0`,
	`gauge metallb_k8s_client_config_loaded_bool 1`,
	`gauge metallb_k8s_client_config_stale_bool 0`,
}

var speakerSeries = []string{
	`counter metallb_k8s_client_updates_total [1-9]\d*`,
	`counter metallb_k8s_client_update_errors_total 0`,
	`gauge metallb_k8s_client_config_loaded_bool 1`,
	`gauge metallb_k8s_client_config_stale_bool 0`,
	`gauge metallb_speaker_announced{service="default/web",protocol="layer2",node="node-a",ip="192.168.1.200"} 1`,
	`counter metallb_layer2_requests_received{ip="192.168.1.200"} [1-9]\d*`,
	`counter metallb_layer2_responses_sent{ip="192.168.1.200"} [1-9]\d*`,
	`counter metallb_layer2_gratuitous_sent{ip="192.168.1.200"} [1-9]\d*`,
	`gauge metallb_bgp_session_up{peer="192.168.1.77:179"} 0`,
	`counter metallb_bgp_updates_total{peer="192.168.1.77:179"} 0`,
	`gauge metallb_bgp_announced_prefixes_total{peer="192.168.1.77:179"} 0`,
	`gauge metallb_bgp_pending_prefixes_total{peer="192.168.1.77:179"} 0`,
}

// scraped reads the metrics of both programs as Prometheus does: by the API server's word, and nobody else.
func scraped(t *testing.T, s *system) {
	s.Apply(t, metricsReader+"---"+strangers)
	for _, program := range []struct {
		name, url string
		series    []string
	}{
		{"controller", "https://" + s.ControlPlane().IPv4.String() + ":9120/metrics", controllerSeries},
		{"speaker", "https://" + s.Node("node-a").IPv4.String() + ":9120/metrics", speakerSeries},
	} {
		for _, caller := range []struct{ name, status string }{{"", "401"}, {"nobody", "401"}, {"stranger", "403"}, {"reader", "200"}} {
			status, text := s.askAs(t, program.url, caller.name)
			if status != caller.status {
				t.Errorf("%s: %q is answered with %s: %s", program.name, caller.name, status, text)
			}
			if status != "200" && strings.Contains(text, "metallb_") {
				t.Errorf("%s: %q may not look, and sees\n%s", program.name, caller.name, text)
			}
		}
		for _, series := range program.series {
			text := ""
			cluster.Eventually(t, 10*time.Second, program.name+" has "+series, func() bool {
				_, text = s.askAs(t, program.url, "reader")
				return has(text, series)
			})
			if t.Failed() {
				t.Logf("%s has\n%s", program.name, text)
			}
		}
	}
	s.Kubectl(t, "delete", "bgppeer", "-n", namespace, "absent")
}

// has says whether a page of metrics has a series of this type with these labels, in any order, and such a value.
func has(text, series string) bool {
	kind, rest, _ := strings.Cut(series, " ")
	name, value := rest[:strings.LastIndex(rest, " ")], rest[strings.LastIndex(rest, " ")+1:]
	name, labels, _ := strings.Cut(strings.TrimSuffix(name, "}"), "{")
	if !strings.Contains(text, fmt.Sprintf("# TYPE %s %s\n", name, kind)) {
		return false
	}
	line := regexp.MustCompile(`(?m)^` + name + `(?:\{(.*)\})? ` + value + `$`)
	for _, match := range line.FindAllStringSubmatch(text, -1) {
		all := len(match[1]) == len(labels)
		for _, label := range strings.Split(labels, ",") {
			all = all && strings.Contains(match[1], label)
		}
		if all {
			return true
		}
	}
	return false
}

// askAs asks as an account of our namespace, with a token that nobody gave, or without one.
func (s *system) askAs(t testing.TB, url, account string) (status, text string) {
	t.Helper()
	token := ""
	switch account {
	case "":
	case "nobody":
		token = "made.up.token"
	default:
		token = s.tokenOf(t, account)
	}
	out, err := s.Laptop().Output(t.Context(), metricsOf(url, token, "-w", "\n%{http_code}")...)
	if err != nil {
		t.Fatal(err)
	}
	end := strings.LastIndex(out, "\n")
	return out[end+1:], out[:end]
}

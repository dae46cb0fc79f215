package chart_test

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"strings"
	"testing"
)

// The first user's files as they were when they ran MetalLB, by their sums.
var asTheUserHadThem = map[string]string{
	"apps/workloads/metallb/app.yaml":         "e83da08bbd942937a059a5ed261212fd1b0193692c7b32dc6c81d9d0aafdcd2e",
	"apps/workloads/metallb-config/app.yaml":  "c855b872ee88bb19e4740728b817980ad2229862ededc32cf121e916577f67f3",
	"manifests/multiple-pools.yaml":           "6f929c0e88dfb8b2c7ce8641734760b95f8f69977ff069b9c64f29bf18a39426",
	"manifests/metallb-config/ip-pool.yaml":   "43c41323469a43a995ab63e5f5ff4433a40127a264528e1bf4c12279f8aac1d3",
	"manifests/metallb-config/namespace.yaml": "545931aba25c6d47a138bf85114873238ccd61fff3c838cc41d6af1412b4d090",
	"services/pool-by-annotation.yaml":        "2d2768b94c66d3f3ef8fb6456d60acb374acf31dbd24a575f4edc47104ca5322",
	"services/static-ip.yaml":                 "fe93b22ca6297c58ffb4cd4428cd8a7f53c886e0da277a14940ebeb4a2436691",
	"services/traefik.yaml":                   "be931fce2185a6f3be4b5fa60c28a96c9aa5944e5455fbe49fa7e52bdd7bb0fd",
}

// The first user changes the repository and the version of the chart, and nothing else.
func TestTheUsersFilesDifferInTwoWords(t *testing.T) {
	for file, sum := range asTheUserHadThem {
		text, err := os.ReadFile(examples + file)
		if err != nil {
			t.Fatal(err)
		}
		before := strings.NewReplacer(
			"repoURL: https://ferrolb.github.io/ferrolb\n", "repoURL: https://metallb.github.io/metallb\n",
			"targetRevision: 0.1.0\n", "targetRevision: 0.14.8\n").Replace(string(text))
		if got := sha256.Sum256([]byte(before)); hex.EncodeToString(got[:]) != sum {
			t.Errorf("%s is not the user's file with two words changed", file)
		}
	}
}

// Every place that names a version of the chart names this one.
func TestExamplesNameThisVersion(t *testing.T) {
	text, err := os.ReadFile(chart + "/Chart.yaml")
	if err != nil {
		t.Fatal(err)
	}
	version, _ := objects(t, string(text))[0]["version"].(string)
	for file, line := range map[string]string{
		usersApplication: "targetRevision: ", examples + "../variants/flux/metallb.yaml": "version: ", examples + "../variants/k3s/metallb.yaml": "version: ",
		chart + "/charts/crds/Chart.yaml": "version: ", examples + "README.md": "+    targetRevision: ",
	} {
		text, err := os.ReadFile(file)
		if err != nil || version == "" || !strings.Contains(string(text), line+version+"\n") {
			t.Errorf("%s does not say %s%s: %v", file, line, version, err)
		}
	}
	cargo, err := os.ReadFile(root + "Cargo.toml")
	if err != nil || !strings.Contains(string(cargo), "\nversion = \""+version+"\"\n") {
		t.Errorf("the program is not of version %s: %v", version, err)
	}
}

package chart_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const book = root + "docs/book/src/"

func TestTheSecurityPageExplainsEveryRight(t *testing.T) {
	text, err := os.ReadFile(book + "security.md")
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for _, one := range objects(t, render(t)) {
		kind := fmt.Sprint(one["kind"])
		if kind != "ClusterRole" && kind != "Role" {
			continue
		}
		for _, rule := range at(one, "rules").([]any) {
			for _, resource := range words(at(rule, "resources")) {
				count++
				name := strings.TrimSuffix(resource, "/status")
				if name == "services" || name == "ipaddresspools" || name == "l2advertisements" {
					name = resource
				}
				if !strings.Contains(string(text), name) {
					t.Errorf("%s: %s is not on the page", one.title(), resource)
				}
			}
		}
	}
	if count < 30 {
		t.Errorf("only %d resources", count)
	}
}

func TestTheBookHasEveryPageAndEveryCodeExists(t *testing.T) {
	summary, err := os.ReadFile(book + "SUMMARY.md")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := filepath.Glob(book + "*.md")
	if err != nil || len(pages) < 7 {
		t.Fatalf("%d pages: %v", len(pages), err)
	}
	codes := knownCodes(t)
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		if name := filepath.Base(page); name != "SUMMARY.md" && !strings.Contains(string(summary), "("+name+")") {
			t.Errorf("%s is not in the summary", name)
		}
		for _, code := range regexp.MustCompile(`\bLB\d{4}\b`).FindAllString(string(text), -1) {
			if !codes[code] {
				t.Errorf("%s: there is no %s", filepath.Base(page), code)
			}
		}
		for _, link := range regexp.MustCompile(`\]\(([^)#:]+)\)`).FindAllStringSubmatch(string(text), -1) {
			if _, err := os.Stat(filepath.Join(book, link[1])); err != nil {
				t.Errorf("%s: %v", filepath.Base(page), err)
			}
		}
	}
}

// knownCodes are the codes that the program explains, as its source numbers them.
func knownCodes(t testing.TB) map[string]bool {
	t.Helper()
	codes := map[string]bool{}
	text, err := os.ReadFile(root + "crates/ferrolb-rules/src/reason.rs")
	if err != nil {
		t.Fatal(err)
	}
	for _, match := range regexp.MustCompile(`(?m)^    \w+ = (\d+),$`).FindAllStringSubmatch(string(text), -1) {
		codes[fmt.Sprintf("LB%04s", match[1])] = true
	}
	return codes
}

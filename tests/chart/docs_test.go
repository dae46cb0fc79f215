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

// The page's table and the roles grant the same, verb by verb, to the same component.
func TestTheSecurityPageExplainsEveryRightAndNoOther(t *testing.T) {
	text, err := os.ReadFile(book + "security.md")
	if err != nil {
		t.Fatal(err)
	}
	granted, explained := map[string]bool{}, map[string]bool{}
	for _, one := range objects(t, render(t, "--set=controller.webPage.enabled=true")) {
		if kind := fmt.Sprint(one["kind"]); kind != "ClusterRole" && kind != "Role" {
			continue
		}
		component := "speaker"
		if strings.Contains(one.title(), "controller") {
			component = "controller"
		}
		for _, rule := range at(one, "rules").([]any) {
			for _, resource := range words(at(rule, "resources")) {
				for _, verb := range words(at(rule, "verbs")) {
					granted[component+" "+verb+" "+resource] = true
				}
			}
		}
	}
	row := regexp.MustCompile(`(?m)^\| ([a-z0-9/, ]+) \| ([a-z, ]+) \| (controller|speaker|both) \|`)
	for _, cells := range row.FindAllStringSubmatch(string(text), -1) {
		components := []string{cells[3]}
		if cells[3] == "both" {
			components = []string{"controller", "speaker"}
		}
		for _, component := range components {
			for resource := range strings.SplitSeq(cells[1], ", ") {
				for verb := range strings.SplitSeq(cells[2], ", ") {
					explained[component+" "+verb+" "+resource] = true
				}
			}
		}
	}
	for right := range granted {
		if !explained[right] {
			t.Errorf("the page does not explain: %s", right)
		}
	}
	for right := range explained {
		if !granted[right] {
			t.Errorf("the page explains what nobody has: %s", right)
		}
	}
	if len(granted) < 60 {
		t.Errorf("only %d rights", len(granted))
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
		for _, include := range regexp.MustCompile(`\{\{#include ([^}]+)\}\}`).FindAllStringSubmatch(string(text), -1) {
			if _, err := os.Stat(filepath.Join(book, include[1])); err != nil {
				t.Errorf("%s: %v", filepath.Base(page), err)
			}
		}
		for _, link := range regexp.MustCompile(`\]\(([^)#:]+)\)`).FindAllStringSubmatch(string(text), -1) {
			if _, err := os.Stat(filepath.Join(book, link[1])); err != nil {
				t.Errorf("%s: %v", filepath.Base(page), err)
			}
		}
	}
}

var block = regexp.MustCompile("(?ms)^(?:<!-- ([^\n]*) -->\n)?```([^\n]*)\n(.*?)^```$")

// Commands that the reader is told to type are either run by the tests as they stand (`sh,run`; tests/cluster/ferrolb/book_test.go), or the comment before
// them names the test or script that does the same, or says why nothing does.
func TestEveryCommandInTheDocumentationIsTried(t *testing.T) {
	pages, err := filepath.Glob(book + "*.md")
	if err != nil {
		t.Fatal(err)
	}
	tests := goTests(t)
	kinds := map[string]int{}
	for _, page := range append(pages, root+"README.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range block.FindAllStringSubmatch(string(text), -1) {
			name, remark, language := filepath.Base(page), match[1], match[2]
			kinds[language]++
			switch language {
			case "sh,run", "yaml,apply", "yaml", "diff", "text":
			case "sh":
				by, tried := strings.CutPrefix(remark, "tried by: ")
				if !tried && !strings.HasPrefix(remark, "not tried as it stands: ") {
					t.Errorf("%s: nobody says who tries these commands:\n%s", name, match[3])
				}
				for _, one := range strings.Split(by, ", ") {
					if _, err := os.Stat(root + one); tried && err != nil && !tests[one] {
						t.Errorf("%s: there is no test and no file %s", name, one)
					}
				}
			default:
				t.Errorf("%s: a block is %q, which is neither sh, yaml, diff nor text:\n%s", name, language, match[3])
			}
		}
	}
	if kinds["sh,run"] < 5 || kinds["yaml,apply"] < 1 {
		t.Errorf("hardly anything is run: %v", kinds)
	}
}

// goTests are the names of the tests in Go.
func goTests(t testing.TB) map[string]bool {
	t.Helper()
	found := map[string]bool{}
	for _, folder := range []string{"", root + "tests/cluster/", root + "tests/cluster/ferrolb/"} {
		files, err := filepath.Glob(folder + "*_test.go")
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, match := range regexp.MustCompile(`(?m)^func (Test\w+)`).FindAllStringSubmatch(string(text), -1) {
				found[match[1]] = true
			}
		}
	}
	return found
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

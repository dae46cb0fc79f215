package ferrolb_test

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// used is what our programs have asked for in all tests of this run: verb, resource, and object by account.
var used struct {
	sync.Mutex
	requests map[right]bool
}

// right is what an account may do, or has done.
type right struct{ account, verb, resource string }

// unused are rights that no test of this package can see used, and why they are granted.
var unused = map[right]string{
	{controllerAccount, "create", "configurationstates"}: "asked for in passing where applying makes the object; in the log it is a patch",
	{speakerAccount, "create", "configurationstates"}:    "the same",
}

// count remembers, at the end of the test, what our programs asked for.
func (s *system) count(t testing.TB) {
	t.Cleanup(func() {
		used.Lock()
		defer used.Unlock()
		if used.requests == nil {
			used.requests = map[right]bool{}
		}
		for _, account := range []string{controllerAccount, speakerAccount} {
			requests, _ := s.RequestsSoFar(t, 0)
			for _, request := range requests.By(account) {
				used.requests[right{account, request.Verb, request.Resource}] = true
			}
		}
	})
}

func TestMain(m *testing.M) {
	code := m.Run()
	// Only all tests together use all rights.
	if pattern := flag.Lookup("test.run").Value.String(); code == 0 && pattern == "" && flag.Lookup("test.list").Value.String() == "" {
		if err := everyRightIsUsed(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// everyRightIsUsed compares what deploy/metallb.yaml grants with what was asked for.
func everyRightIsUsed() error {
	granted, err := rights(root + "deploy/metallb.yaml")
	if err != nil {
		return err
	}
	var idle []string
	for _, one := range granted {
		if !slices.ContainsFunc(one, func(r right) bool { return used.requests[r] || unused[r] != "" }) {
			idle = append(idle, fmt.Sprintf("%s %s", one[0].verb, one[0].resource)+" by "+one[0].account)
		}
	}
	if len(idle) != 0 {
		return fmt.Errorf("granted by deploy/metallb.yaml, and used in no test:\n  %s", strings.Join(idle, "\n  "))
	}
	if len(granted) < 40 {
		return fmt.Errorf("only %d rights found in deploy/metallb.yaml", len(granted))
	}
	return nil
}

// rights are what roles grant: each right for all accounts that have the role.
func rights(path string) ([][]right, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	type object struct {
		Kind     string
		Metadata struct{ Name string }
		Rules    []rbacv1.PolicyRule
		RoleRef  rbacv1.RoleRef
		Subjects []rbacv1.Subject
	}
	roles, accounts := map[string][]rbacv1.PolicyRule{}, map[string][]string{}
	decoder := yaml.NewYAMLOrJSONDecoder(file, 4096)
	for {
		var one object
		if err := decoder.Decode(&one); err != nil {
			break
		}
		switch one.Kind {
		case "Role", "ClusterRole":
			roles[one.Kind+one.Metadata.Name] = one.Rules
		case "RoleBinding", "ClusterRoleBinding":
			for _, subject := range one.Subjects {
				role := one.RoleRef.Kind + one.RoleRef.Name
				accounts[role] = append(accounts[role], subject.Namespace+"/"+subject.Name)
			}
		}
	}
	var granted [][]right
	for role, rules := range roles {
		for _, rule := range rules {
			for _, resource := range rule.Resources {
				for _, verb := range rule.Verbs {
					var each []right
					for _, account := range accounts[role] {
						each = append(each, right{account, verb, resource})
					}
					if len(each) == 0 {
						return nil, fmt.Errorf("nobody has %s", role)
					}
					granted = append(granted, each)
				}
			}
		}
	}
	return granted, nil
}

package chart_test

import (
	"os"
	"testing"

	lua "github.com/yuin/gopher-lua"
)

// health is what a script of deploy/argocd says of an object, run as Argo CD runs it: the object is the global obj, and what it returns is status and message.
func health(t testing.TB, kind string, obj any) (status, message string) {
	t.Helper()
	text, err := os.ReadFile(root + "deploy/argocd/argocd-cm.yaml")
	if err != nil {
		t.Fatal(err)
	}
	script, _ := at(objects(t, string(text))[0], "data", "resource.customizations.health.metallb.io_"+kind).(string)
	if script == "" {
		t.Fatalf("no script for %s", kind)
	}
	state := lua.NewState()
	defer state.Close()
	state.SetGlobal("obj", luaOf(state, obj))
	if err := state.DoString(script); err != nil {
		t.Fatal(err)
	}
	result, ok := state.Get(-1).(*lua.LTable)
	if !ok {
		t.Fatalf("%s returns %v", kind, state.Get(-1))
	}
	return lua.LVAsString(result.RawGetString("status")), lua.LVAsString(result.RawGetString("message"))
}

func luaOf(state *lua.LState, from any) lua.LValue {
	switch value := from.(type) {
	case map[string]any:
		table := state.NewTable()
		for key, inner := range value {
			table.RawSetString(key, luaOf(state, inner))
		}
		return table
	case []any:
		table := state.NewTable()
		for _, inner := range value {
			table.Append(luaOf(state, inner))
		}
		return table
	case string:
		return lua.LString(value)
	case int:
		return lua.LNumber(value)
	}
	return lua.LNil
}

// A sync in waves ends at an object that is Degraded, and waits for one that is Progressing: what an object of a later wave cures may be neither.
func TestNoHealthOfAPoolStopsASyncThatWouldCureIt(t *testing.T) {
	condition := func(kind, status, message string) any {
		return map[string]any{"type": kind, "status": status, "message": message}
	}
	pool := func(conditions ...any) any {
		return map[string]any{"status": map[string]any{"assignedIPv4": 0, "conditions": conditions}}
	}
	nobody, older := condition("Advertised", "False", "nobody announces it"), condition("Conflict", "True", "old has its addresses")
	for _, one := range []struct {
		name, kind string
		object     any
		wanted     [2]string
	}{
		{"not looked at", "IPAddressPool", map[string]any{}, [2]string{"Progressing", "the controller has not looked at it yet"}},
		{"sound", "IPAddressPool", pool(condition("Advertised", "True", "by a"), condition("Conflict", "False", "none")), [2]string{"Healthy", ""}},
		{"its advertisement is in the next wave", "IPAddressPool", pool(nobody), [2]string{"Healthy", "nobody announces it"}},
		{"renamed, and the old one is pruned last", "IPAddressPool", pool(older), [2]string{"Healthy", "old has its addresses"}},
		{"both", "IPAddressPool", pool(nobody, older), [2]string{"Healthy", "nobody announces it; old has its addresses"}},
		{"MetalLB's", "IPAddressPool", map[string]any{"status": map[string]any{"assignedIPv4": 1}}, [2]string{"Healthy", ""}},
		{"not judged", "ConfigurationState", map[string]any{}, [2]string{"Progressing", "no configuration has been judged yet"}},
		{"valid", "ConfigurationState", map[string]any{"status": map[string]any{"result": "Valid"}}, [2]string{"Healthy", ""}},
		{"invalid", "ConfigurationState", map[string]any{"status": map[string]any{"result": "Invalid", "errorSummary": "why"}}, [2]string{"Degraded", "why"}},
	} {
		if status, message := health(t, one.kind, one.object); status != one.wanted[0] || message != one.wanted[1] {
			t.Errorf("%s, %s: %s %q", one.kind, one.name, status, message)
		}
	}
}

package sbom

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

const cargo = `{"packages": [
 {"id": "me", "name": "me", "version": "1.0.0", "license": "Apache-2.0", "source": null},
 {"id": "used", "name": "used", "version": "2.0.0", "license": "MIT/Apache-2.0", "source": "registry", "repository": "https://example.org/used"},
 {"id": "deep", "name": "deep", "version": "3.0.0", "source": "registry"},
 {"id": "test", "name": "test", "version": "4.0.0", "source": "registry"},
 {"id": "build", "name": "build", "version": "5.0.0", "source": "registry"}],
 "resolve": {"nodes": [
 {"id": "me", "deps": [{"pkg": "used", "dep_kinds": [{"kind": null}, {"kind": "dev"}]}, {"pkg": "test", "dep_kinds": [{"kind": "dev"}]}, {"pkg": "build", "dep_kinds": [{"kind": "build"}]}]},
 {"id": "used", "deps": [{"pkg": "deep", "dep_kinds": [{"kind": null}]}]}, {"id": "deep", "deps": []}, {"id": "test", "deps": []}, {"id": "build", "deps": []}]}}`

var lock = "[[package]]\nname = \"used\"\nversion = \"2.0.0\"\nsource = \"registry\"\nchecksum = \"" + strings.Repeat("ab", 32) + "\"\n"

func TestWhatIsLinkedInIsNamedAndNothingElse(t *testing.T) {
	made, err := OfCargo([]byte(cargo), []byte(lock), "me", time.Unix(1_700_000_000, 0))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"pkg:cargo/used@2.0.0", "pkg:cargo/deep@3.0.0", strings.Repeat("ab", 32), "MIT OR Apache-2.0", "2023-11-14T22:13:20Z", `"type": "application"`} {
		if !bytes.Contains(made, []byte(want)) {
			t.Errorf("%s is not in %s", want, made)
		}
	}
	for _, not := range []string{"test@4", "build@5"} {
		if bytes.Contains(made, []byte(not)) {
			t.Errorf("%s is in %s", not, made)
		}
	}
}

func TestAProgramThatIsNotThereIsNoEmptyList(t *testing.T) {
	if made, err := OfCargo([]byte(cargo), nil, "used", time.Time{}); err == nil || !strings.Contains(err.Error(), "no package used") {
		t.Errorf("%s, %v", made, err)
	}
}

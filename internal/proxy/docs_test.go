package proxy

import (
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var updateDocs = flag.Bool("update", false, "write docs/proxy.md again")

const (
	helpBegin = "<!-- recloser-proxy --help: go test ./internal/proxy -run ProxyPage -update -->\n```\n"
	helpEnd   = "```\n"
)

// TestProxyPage keeps the flags in docs/proxy.md in step with the program.
func TestProxyPage(t *testing.T) {
	const path = "../../docs/proxy.md"
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(page), helpBegin)
	have, after, ok2 := strings.Cut(rest, helpEnd)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the flags", path)
	}
	_, help, _ := parse([]string{"--help"}, nil)
	if *updateDocs {
		if err := os.WriteFile(path, []byte(before+helpBegin+help+helpEnd+after), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(help, have); diff != "" {
		t.Errorf("%s differs (write it again with -update):\n%s", path, diff)
	}
}

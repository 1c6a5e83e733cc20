package cli

import (
	"bytes"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/reclosermesh/recloser/internal/local"
	"github.com/reclosermesh/recloser/internal/observe/breakers"
)

func TestUpRefusesWrongCalls(t *testing.T) {
	manifest := filepath.Join(t.TempDir(), "m.yaml")
	if err := os.WriteFile(manifest, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "filename"},
		{[]string{"-f", "/no/such/file"}, "/no/such/file"},
		{[]string{"-f", manifest, "--publish", "8200"}, `--publish "8200": want`},
		{[]string{"-f", manifest, "--log-level", "loud"}, `--log-level "loud"`},
		{[]string{"-f", manifest, "extra"}, "extra"},
	} {
		var out bytes.Buffer
		args := append([]string{"up"}, c.args...)
		status := Run(t.Context(), args, Streams{In: strings.NewReader(""), Out: &out, Err: &out})
		if status != ExitUsage || !strings.Contains(out.String(), c.want) {
			t.Errorf("recloser %s: status %d, want 2 and %q in\n%s", strings.Join(args, " "), status, c.want, out.String())
		}
	}
}

func TestUpSaysWhyItCannotStart(t *testing.T) {
	manifest := filepath.Join(t.TempDir(), "m.yaml")
	if err := os.WriteFile(manifest, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	status := Run(t.Context(), []string{"up", "-f", manifest, "--proxy", "/no/such/proxy"},
		Streams{In: strings.NewReader(""), Out: &out, Err: &out})
	if status != ExitError || !strings.Contains(out.String(), "there is no such program") {
		t.Errorf("status %d\n%s", status, out.String())
	}
}

func TestUpScreenTellsOfEvents(t *testing.T) {
	var out bytes.Buffer
	s := &upScreen{out: &out, now: func() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) }}
	for _, e := range []local.Event{
		{Kind: local.Started, Instance: "web-1"},
		{Kind: local.Ready, Instance: "web-1", Addresses: []string{"127.9.0.1:80"}},
		{Kind: local.Crashed, Instance: "web-1", Part: "web", Detail: "exit status 3", Lines: []string{"oh", "no"}, Restart: time.Second},
		{Kind: local.Refused, Owner: "deployment/db -n shop", Where: "m.yaml:7", Detail: "no"},
		{Kind: local.Ended, Instance: "web-1"},
	} {
		s.event(e)
	}
	want := `03:04:05 web-1 is ready on 127.9.0.1:80
03:04:05 web-1: web ended (exit status 3); next start in 1s
         the last that it said:
           oh
           no
03:04:05 deployment/db -n shop (m.yaml:7) is not run: no
`
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
}

func TestUpHints(t *testing.T) {
	instances := []local.Instance{{Namespace: "a"}, {Namespace: "b"}, {Namespace: "a", Outbound: netip.AddrPort{}}}
	want := []string{
		"recloser stat deploy -n a --control http://127.0.0.1:1", "recloser stat deploy -n b --control http://127.0.0.1:1",
		"recloser breakers -w --control http://127.0.0.1:1", "recloser events -f --control http://127.0.0.1:1",
	}
	if got := hints(instances, "127.0.0.1:1"); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	if got := hints(instances[:1], "127.0.0.1:8084"); got[0] != "recloser stat deploy -n a" {
		t.Errorf("%q", got)
	}
	if got := hints([]local.Instance{{Kind: "Workload", Namespace: "a"}}, "127.0.0.1:8084"); got[0] != "recloser stat workload -n a" {
		t.Errorf("%q", got)
	}
}

func TestBreakerLine(t *testing.T) {
	e := &breakers.Event{
		Client: breakers.Client{Workload: "web"}, Service: breakers.Service{Name: "bb"},
		Endpoint: breakers.Endpoint{Address: "127.9.0.1:80", Pod: "bad-1"}, From: "closed", To: "open", Detail: "7 failures in a row",
	}
	if got, want := breakerLine(e), "breaker of web for bb, endpoint bad-1: closed -> open, 7 failures in a row"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	e.Client = breakers.Client{Pod: "publish-8200", Node: "publish-8200.shop"}
	if got := breakerLine(e); !strings.HasPrefix(got, "breaker of publish-8200 for bb") {
		t.Errorf("got %q", got)
	}
}

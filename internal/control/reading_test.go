package control_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/reclosermesh/recloser/internal/control"
	"github.com/reclosermesh/recloser/internal/control/lint"
	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/source"
)

// TestReading: whoever asks for all that was read comes to the same policy and
// the same findings, live annotations and last good values included.
func TestReading(t *testing.T) {
	const (
		accrual  = "balancer.linkerd.io/failure-accrual"
		balancer = "recloser.io/load-balancer"
	)
	p := start(t)
	p.pods.Set([]source.Object{pod("good-1", "good", "127.0.1.2", "127.0.2.2", map[string]string{"app": "bb"}, true)})
	await := func(what string, ok func() bool) {
		t.Helper()
		changed, stop := p.Watch()
		defer stop()
		for !ok() {
			select {
			case <-changed:
			case <-p.ctx.Done():
				t.Fatal(what)
			}
		}
	}
	text := func() string {
		e, err := p.Policy(demo, "bb", 8080)
		must(t, err)
		var b bytes.Buffer
		must(t, e.WriteText(&b))
		return b.String()
	}
	has := func(s string) func() bool {
		return func() bool { return bytes.Contains([]byte(text()), []byte(s)) }
	}
	compare := func(step string) {
		t.Helper()
		r, err := p.Reading()
		must(t, err)
		raw, err := json.Marshal(r)
		must(t, err)
		var back control.Reading
		must(t, json.Unmarshal(raw, &back))
		off, err := control.Restore(&back)
		must(t, err)
		e, err := off.Effective(model.Client{Namespace: demo}, model.Name{Namespace: demo, Name: "bb"}, 8080)
		must(t, err)
		var got bytes.Buffer
		must(t, e.WriteText(&got))
		if diff := cmp.Diff(text(), got.String()); diff != "" {
			t.Errorf("%s: policy (-mesh +restored):\n%s", step, diff)
		}
		if diff := cmp.Diff(p.Problems(), off.Findings); diff != "" {
			t.Errorf("%s: findings (-mesh +restored):\n%s", step, diff)
		}
		want, have := p.World().Service(demo, "bb"), off.World.Service(demo, "bb")
		if diff := cmp.Diff(want.Ports[0].Endpoints, have.Ports[0].Endpoints); diff != "" {
			t.Errorf("%s: endpoints (-mesh +restored):\n%s", step, diff)
		}
	}
	await("the pod", func() bool { return len(p.World().Service(demo, "bb").Ports[0].Endpoints) == 1 })
	compare("as in the file")

	must(t, p.Annotate("svc", demo, "bb", map[string]*string{accrual: new("consecutive")}))
	await("the live annotation", has("recloser annotate"))
	compare("with a live annotation")

	// Three last good values of three ages, and nothing in the objects that
	// says them any more.
	annotate := func(s string) {
		p.edit("  name: bb\n", "  name: bb\n  annotations:\n    "+s+"\n")
	}
	annotate(balancer + `: random`)
	await("random", has("random"))
	p.edit(balancer+": random", balancer+": randm")
	await("a stale balancer", has("the last good version"))
	compare("with a stale balancer")
	p.edit(balancer+": randm", balancer+": randm\n    "+accrual+": unified\n    config.linkerd.io/opaque-ports: \"8080\"")
	await("unified", has("unified"))
	p.edit(`opaque-ports: "8080"`, `opaque-ports: "99999"`)
	p.edit(accrual+": unified", accrual+": unifid")
	await("a stale breaker", func() bool {
		return has("breaker.mode                      unified")() && lint.Count(p.Problems(), lint.Error) == 3
	})
	compare("with all stale")

	const routing = "recloser.io/stack-routes: \"true\"\n    recloser.io/route-to: other:81\n    recloser.io/failover: a,b.far:80\n    recloser.io/failover-overflow: \"150\""
	p.edit(accrual+": unifid", accrual+": unifid\n    "+routing)
	routes := func() string {
		r, err := p.Reading()
		must(t, err)
		raw, err := json.Marshal(r.Memory)
		must(t, err)
		return string(raw)
	}
	await("routing", func() bool { return strings.Contains(routes(), "b.far:80") })
	for good, bad := range map[string]string{
		`stack-routes: "true"`: `stack-routes: perhaps`, "route-to: other:81": "route-to: other:0",
		"failover: a,b.far:80": "failover: a,,", `overflow: "150"`: `overflow: "1"`,
	} {
		p.edit(good, bad)
	}
	await("stale routing", func() bool { return lint.Count(p.Problems(), lint.Error) >= 7 })
	compare("with stale routing")
	if m := routes(); !strings.Contains(m, "other:81") || !strings.Contains(m, "b.far:80") || !strings.Contains(m, "150") {
		t.Errorf("the last good values are not sent: %s", m)
	}
	if !bytes.Contains([]byte(text()), []byte("tcp")) {
		t.Errorf("the last good list of opaque ports does not hold:\n%s", text())
	}
}

// TestRestoreOfAnotherVersion: an object of a kind that this program does not
// know is an error, not a world without it.
func TestRestoreOfAnotherVersion(t *testing.T) {
	_, err := control.Restore(&control.Reading{Objects: []control.ReadObject{{Object: json.RawMessage(`{"apiVersion":"v9","kind":"Cow"}`)}}})
	if err == nil || !bytes.Contains([]byte(err.Error()), []byte("v9/Cow")) {
		t.Errorf("error %v", err)
	}
}

// TestReadingOfGoldens: for every golden the answers are the same when all that
// was read has been sent over.
func TestReadingOfGoldens(t *testing.T) {
	names, err := filepath.Glob("testdata/*.txtar")
	must(t, err)
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(name)
			must(t, err)
			dir := t.TempDir()
			var ask []byte
			for _, f := range a.Files {
				switch f.Name {
				case "ask":
					ask = f.Data
				case "want":
				default:
					must(t, os.WriteFile(filepath.Join(dir, f.Name), f.Data, 0o600))
				}
			}
			t.Chdir(dir)
			off, err := control.Read([]string{"."})
			must(t, err)
			r, err := control.ReadingOf([]string{"."}, off)
			must(t, err)
			raw, err := json.Marshal(r)
			must(t, err)
			var back control.Reading
			must(t, json.Unmarshal(raw, &back))
			restored, err := control.Restore(&back)
			must(t, err)
			for line := range strings.Lines(string(ask)) {
				var want, got bytes.Buffer
				answer(t, &want, off, strings.Fields(line))
				answer(t, &got, restored, strings.Fields(line))
				if diff := cmp.Diff(want.String(), got.String()); diff != "" {
					t.Errorf("%s: the answers differ (-files +restored):\n%s", strings.TrimSpace(line), diff)
				}
			}
		})
	}
}

package perf

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// realPrograms builds ours and returns a Config that names them. Tests with
// programs take seconds, and are not for -short.
func realPrograms(t *testing.T) Config {
	t.Helper()
	if testing.Short() {
		t.Skip("starts programs")
	}
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", dir+"/", "./reverseproxy", "./grpcpeer", "../../../cmd/recloser-proxy")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return Config{
		Proxy: filepath.Join(dir, "recloser-proxy"), ReverseProxy: filepath.Join(dir, "reverseproxy"), GRPCPeer: filepath.Join(dir, "grpcpeer"),
		Envoy: os.Getenv("RECLOSER_BENCH_ENVOY"), WorkDir: t.TempDir(),
	}
}

// skipWithout skips where one of programs is not installed.
func skipWithout(t *testing.T, programs ...string) {
	t.Helper()
	for _, program := range programs {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip(err)
		}
	}
}

// TestSubjects starts every subject that is installed under every traffic,
// which sends one request, and holds some idle connections or streams.
func TestSubjects(t *testing.T) {
	skipWithout(t, "nginx")
	c := realPrograms(t).withDefaults()
	for i := range traffics {
		tr := &traffics[i]
		t.Run(tr.name, func(t *testing.T) {
			b := &bench{config: c, dir: t.TempDir(), programs: map[string]string{}}
			b.programs[tr.origin], _ = b.find(t.Context(), tr.origin)
			up, err := b.startUpstream(t.Context(), tr)
			if err != nil {
				t.Fatal(err)
			}
			defer up.stop()
			for _, name := range tr.subjects {
				t.Run(name, func(t *testing.T) {
					if b.programs[named(subjects, name).program], err = b.find(t.Context(), named(subjects, name).program); err != nil {
						t.Skip(err)
					}
					testSubject(t, b, tr, name, up)
				})
			}
		})
	}
}

func testSubject(t *testing.T, b *bench, tr *traffic, name string, up *upstream) {
	p, err := b.startSubject(t.Context(), tr, name, up)
	if err != nil {
		t.Fatal(err)
	}
	defer p.stop()
	closeAll, err := openIdle(t.Context(), p.addr, 2, tr.ask())
	if err != nil {
		t.Fatalf("%v%s", err, p.lastOutput())
	}
	closeAll()
	if tr.idle != idleStreams {
		return
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	held, err := holdHTTP2(ctx, p.addr, streamsPerConnection)
	if err != nil {
		t.Fatalf("%v%s", err, p.lastOutput())
	}
	held.Close()
}

// TestUnable has a peer that is installed and of no use.
func TestUnable(t *testing.T) {
	skipWithout(t, "nginx")
	if testing.Short() {
		t.Skip("starts programs")
	}
	program := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(program, []byte("#!/bin/sh\necho no such option >&2\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	b := &bench{config: Config{Proxy: program}.withDefaults(), dir: t.TempDir(), programs: map[string]string{"nghttpx": program, ours: program}}
	b.programs["nginx"], _ = b.find(t.Context(), "nginx")
	tr := chosen([]string{"h2-h1"})[0]
	up, err := b.startUpstream(t.Context(), tr)
	if err != nil {
		t.Fatal(err)
	}
	defer up.stop()
	able, err := b.able(t.Context(), tr, up, []string{"nginx", "nghttpx"})
	if err != nil || len(able) != 1 || able[0] != "nginx" {
		t.Errorf("able %v, %v, want nginx", able, err)
	}
	if len(b.unable) != 1 || !strings.HasPrefix(b.unable[0], "nghttpx with h2-h1: ") || !strings.Contains(b.unable[0], "ended before it answered") {
		t.Errorf("noted %q", b.unable)
	}
	if _, err := b.able(t.Context(), tr, up, []string{"recloser"}); err == nil || !strings.Contains(err.Error(), "no such option") {
		t.Errorf("ours does not start: %v", err)
	}
}

// TestRun measures nginx for real, with each client.
func TestRun(t *testing.T) {
	skipWithout(t, "wrk", "h2load", "nginx")
	c := realPrograms(t)
	c.Rounds, c.Duration, c.Connections, c.HTTP2Connections, c.HTTP2Streams = 1, time.Second, 2, 1, 2
	c.IdleConnections, c.IdleStreams, c.Rate = 2, 100, 100
	c.Subjects, c.Protocols = []string{"nginx"}, []string{"h1", "h2-rate", "grpc"}
	rep, err := Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if rep.Versions["nginx"] == "" || len(rep.Traffic) != 4 {
		t.Fatalf("report %+v has figures missing", rep)
	}
	for _, s := range rep.Traffic {
		r := s.Results[0]
		if m := r.Median; m.Requests == 0 || m.P50Micros <= 0 || m.P99Micros < m.P50Micros || m.P999Micros < m.P99Micros || m.Memory.RSS == 0 {
			t.Errorf("%s: median %+v has figures missing", s.Name, m)
		}
		if len(s.Direct) != 1 || r.CPURatio != (Spread{}) {
			t.Errorf("%s: %+v, want one round of the upstream alone, and no ratio without the baseline", s.Name, s)
		}
		if s.Idle > 0 && (r.AtRest.Private == 0 || r.WithIdle.Private == 0) {
			t.Errorf("%s: memory %v, %v", s.Name, r.AtRest, r.WithIdle)
		}
	}
	path, err := rep.WriteJSON(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var back Report
	if err := json.Unmarshal(b, &back); err != nil || back.Traffic[1].Results[0].Median != rep.Traffic[1].Results[0].Median {
		t.Errorf("the JSON file does not hold the report: %v", err)
	}
}

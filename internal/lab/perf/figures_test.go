package perf

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3" // named by the resources
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/anypb"
	"sigs.k8s.io/yaml"

	_ "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"  // named by the resources
	_ "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3" // named by the resources
	_ "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3" // named by the resources
	_ "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"    // named by the resources
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"

	_ "github.com/reclosermesh/recloser/api/breaker/v1" // named by the resources
)

var update = flag.Bool("update", false, "write the golden files")

// stat is /proc/PID/stat of a process whose name is as odd as it can be.
func stat(pid, name, pgrp, utime, stime string) *fstest.MapFile {
	return &fstest.MapFile{Data: []byte(pid + " (" + name + ") S 1 " + pgrp + " 1 0 -1 4194560 1 2 3 4 " + utime + " " + stime + " 0 0 20 0 1 0 100\n")}
}

func rollup(rss, anon, shmem string) *fstest.MapFile {
	return &fstest.MapFile{Data: []byte("00400000-7ffc1000 ---p 00000000 00:00 0    [rollup]\n" +
		"Rss:    " + rss + " kB\nPss:    1 kB\nShared_Clean:  4 kB\n" +
		"Pss_Anon:  " + anon + " kB\nPss_File:  3 kB\nPss_Shmem:  " + shmem + " kB\nPrivate_Dirty:  900 kB\n")}
}

func TestGroupUsage(t *testing.T) {
	proc := fstest.MapFS{
		"7/stat":          stat("7", "nginx", "7", "100", "50"),
		"7/smaps_rollup":  rollup("2000", "10", "20"),
		"8/stat":          stat("8", "a) S 7 (b", "7", "3", "0"),
		"8/smaps_rollup":  rollup("1000", "1", "0"),
		"9/stat":          stat("9", "other", "9", "999", "999"),
		"9/smaps_rollup":  rollup("9999", "9", "9"),
		"10/cmdline":      {Data: []byte("ended")},
		"meminfo":         {Data: []byte("MemTotal: 1 kB")},
		"11/stat":         stat("11", "zombie", "11", "1", "1"),
		"11/smaps_rollup": {Data: nil},
	}
	got, err := groupUsage(proc, 7)
	if err != nil {
		t.Fatal(err)
	}
	want := usage{cpu: 1530 * time.Millisecond, memory: Memory{Private: 31 * 1024, RSS: 3000 * 1024}}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	for pgrp, why := range map[int]string{6: "no process", 11: "has no Rss"} {
		if _, err := groupUsage(proc, pgrp); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("group %d: %v, want %q", pgrp, err, why)
		}
	}
}

func TestParseStatRefuses(t *testing.T) {
	for _, bad := range []string{"", "7", "7 (x)", "7 (x) S 1 2", "7 (x) S 1 g 1 0 -1 0 1 2 3 4 5 6 7", "7 (x) S 1 2 1 0 -1 0 1 2 3 4 u 6 7"} {
		if _, _, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}

func TestParseWrk(t *testing.T) {
	line := func(status, timeout string) string {
		return `{"requests":10,"micros":2000000,"connect":0,"read":0,"write":0,"status":` + status + `,"timeout":` + timeout + `,"p50":12.000000,"p99":99.500000}`
	}
	r, err := parseWrk([]byte("Running 2s test\n  1 threads\n" + line("0", "0") + "\n"))
	if err != nil || r.Requests != 10 || r.Micros != 2_000_000 || r.P50 != 12 || r.P99 != 99.5 {
		t.Errorf("got %+v, %v", r, err)
	}
	tests := []struct{ out, want string }{
		{"unable to connect\n", "wrk printed no result"},
		{"", "wrk printed no result"},
		{line("3", "0"), "3 answers with status 400 or above"},
		{line("0", "2"), "2 requests without an answer"},
		{`{"requests":0,"micros":1}`, "no request was answered"},
	}
	for _, tt := range tests {
		if _, err := parseWrk([]byte(tt.out)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: %v, want %q", tt.out, err, tt.want)
		}
	}
}

func TestMedian(t *testing.T) {
	tests := []struct {
		in   []float64
		want float64
	}{
		{nil, 0},
		{[]float64{3}, 3},
		{[]float64{9, 1}, 5},
		{[]float64{100, 1, 2}, 2},
		{[]float64{4, 1, 3, 2}, 2.5},
	}
	for _, tt := range tests {
		if got := median(tt.in); got != tt.want {
			t.Errorf("median(%v) = %v, want %v", tt.in, got, tt.want)
		}
	}
}

// testReport has a round in which the whole machine was slow: ratios taken
// within rounds do not notice.
func testReport() *Report {
	rounds := func(cpu ...float64) []Round {
		var r []Round
		for _, c := range cpu {
			r = append(r, Round{Requests: 1000, PerSecond: 1e6 / c, CPUMicros: c, P50Micros: 50 * c, P99Micros: 90 * c, Memory: Memory{9 << 20, 12 << 20}})
		}
		return r
	}
	return &Report{
		Machine: Machine{CPUs: 2, Kernel: "6.1.0", Arch: "amd64", Go: "go1.26.8"},
		Rounds:  3, Seconds: 4, Connections: 64, Idle: 1000, Pinned: true,
		Direct: []Round{{PerSecond: 90000}, {PerSecond: 80000}, {PerSecond: 70000}},
		Results: []*Result{
			{Subject: "recloser", What: "ours", AtRest: Memory{8 << 20, 20 << 20}, WithIdle: Memory{18 << 20, 30 << 20}, Rounds: rounds(22, 44, 18)},
			{Subject: "haproxy", What: "theirs", AtRest: Memory{9 << 20, 15 << 20}, Rounds: rounds(20, 40, 20)},
		},
	}
}

func TestSummarize(t *testing.T) {
	r := testReport()
	r.summarize()
	if got, want := r.Results[0].CPURatio, (Spread{1.1, 0.9, 1.1}); got != want {
		t.Errorf("ratio %v, want %v", got, want)
	}
	if got := r.Results[0].Median.CPUMicros; got != 22 {
		t.Errorf("median %v, want 22", got)
	}
	if got, want := r.Results[1].CPURatio, (Spread{1, 1, 1}); got != want {
		t.Errorf("the baseline's ratio %v, want %v", got, want)
	}
}

func TestWriteTable(t *testing.T) {
	r := testReport()
	r.summarize()
	var b strings.Builder
	if err := r.WriteTable(&b); err != nil {
		t.Fatal(err)
	}
	golden := filepath.Join("testdata", "table.md")
	if *update {
		if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
}

// TestConfigurations fills every subject's configuration, and reads ours as
// the xDS resources that it must be.
func TestConfigurations(t *testing.T) {
	p := params{
		Listen: "127.0.0.1:8000", Port: "8000", Admin: "127.0.0.1:8001",
		Upstreams: []string{"127.0.0.1:9000", "127.0.0.2:9000"}, UpstreamPort: "9000",
		Authority: authority, Connections: 128,
	}
	for _, s := range subjects {
		p.Dir = t.TempDir()
		args, err := s.prepare(p)
		if err != nil {
			t.Errorf("%s: %v", s.name, err)
			continue
		}
		text := strings.Join(args, " ")
		if s.config != "" {
			b, err := os.ReadFile(filepath.Join(p.Dir, s.file))
			if err != nil {
				t.Fatal(err)
			}
			text += string(b)
		}
		for _, want := range []string{"127.0.0.1:8000", "127.0.0.2"} {
			if !strings.Contains(text, want) {
				t.Errorf("%s: %s is nowhere in\n%s", s.name, want, text)
			}
		}
		if strings.Contains(text, "<no value>") {
			t.Errorf("%s: unfilled: %s", s.name, text)
		}
	}

	text, err := fill(recloserConfig, p)
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Resources []map[string]any `json:"resources"`
	}
	if err := yaml.Unmarshal([]byte(text), &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Resources) != 4 {
		t.Errorf("%d resources, want a listener, a route configuration, a cluster and its endpoints", len(file.Resources))
	}
	for _, r := range file.Resources {
		b, err := yaml.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if b, err = yaml.YAMLToJSON(b); err != nil {
			t.Fatal(err)
		}
		if err := protojson.Unmarshal(b, new(anypb.Any)); err != nil {
			t.Errorf("%v: %v", r["@type"], err)
		}
	}
}

func TestFillRefuses(t *testing.T) {
	for _, bad := range []string{"{{.Nothing}}", "{{"} {
		if _, err := fill(bad, params{}); err == nil || !strings.Contains(err.Error(), bad) {
			t.Errorf("%q: %v, want an error that names it", bad, err)
		}
	}
}

package perf

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
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
			r = append(r, Round{Requests: 1000, PerSecond: 1e6 / c, CPUMicros: c, P50Micros: 50 * c, P99Micros: 90 * c, P999Micros: 95 * c, Memory: Memory{9 << 20, 12 << 20}})
		}
		return r
	}
	return &Report{
		Machine: Machine{CPUs: 2, Kernel: "6.1.0", Arch: "amd64", Go: "go1.26.8"},
		Rounds:  3, Seconds: 4, Pinned: true,
		Missing: []string{"envoy: not installed"},
		Traffic: []*Section{
			{
				Name: "h1", Title: "HTTP/1.1", Unit: "request", Load: "64 connections", Idle: 1000, IdleOf: "conns",
				Direct: []Round{{PerSecond: 90000}, {PerSecond: 80000}, {PerSecond: 70000}},
				Results: []*Result{
					{Subject: "recloser", What: "ours", AtRest: Memory{8 << 20, 20 << 20}, WithIdle: Memory{18 << 20, 30 << 20}, Rounds: rounds(22, 44, 18)},
					{Subject: "haproxy", What: "theirs", AtRest: Memory{9 << 20, 15 << 20}, Rounds: rounds(20, 40, 20)},
				},
			},
			{
				Name: "h2-rate", Title: "HTTP/2, at a fixed rate", Unit: "call", Load: "2 connections, 100 calls/s", Paced: true,
				Direct:  []Round{{PerSecond: 1000}},
				Results: []*Result{{Subject: "recloser", What: "ours", Rounds: rounds(30, 33, 36)}},
			},
		},
	}
}

func TestSummarize(t *testing.T) {
	r := testReport()
	r.summarize()
	if got, want := r.Traffic[0].Results[0].CPURatio, (Spread{1.1, 0.9, 1.1}); got != want {
		t.Errorf("ratio %v, want %v", got, want)
	}
	if got := r.Traffic[0].Results[0].Median.CPUMicros; got != 22 {
		t.Errorf("median %v, want 22", got)
	}
	if got, want := r.Traffic[0].Results[1].CPURatio, (Spread{1, 1, 1}); got != want {
		t.Errorf("the baseline's ratio %v, want %v", got, want)
	}
	if got := r.Traffic[1].Results[0].CPURatio; got != (Spread{}) {
		t.Errorf("without the baseline: ratio %v, want none", got)
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

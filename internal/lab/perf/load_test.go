package perf

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestWrkRound(t *testing.T) {
	line := func(status, timeout string) string {
		return `{"requests":10,"micros":2000000,"connect":0,"read":0,"write":0,"status":` + status + `,"timeout":` + timeout + `,"p50":12.000000,"p99":99.500000,"p999":99.900000}`
	}
	r, err := wrk{}.round("", []byte("Running 2s test\n  1 threads\n"+line("0", "0")+"\n"))
	if want := (Round{Requests: 10, PerSecond: 5, P50Micros: 12, P99Micros: 99.5, P999Micros: 99.9}); err != nil || r != want {
		t.Errorf("got %+v, %v, want %+v", r, err, want)
	}
	tests := []struct{ out, want string }{
		{"unable to connect\n", "it printed no result"},
		{"", "it printed no result"},
		{line("3", "0"), "3 answers with status 400 or above"},
		{line("0", "2"), "2 requests without an answer"},
		{`{"requests":0,"micros":1}`, "no request was answered"},
	}
	for _, tt := range tests {
		if _, err := (wrk{}).round("", []byte(tt.out)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: %v, want %q", tt.out, err, tt.want)
		}
	}
}

func TestTalkRound(t *testing.T) {
	r, err := talk{}.round("", []byte(`{"messages":30,"micros":3000000,"p50":1,"p99":2,"p999":3}`+"\n"))
	if want := (Round{Requests: 30, PerSecond: 10, P50Micros: 1, P99Micros: 2, P999Micros: 3}); err != nil || r != want {
		t.Errorf("got %+v, %v, want %+v", r, err, want)
	}
	for out, want := range map[string]string{
		"grpcpeer: refused\n":          "it printed no result",
		`{"messages":0,"micros":3000}`: "no request was answered",
	} {
		if _, err := (talk{}).round("", []byte(out)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", out, err, want)
		}
	}
}

// h2loadOutput is what h2load prints when its time is over: 1000 answers of
// 45 bytes, 128 requests under way, of which one has its head already.
func h2loadOutput(replace ...string) []byte {
	return []byte(strings.NewReplacer(replace...).Replace(`starting benchmark...
spawning thread #0: 8 total client(s). Timing-based test with 0s of warm-up time and 1s of main duration for measurements.
progress: 100% of clients started
Application protocol: h2c
Stopped all clients for thread #0

finished in 1.00s, 1000.50 req/s, 107.0KB/s
requests: 1000 total, 1128 started, 1000 done, 1000 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 1001 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 107.23KB (109800) total, 47.85KB (49000) headers (space savings 50.51%), 43.95KB (45000) data
                     min         max         mean         sd        +/- sd
time for request:       57us      9.10ms      2.13ms       832us    79.72%
`))
}

func TestH2loadRound(t *testing.T) {
	logOf := func(t *testing.T, lines ...string) string {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, h2loadLog), []byte(strings.Join(lines, "")), 0o600); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	var lines []string
	for i := range 1000 {
		lines = append(lines, fmt.Sprintf("1795308551708033\t200\t%d\n", 1000-i))
	}
	r, err := h2load{}.round(logOf(t, lines...), h2loadOutput())
	if want := (Round{Requests: 1000, PerSecond: 1000.5, P50Micros: 501, P99Micros: 991, P999Micros: 1000}); err != nil || r != want {
		t.Errorf("got %+v, %v, want %+v", r, err, want)
	}
	if _, err := (h2load{grpc: true}).round(logOf(t, lines...), h2loadOutput("45000", "50000")); err != nil {
		t.Errorf("gRPC's five bytes more: %v", err)
	}

	outputs := []struct {
		name string
		out  []byte
		want string
	}{
		{"nothing", nil, `no "finished in" line`},
		{"cut off", h2loadOutput("status codes", "status"), `no "status codes:" line`},
		{"failed", h2loadOutput("0 failed", "3 failed"), "3 failed requests"},
		{"errored", h2loadOutput("0 errored", "4 errored"), "4 errored requests"},
		{"timeout", h2loadOutput("0 timeout", "5 timeout"), "5 requests that timed out"},
		{"status", h2loadOutput("1001 2xx", "999 2xx"), "999 answers with a status of 2xx, of 1000"},
		{"refused in gRPC's form", h2loadOutput("(45000) data", "(44955) data"), "44955 bytes of bodies in 1000 answers of 45"},
		{"longer answers", h2loadOutput("(45000) data", "(99999) data"), "99999 bytes of bodies"},
		{"no answers", h2loadOutput("1000 succeeded", "0 succeeded", "1001 2xx", "0 2xx", "(45000) data", "(0) data"), "no request was answered"},
		{"a number that is none", h2loadOutput("1000.50 req/s", "1.0.50 req/s"), `no "finished in" line`},
	}
	for _, tt := range outputs {
		if _, err := (h2load{}).round(logOf(t, lines...), tt.out); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
	for line, want := range map[string]string{
		"1\t503\t20\n": "log, line 2: status 503",
		"1\t-1\t20\n":  "log, line 2: status -1",
		"1 200 20\n":   "log, line 2: \"1 200 20\"",
		"1\t200\tx\n":  "log, line 2: strconv",
	} {
		if _, err := (h2load{}).round(logOf(t, lines[0], line), h2loadOutput()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("log with %q: %v, want %q", line, err, want)
		}
	}
	if _, err := (h2load{}).round(t.TempDir(), h2loadOutput()); err == nil {
		t.Error("no log: no error")
	}
}

func TestGeneratorArgs(t *testing.T) {
	c := Config{}.withDefaults()
	dir := t.TempDir()
	h2 := "-t1 -c8 -m16 -D4 --log-file=" + filepath.Join(dir, h2loadLog) + " --connect-to=127.0.0.1:80"
	tests := []struct {
		g    generator
		want string
	}{
		{wrk{}, "-t1 -c64 -d4s -s " + filepath.Join(dir, "report.lua") + " -H Host: " + authority + " http://127.0.0.1:80/"},
		{h2load{}, h2 + " http://" + authority + "/"},
		{h2load{paced: true}, h2 + " --rps=500 http://" + authority + "/"},
		{h2load{grpc: true}, h2 + " -d " + filepath.Join(dir, h2loadBody) + " -H content-type: application/grpc -H te: trailers http://" + authority + sayPath},
		{talk{}, "talk 127.0.0.1:80 " + authority + " 4s 64 " + answer},
	}
	for _, tt := range tests {
		args, err := tt.g.args(&c, dir, "127.0.0.1:80", 4*time.Second)
		if got := strings.Join(args, " "); err != nil || got != tt.want {
			t.Errorf("%T: %q, %v, want %q", tt.g, got, err, tt.want)
		}
	}
	body, err := os.ReadFile(filepath.Join(dir, h2loadBody))
	if want := "\x00\x00\x00\x00\x2d" + answer; err != nil || string(body) != want {
		t.Errorf("the gRPC message is %q, %v, want %q", body, err, want)
	}
}

func TestQuantile(t *testing.T) {
	hundred := make([]float64, 100)
	for i := range hundred {
		hundred[i] = float64(i)
	}
	tests := []struct {
		sorted  []float64
		q, want float64
	}{
		{nil, 0.5, 0},
		{[]float64{7}, 0.999, 7},
		{hundred, 0.5, 50},
		{hundred, 0.99, 99},
		{hundred, 0.999, 99},
		{hundred, 0, 0},
	}
	for _, tt := range tests {
		if got := quantile(tt.sorted, tt.q); got != tt.want {
			t.Errorf("quantile %v of %d values is %v, want %v", tt.q, len(tt.sorted), got, tt.want)
		}
	}
}

func TestTraffic(t *testing.T) {
	for _, tr := range traffics {
		if !slices.Contains(Protocols(), tr.group) {
			t.Errorf("%s is in no group", tr.name)
		}
		if !slices.Contains(tr.subjects, "recloser") || !slices.Contains(tr.subjects, baseline) {
			t.Errorf("%s lacks ours or the baseline: %v", tr.name, tr.subjects)
		}
		for _, s := range tr.subjects {
			named(subjects, s) // panics
		}
		named(origins, tr.origin)
	}
	var names []string
	for _, tr := range chosen([]string{"grpc", "h2-rate"}) {
		names = append(names, tr.name)
	}
	if want := []string{"h2-rate", "grpc-unary", "grpc-stream"}; !slices.Equal(names, want) {
		t.Errorf("chosen %v, want %v", names, want)
	}
	c := Config{IdleConnections: -1}.withDefaults()
	if what, n := traffics[0].idleOf(&c); what != "" || n != 0 {
		t.Errorf("%d idle %s, want none", n, what)
	}
}

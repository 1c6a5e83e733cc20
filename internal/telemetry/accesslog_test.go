package telemetry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func entry() *AccessEntry {
	return &AccessEntry{
		Start:    time.Date(2026, 7, 1, 12, 30, 0, 123e6, time.UTC),
		Duration: 12 * time.Millisecond, UpstreamTime: 11 * time.Millisecond,
		Method: []byte("GET"), Path: []byte("/a?b=c"), Protocol: "HTTP/1.1", Status: 200, GRPCStatus: -1,
		BytesReceived: 3, BytesSent: 45,
		UserAgent: []byte("curl/8"), RequestID: []byte("id-1"), Authority: []byte("bb:8080"),
		UpstreamHost: "127.0.1.5:8080", UpstreamCluster: "outbound|8080||bb.demo.svc.cluster.local",
		DownstreamLocal: "127.0.1.4:4140", DownstreamRemote: "127.0.1.4:5555", RouteName: "default",
	}
}

func refusal() *AccessEntry {
	return &AccessEntry{
		Start: time.Date(2026, 7, 1, 12, 30, 0, 0, time.UTC), UpstreamTime: -1,
		Method: []byte("GET"), Path: []byte("/"), Protocol: "HTTP/1.1", Status: 503, GRPCStatus: -1,
		Reason: NoHealthyUpstream, Authority: []byte("bb:8080"), UserAgent: []byte("forged\" \xff\n"),
	}
}

func TestTextLines(t *testing.T) {
	got := string(appendTextLine(appendTextLine(nil, entry()), refusal()))
	want := `[2026-07-01T12:30:00.123Z] "GET /a?b=c HTTP/1.1" 200 - via_upstream - "-" 3 45 12 11 "-" "curl/8" "id-1" "bb:8080" "127.0.1.5:8080" outbound|8080||bb.demo.svc.cluster.local - 127.0.1.4:4140 127.0.1.4:5555 - default
[2026-07-01T12:30:00.000Z] "GET / HTTP/1.1" 503 UH no_healthy_upstream - "-" 0 0 0 - "-" "forged\" \xff\u000a" "-" "bb:8080" "-" - - - - - -
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestJSONLines(t *testing.T) {
	var got map[string]any
	if err := json.Unmarshal(appendJSONLine(nil, refusal()), &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"start_time": "2026-07-01T12:30:00.000Z", "route_name": nil, "method": "GET", "path": "/",
		"protocol": "HTTP/1.1", "response_code": 503.0, "response_flags": "UH",
		"response_code_details": "no_healthy_upstream", "connection_termination_details": nil,
		"bytes_received": 0.0, "bytes_sent": 0.0, "duration": 0.0, "upstream_service_time": nil,
		"x_forwarded_for": nil, "user_agent": "forged\" \uFFFD\n", "request_id": nil, "authority": "bb:8080",
		"upstream_host": nil, "upstream_cluster": nil, "upstream_local_address": nil,
		"downstream_local_address": nil, "downstream_remote_address": nil,
		"requested_server_name": nil, "upstream_transport_failure_reason": nil,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// A call of gRPC has its status in JSON, which names its fields.
func TestJSONLineOfGRPC(t *testing.T) {
	e := entry()
	e.GRPCStatus = 13
	if got := string(appendJSONLine(nil, e)); !strings.Contains(got, `"response_code":200,"grpc_status":13,`) {
		t.Error(got)
	}
}

// Connections of opaque bytes have no method, path, protocol and status.
func TestLinesOfTCP(t *testing.T) {
	e := &AccessEntry{
		Start: time.Date(2026, 7, 1, 12, 30, 0, 0, time.UTC), Duration: time.Second, UpstreamTime: -1, GRPCStatus: -1,
		BytesReceived: 7, BytesSent: 9, UpstreamHost: "127.0.1.5:443", UpstreamCluster: "c", UpstreamLocal: "127.0.0.1:9",
		DownstreamLocal: "127.0.1.4:4140", DownstreamRemote: "127.0.1.4:5555", ServerName: "shop.example",
	}
	refused := *e
	refused.Reason, refused.UpstreamHost = NoHealthyUpstream, ""
	got := string(appendTextLine(appendTextLine(nil, e), &refused))
	want := `[2026-07-01T12:30:00.000Z] "- - -" 0 - - - "-" 7 9 1000 - "-" "-" "-" "-" "127.0.1.5:443" c 127.0.0.1:9 127.0.1.4:4140 127.0.1.4:5555 shop.example -
[2026-07-01T12:30:00.000Z] "- - -" 0 UH no_healthy_upstream - "-" 7 9 1000 - "-" "-" "-" "-" "-" c 127.0.0.1:9 127.0.1.4:4140 127.0.1.4:5555 shop.example -
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	var line map[string]any
	if err := json.Unmarshal(appendJSONLine(nil, e), &line); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]any{
		"method": nil, "path": nil, "protocol": nil, "response_code": 0.0, "response_flags": "-",
		"response_code_details": nil, "requested_server_name": "shop.example", "bytes_received": 7.0, "bytes_sent": 9.0,
	} {
		if line[key] != want {
			t.Errorf("%s: %v, want %v", key, line[key], want)
		}
	}
}

func FuzzLines(f *testing.F) {
	f.Add([]byte("plain"))
	f.Add([]byte("\xe2\x82"))
	f.Add([]byte("a\"b\\c\nd\xf0\x9f\x98\x80"))
	f.Fuzz(func(t *testing.T, v []byte) {
		e := entry()
		e.UserAgent = v
		var got struct {
			UserAgent *string `json:"user_agent"`
		}
		if err := json.Unmarshal(appendJSONLine(nil, e), &got); err != nil {
			t.Fatal(err)
		}
		if utf8.Valid(v) && len(v) > 0 && *got.UserAgent != string(v) {
			t.Errorf("%q came back as %q", v, *got.UserAgent)
		}
		line := appendTextLine(nil, e)
		if n := bytes.Count(line, []byte("\n")); n != 1 || !utf8.Valid(line) {
			t.Errorf("%d line ends, valid UTF-8: %v: %q", n, utf8.Valid(line), line)
		}
	})
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func TestAccessLogDoesNotAllocate(t *testing.T) {
	for _, format := range []LogFormat{LogText, LogJSON} {
		l := NewAccessLog(io.Discard, format, quiet())
		e := entry()
		if n := testing.AllocsPerRun(1000, func() { l.Log(e) }); n != 0 {
			t.Errorf("format %d: %v allocations", format, n)
		}
	}
}

func TestAccessLogFlushesOnceASecondAndAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out lockedBuilder
		l := NewAccessLog(&out, LogText, quiet())
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- l.Run(ctx) }()
		synctest.Wait()
		l.Log(entry())
		if out.String() != "" {
			t.Error("a line was written at once")
		}
		time.Sleep(logFlushEvery) //nolint:forbidigo // the bubble's clock
		synctest.Wait()
		if n := strings.Count(out.String(), "\n"); n != 1 {
			t.Errorf("%d lines after a second, want 1", n)
		}
		l.Log(entry())
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if n := strings.Count(out.String(), "\n"); n != 2 {
			t.Errorf("%d lines at the end, want 2", n)
		}
	})
}

// lockedBuilder is a strings.Builder that a test may read while it is written.
type lockedBuilder struct {
	mu sync.Mutex
	b  strings.Builder
}

func (b *lockedBuilder) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuilder) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

type brokenWriter struct{ err error }

func (w *brokenWriter) Write(p []byte) (int, error) { return len(p), w.err }

func TestAccessLogReportsABrokenWriterOnce(t *testing.T) {
	var reports strings.Builder
	w := &brokenWriter{err: errors.New("disk full")}
	l := NewAccessLog(w, LogText, slog.New(slog.NewTextHandler(&reports, nil)))
	for range 3 {
		l.Log(entry())
		l.Flush()
	}
	if n := strings.Count(reports.String(), "disk full"); n != 1 {
		t.Errorf("reported %d times, want once", n)
	}
	w.err = nil
	l.Log(entry())
	l.Flush()
	w.err = errors.New("disk full")
	l.Log(entry())
	l.Flush()
	if n := strings.Count(reports.String(), "disk full"); n != 2 {
		t.Errorf("reported %d times after it failed anew, want twice", n)
	}
}

func TestNilAccessLog(t *testing.T) {
	var l *AccessLog
	l.Log(entry())
	l.Flush()
	if l.Enabled() {
		t.Error("a nil log is enabled")
	}
}

func TestParseLogFormat(t *testing.T) {
	for s, want := range map[string]LogFormat{"text": LogText, "json": LogJSON} {
		if got, err := ParseLogFormat(s); err != nil || got != want {
			t.Errorf("%q: %v, %v", s, got, err)
		}
	}
	if _, err := ParseLogFormat("xml"); err == nil || !strings.Contains(err.Error(), `"xml"`) {
		t.Errorf("xml: %v", err)
	}
}

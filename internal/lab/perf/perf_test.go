package perf

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

// TestMain runs the tests, or is one of the programs that they start.
func TestMain(m *testing.M) {
	switch os.Getenv("PERF_TEST_PROGRAM") {
	case "serve":
		h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, answer) })
		srv := &http.Server{Addr: os.Args[1], Handler: h, ReadHeaderTimeout: time.Minute}
		fmt.Fprintln(os.Stderr, srv.ListenAndServe())
		os.Exit(1)
	case "fail":
		fmt.Fprintln(os.Stderr, "cannot read the configuration")
		os.Exit(3)
	}
	goleak.VerifyTestMain(m)
}

func TestValidate(t *testing.T) {
	if err := (Config{}).Validate(); err != nil {
		t.Errorf("the zero Config: %v", err)
	}
	tests := []struct {
		config Config
		want   string
	}{
		{Config{Rounds: -1}, "rounds -1: allowed is 1 to 1000"},
		{Config{Protocols: []string{"h1", "h3"}}, `protocol "h3": allowed are h1, h2, grpc, h2-h1, h2-h2, h2-rate, grpc-unary, grpc-stream`},
		{Config{HTTP2Connections: 2000}, "HTTP/2 connections 2000: allowed is 1 to 1000"},
		{Config{HTTP2Streams: 101}, "HTTP/2 streams 101: allowed is 1 to 100"},
		{Config{Rate: -1}, "rate -1: allowed is 1 to 1000000"},
		{Config{IdleStreams: 150}, "idle streams 150: allowed are multiples of 100"},
		{Config{IdleStreams: 20000}, "idle streams 20000: allowed is 0 to 12000"},
		{Config{Duration: time.Millisecond}, "duration 1ms: allowed is 1s to 1h0m0s"},
		{Config{Duration: 1500 * time.Millisecond}, "duration 1.5s: allowed are whole seconds"},
		{Config{Connections: 5000}, "connections 5000: allowed is 1 to 4000"},
		{Config{IdleConnections: 5000}, "idle connections 5000: allowed is 0 to 4000"},
		{Config{Subjects: []string{"nginx", "apache"}}, `subject "apache": allowed are recloser, recloser-all, nginx, haproxy, nghttpx, envoy, reverseproxy`},
	}
	for _, tt := range tests {
		if err := tt.config.Validate(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: %v, want %q", tt.config, err, tt.want)
		}
	}
	all := Config{Rounds: -1, Connections: -1}
	if err := all.Validate(); err == nil || strings.Count(err.Error(), "\n") != 1 {
		t.Errorf("two mistakes give %v, want both", err)
	}
}

func TestMissingProgram(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := Run(t.Context(), Config{Proxy: "/does/not/exist", GRPCPeer: "/nor/does/this"})
	if !errors.Is(err, ErrMissing) {
		t.Fatalf("got %v, want ErrMissing", err)
	}
	for _, program := range []string{"wrk", "h2load", "nginx", "/does/not/exist", "/nor/does/this"} {
		if !strings.Contains(err.Error(), program+": not installed") {
			t.Errorf("%q does not name %s", err, program)
		}
	}
	if strings.Contains(err.Error(), "haproxy") {
		t.Errorf("%q names a peer, which is no error", err)
	}
}

// TestMissingPeer has a PATH with everything but some of the peers.
func TestMissingPeer(t *testing.T) {
	dir := t.TempDir()
	for _, program := range []string{"wrk", "h2load", "nginx", "haproxy", "recloser-proxy", "my-envoy"} {
		if err := os.WriteFile(filepath.Join(dir, program), []byte("#!/bin/sh\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir)
	find := func(c Config) (*bench, error) {
		c.Proxy, c.ReverseProxy = filepath.Join(dir, "recloser-proxy"), filepath.Join(dir, "reverseproxy")
		c = c.withDefaults()
		b := &bench{config: c, traffics: chosen(c.Protocols)}
		return b, b.findPrograms(t.Context())
	}

	b, err := find(Config{Protocols: []string{"h1", "h2-h1"}, Envoy: "my-envoy"})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"nghttpx": "nghttpx: not installed", "reverseproxy": filepath.Join(dir, "reverseproxy") + ": not installed"}
	if diff := cmp.Diff(want, b.missing); diff != "" {
		t.Errorf("missing (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"recloser", "nginx", "haproxy", "envoy"}, b.subjectsOf(chosen([]string{"h2-h1"})[0])); diff != "" {
		t.Errorf("subjects of h2-h1 (-want +got):\n%s", diff)
	}

	for _, c := range []Config{
		{Protocols: []string{"h2"}, Subjects: []string{"nghttpx"}},
		{Protocols: []string{"h2"}, Subjects: []string{"reverseproxy"}}, // which is here, and has none
	} {
		if _, err := find(c); !errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), "none of the subjects "+c.Subjects[0]) {
			t.Errorf("%v with nobody to measure: %v", c.Subjects, err)
		}
	}
}

// testProgram starts this test binary as one of TestMain's programs.
func testProgram(ctx context.Context, t *testing.T, program string) (*process, error) {
	t.Helper()
	port, err := freePort(ctx, "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	addr := net.JoinHostPort("127.0.0.1", port)
	return start(ctx, program, t.TempDir(), addr, askHTTP1, []string{os.Args[0], addr}, []string{"PERF_TEST_PROGRAM=" + program})
}

func TestProcess(t *testing.T) {
	p, err := testProgram(t.Context(), t, "serve")
	if err != nil {
		t.Fatal(err)
	}
	closeAll, err := openIdle(t.Context(), p.addr, 3, askHTTP1)
	if err != nil {
		t.Errorf("idle connections: %v", err)
	} else {
		closeAll()
	}
	if _, err := os.Stat("/proc/self/smaps_rollup"); err == nil {
		u, err := p.usage()
		if err != nil || u.memory.Private < 1<<18 || u.memory.RSS < u.memory.Private {
			t.Errorf("usage %+v, %v: want some memory", u, err)
		}
	}
	p.stop()
	if _, err := askHTTP1(t.Context(), p.addr); err == nil {
		t.Error("it answers after stop")
	}
}

func TestProcessThatFails(t *testing.T) {
	_, err := testProgram(t.Context(), t, "fail")
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"ended before it answered", "exit status 3", "cannot read the configuration"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q lacks %q", err, want)
		}
	}
}

func TestProcessEndsWithContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	p, err := testProgram(ctx, t, "serve")
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	<-p.done
	p.stop() // must not wait for what has ended
}

func TestAskRefusesOtherAnswers(t *testing.T) {
	tests := []struct{ name, answer, want string }{
		{"status", "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", `answer "HTTP/1.1 503 Service Unavailable"`},
		{"another body", "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc", "content-length 3"},
		{"no length", "HTTP/1.1 200 OK\r\n\r\n", "content-length -1"},
		{"bad length", "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "invalid syntax"},
		{"cut off", "HTTP/1.1 200 OK\r\nContent-Le", "EOF"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			client, server := net.Pipe()
			done := make(chan struct{})
			go func() {
				defer close(done)
				buf := make([]byte, 1024)
				if _, err := server.Read(buf); err == nil {
					_, _ = server.Write([]byte(tt.answer))
				}
				server.Close()
			}()
			if err := askOn(t.Context(), client); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			client.Close()
			<-done
		})
	}
}

func TestPinning(t *testing.T) {
	argv := []string{"nginx", "-c", "x"}
	tests := []struct {
		pin  pinning
		at   place
		want string
	}{
		{pinning{"taskset", 4}, subjectCPU, "taskset -c 0 nginx -c x"},
		{pinning{"taskset", 4}, otherCPUs, "taskset -c 1-3 nginx -c x"},
		{pinning{"taskset", 4}, anywhere, "nginx -c x"},
		{pinning{"taskset", 1}, subjectCPU, "nginx -c x"},
		{pinning{"", 4}, subjectCPU, "nginx -c x"},
	}
	for _, tt := range tests {
		if got := strings.Join(tt.pin.command(tt.at, argv), " "); got != tt.want {
			t.Errorf("%+v %d: %q, want %q", tt.pin, tt.at, got, tt.want)
		}
	}
}

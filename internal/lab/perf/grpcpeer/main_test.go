package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// startServer serves on an address until the test ends, and has answered.
func startServer(t *testing.T) (addr string) {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr = l.Addr().String()
	l.Close()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx, []string{"serve", addr}, nil) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	callSay(t, addr)
	return addr
}

func callSay(t *testing.T, addr string) {
	t.Helper()
	cc, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(raw{}), grpc.WaitForReady(true)))
	if err != nil {
		t.Fatal(err)
	}
	defer cc.Close()
	in, out := []byte("hear, hear"), []byte(nil)
	if err := cc.Invoke(t.Context(), "/recloser.bench.Echo/Say", &in, &out); err != nil || string(out) != "hear, hear" {
		t.Errorf("got %q, %v", out, err)
	}
}

func TestSay(t *testing.T) { callSay(t, startServer(t)) }

func TestTalk(t *testing.T) {
	addr := startServer(t)
	var out bytes.Buffer
	if err := run(t.Context(), []string{"talk", addr, "a.test", "20ms", "4", "a message"}, &out); err != nil {
		t.Fatal(err)
	}
	var r result
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	if r.Messages == 0 || r.Micros == 0 || r.P50 > r.P99 || r.P99 > r.P999 {
		t.Errorf("got %+v, want figures", r)
	}
}

// stream is a grpc.ClientStream that receives what it holds, and then fails.
type stream struct {
	grpc.ClientStream
	messages []string
	err      error
}

func (s *stream) RecvMsg(m any) error {
	if len(s.messages) == 0 {
		return s.err
	}
	*m.(*[]byte), s.messages = []byte(s.messages[0]), s.messages[1:]
	return nil
}

func TestReceive(t *testing.T) {
	tests := []struct {
		name     string
		sent     int
		messages []string
		err      error
		want     string
	}{
		{"all", 2, []string{"a", "a"}, io.EOF, ""},
		{"another message", 1, []string{"b"}, io.EOF, `received "b", sent "a"`},
		{"too few", 2, []string{"a"}, io.EOF, "ended before all"},
		{"too many", 1, []string{"a", "a"}, io.EOF, "more messages than were sent"},
		{"failure", 1, nil, io.ErrUnexpectedEOF, "unexpected EOF"},
	}
	for _, tt := range tests {
		sent := make(chan time.Time, tt.sent)
		for range tt.sent {
			sent <- time.Now()
		}
		close(sent)
		latencies, err := receive(&stream{messages: tt.messages, err: tt.err}, sent, "a")
		if tt.want == "" && (err != nil || len(latencies) != tt.sent) || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %d latencies, %v, want %q", tt.name, len(latencies), err, tt.want)
		}
	}
}

func TestRefusals(t *testing.T) {
	tests := []struct {
		args []string
		want string
	}{
		{nil, "usage"},
		{[]string{"serve"}, "usage"},
		{[]string{"serve", "nowhere"}, "missing port"},
		{[]string{"talk", "127.0.0.1:1", "a.test", "soon", "4", "a"}, `invalid duration "soon"`},
		{[]string{"talk", "127.0.0.1:1", "a.test", "1s", "few", "a"}, `"few"`},
		{[]string{"talk", "127.0.0.1:1", "a.test", "1ms", "4", "a"}, "Unavailable"},
	}
	for _, tt := range tests {
		if err := run(t.Context(), tt.args, nil); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: %v, want %q", tt.args, err, tt.want)
		}
	}
	var b []byte
	if err := (raw{}).Unmarshal(nil, b); err == nil {
		t.Error("a message that is no *[]byte: no error")
	}
	if _, err := (raw{}).Marshal(b); err == nil {
		t.Error("a message that is no *[]byte: no error")
	}
}

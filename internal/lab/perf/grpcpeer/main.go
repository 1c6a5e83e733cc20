// Command grpcpeer is both ends of the gRPC traffic of package perf, with
// gRPC's own library and nothing of ours in between: a server that echoes, and
// a client that keeps one long stream busy. Messages are bytes as they are, so
// that what is measured is not a serialisation.
//
//	grpcpeer serve HOST:PORT[,HOST:PORT]
//	grpcpeer talk HOST:PORT AUTHORITY DURATION WINDOW MESSAGE
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc/mem"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "grpcpeer:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	switch {
	case len(args) == 2 && args[0] == "serve":
		return serve(ctx, strings.Split(args[1], ","))
	case len(args) == 6 && args[0] == "talk":
		d, err := time.ParseDuration(args[3])
		if err != nil {
			return err
		}
		window, err := strconv.Atoi(args[4])
		if err != nil {
			return err
		}
		return talk(ctx, out, args[1], args[2], d, window, args[5])
	}
	return errors.New("usage: grpcpeer serve HOST:PORT[,HOST:PORT] | talk HOST:PORT AUTHORITY DURATION WINDOW MESSAGE")
}

// raw is a codec of messages that are bytes already: of *[]byte.
type raw struct{}

func (raw) Name() string { return "raw" }

func (raw) Marshal(v any) (mem.BufferSlice, error) {
	b, ok := v.(*[]byte)
	if !ok {
		return nil, fmt.Errorf("a message is *[]byte, not %T", v)
	}
	return mem.BufferSlice{mem.SliceBuffer(*b)}, nil
}

func (raw) Unmarshal(data mem.BufferSlice, v any) error {
	b, ok := v.(*[]byte)
	if !ok {
		return fmt.Errorf("a message is *[]byte, not %T", v)
	}
	*b = data.Materialize()
	return nil
}

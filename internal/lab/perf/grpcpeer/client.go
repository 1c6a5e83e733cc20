package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// result is printed as a line of JSON. Latencies are from sending a message to
// having it back, in microseconds.
type result struct {
	Messages int64   `json:"messages"`
	Micros   int64   `json:"micros"`
	P50      float64 `json:"p50"`
	P99      float64 `json:"p99"`
	P999     float64 `json:"p999"`
}

// talk keeps window messages under way on one stream for d, then ends it and
// waits for what is still to come.
func talk(ctx context.Context, out io.Writer, addr, authority string, d time.Duration, window int, text string) error {
	cc, err := grpc.NewClient("passthrough:///"+addr, grpc.WithAuthority(authority),
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(grpc.ForceCodecV2(raw{})))
	if err != nil {
		return err
	}
	defer cc.Close()
	ctx, cancel := context.WithTimeout(ctx, d+10*time.Second)
	defer cancel()
	s, err := cc.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/recloser.bench.Echo/Talk")
	if err != nil {
		return err
	}
	start := time.Now()
	sent := make(chan time.Time, window) // when what is under way was sent
	var g errgroup.Group
	g.Go(func() error {
		defer close(sent)
		message := []byte(text)
		for now := start; now.Sub(start) < d; now = time.Now() {
			select {
			case sent <- now:
			case <-ctx.Done():
				return ctx.Err()
			}
			if err := s.SendMsg(&message); err != nil {
				cancel()
				if errors.Is(err, io.EOF) {
					return nil // the receiver learns why
				}
				return err
			}
		}
		return s.CloseSend()
	})
	latencies, err := receive(s, sent, text)
	took := time.Since(start)
	if err != nil {
		cancel()
	}
	if err := errors.Join(err, g.Wait()); err != nil {
		return err
	}
	return report(out, latencies, took)
}

// receive reads until the stream ends and expects text for each that was sent.
func receive(s grpc.ClientStream, sent <-chan time.Time, text string) ([]float64, error) {
	var latencies []float64
	var got []byte
	for {
		err := s.RecvMsg(&got)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if string(got) != text {
			return nil, fmt.Errorf("received %q, sent %q", got, text)
		}
		at, ok := <-sent
		if !ok {
			return nil, errors.New("received more messages than were sent")
		}
		latencies = append(latencies, float64(time.Since(at).Microseconds()))
	}
	if _, ok := <-sent; ok {
		return nil, errors.New("the stream ended before all messages were back")
	}
	return latencies, nil
}

func report(w io.Writer, latencies []float64, took time.Duration) error {
	slices.Sort(latencies)
	at := func(q float64) float64 {
		if len(latencies) == 0 {
			return 0
		}
		return latencies[min(int(q*float64(len(latencies))), len(latencies)-1)]
	}
	return json.NewEncoder(w).Encode(result{
		Messages: int64(len(latencies)), Micros: took.Microseconds(),
		P50: at(0.5), P99: at(0.99), P999: at(0.999),
	})
}

package perf

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"time"
)

// talk is grpcpeer as a client: one bidirectional stream that the server
// echoes, with talkWindow messages under way.
type talk struct{}

const talkWindow = 64

func (talk) program() string { return "grpcpeer" }

func (talk) args(_ *Config, _, addr string, d time.Duration) ([]string, error) {
	return []string{"talk", addr, authority, d.String(), strconv.Itoa(talkWindow), answer}, nil
}

// round reads the line of JSON that grpcpeer ends with.
func (talk) round(_ string, out []byte) (Round, error) {
	var r struct {
		Messages       int64
		Micros         int64
		P50, P99, P999 float64
	}
	i := bytes.LastIndexByte(bytes.TrimRight(out, "\n"), '\n')
	if err := json.Unmarshal(out[i+1:], &r); err != nil {
		return Round{}, fmt.Errorf("it printed no result: %w\n%s", err, out)
	}
	if r.Messages == 0 || r.Micros == 0 {
		return Round{}, errNoRequest
	}
	return Round{
		Requests:   r.Messages,
		PerSecond:  float64(r.Messages) / (float64(r.Micros) / 1e6),
		P50Micros:  r.P50,
		P99Micros:  r.P99,
		P999Micros: r.P999,
	}, nil
}

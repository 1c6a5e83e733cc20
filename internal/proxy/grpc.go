package proxy

import (
	"strconv"
	"time"

	"github.com/reclosermesh/recloser/internal/proxy/http1"
)

// This file is what gRPC adds to HTTP: the deadline that a caller states, and
// the status at an answer's end (gRPC over HTTP2, Requests and Responses).

const grpcTimeoutHeader = "grpc-timeout"

// grpcUnits are the units of a grpc-timeout, from the finest.
var grpcUnits = [...]struct {
	letter byte
	length time.Duration
}{
	{'n', time.Nanosecond},
	{'u', time.Microsecond},
	{'m', time.Millisecond},
	{'S', time.Second},
	{'M', time.Minute},
	{'H', time.Hour},
}

// maxGRPCTimeout is the largest number that a grpc-timeout may have: eight
// digits.
const maxGRPCTimeout = 99_999_999

// grpcTimeout is the time that a gRPC caller gives the whole call. One that is
// malformed is left to the server that the call is for.
func (x *exchange) grpcTimeout() (time.Duration, bool) {
	v, ok := http1.Find(x.req.Headers, grpcTimeoutHeader)
	if !ok || !x.isGRPC() {
		return 0, false
	}
	return parseGRPCTimeout(v)
}

// shortenDeadline makes the request's grpc-timeout say what is left of it: the
// next one must not work for a caller that has given up.
func (x *exchange) shortenDeadline() {
	if x.deadline == 0 {
		return
	}
	if _, ok := x.grpcTimeout(); !ok {
		return
	}
	for i := range x.fwd.Headers {
		if h := &x.fwd.Headers[i]; http1.EqualFold(h.Name, grpcTimeoutHeader) {
			h.Value = appendGRPCTimeout(nil, x.deadline-x.srv.clock())
			return
		}
	}
}

func parseGRPCTimeout(v []byte) (time.Duration, bool) {
	if len(v) < 2 || len(v) > 9 {
		return 0, false
	}
	n := int64(0)
	for _, c := range v[:len(v)-1] {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	for _, u := range grpcUnits {
		if u.letter == v[len(v)-1] {
			const longest = 1<<63 - 1
			if n > longest/int64(u.length) {
				return longest / 2, true
			}
			return time.Duration(n) * u.length, true
		}
	}
	return 0, false
}

// appendGRPCTimeout writes d in the finest unit that eight digits allow,
// rounded down: the next one must not wait longer than the caller does.
func appendGRPCTimeout(dst []byte, d time.Duration) []byte {
	d = max(d, 0)
	for _, u := range grpcUnits {
		if n := int64(d / u.length); n <= maxGRPCTimeout {
			return append(strconv.AppendInt(dst, n, 10), u.letter)
		}
	}
	return append(dst, "99999999H"...)
}

// grpcStatus reads grpc-status out of trailers, or of a head that is all there
// is of an answer. -1: there is none.
func grpcStatus(fields []http1.Header) int {
	v, ok := http1.Find(fields, "grpc-status")
	if !ok {
		return -1
	}
	n, err := strconv.ParseUint(string(v), 10, 31)
	if err != nil {
		return grpcUnknown
	}
	return int(n)
}

// hearStatus takes note of the grpc-status among a head's or trailers' fields.
func (x *exchange) hearStatus(fields []http1.Header) {
	if status := grpcStatus(fields); status >= 0 && x.isGRPC() {
		x.grpc = status
	}
}

// statusMissing notes that no grpc-status can come any more: an answer of gRPC
// without one is a broken one.
func (x *exchange) statusMissing() {
	if x.grpc < 0 && x.status == 200 && x.isGRPC() {
		x.grpc = grpcInternal
	}
}

// Codes of gRPC that this package speaks of.
const (
	grpcUnknown  = 2
	grpcInternal = 13
)

// statusOfGRPC is the status of HTTP that comes nearest to one of gRPC, for
// callers who do not speak it.
func statusOfGRPC(status int) int {
	switch status {
	case 0:
		return 200
	case 3, 9, 11:
		return 400
	case 16:
		return 401
	case 7:
		return 403
	case 5:
		return 404
	case 6, 10:
		return 409
	case 8:
		return 429
	case 1:
		return 499
	case 12:
		return 501
	case 14:
		return 503
	case 4:
		return 504
	}
	return 500
}

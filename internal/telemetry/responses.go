package telemetry

import (
	"strconv"
	"sync"
	"sync/atomic"
)

const (
	inlineStatuses = 6
	// maxStatuses bounds the series that one endpoint can make by answering
	// with ever new statuses. Further ones are counted with status_code "other".
	maxStatuses = 64
)

// statusKey packs status, grpc status and classification; 0 is no key.
type statusKey uint32

const (
	keyUsed    statusKey = 1 << 31
	keySuccess statusKey = 1 << 30
	keyOther   statusKey = 1 << 29
)

func makeStatusKey(status, grpc int, success bool) statusKey {
	if status < 100 || status > 999 {
		status = 0
	}
	if grpc > 16 {
		grpc = 2 // gRPC: a code that is not known is UNKNOWN
	}
	if grpc < 0 {
		grpc = -1
	}
	k := keyUsed | statusKey(grpc+1)<<16 | statusKey(status)
	if success {
		k |= keySuccess
	}
	return k
}

func (k statusKey) status() string {
	switch s := int(k & 0xffff); {
	case k&keyOther != 0:
		return "other"
	case s == 0:
		return ""
	default:
		return strconv.Itoa(s)
	}
}

func (k statusKey) grpc() string {
	g := int(k>>16&0xff) - 1
	if g < 0 {
		return ""
	}
	return strconv.Itoa(g)
}

func (k statusKey) classification() string {
	if k&keySuccess != 0 {
		return "success"
	}
	return "failure"
}

// responses counts answers by status. The first few statuses live inline and
// are found by a scan of one cache line; rarer ones are in a map. The zero value is ready.
type responses struct {
	keys   [inlineStatuses]atomic.Uint32 // written once each, under mu
	counts [inlineStatuses]atomic.Uint64

	mu   sync.Mutex
	rest map[statusKey]uint64 // guarded by mu
}

func (r *responses) count(status, grpc int, success bool) {
	k := makeStatusKey(status, grpc, success)
	for i := range r.keys {
		switch statusKey(r.keys[i].Load()) {
		case k:
			r.counts[i].Add(1)
			return
		case 0:
			r.countSlow(k)
			return
		}
	}
	r.countSlow(k)
}

func (r *responses) countSlow(k statusKey) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.keys {
		have := statusKey(r.keys[i].Load())
		if have == 0 {
			r.keys[i].Store(uint32(k))
			have = k
		}
		if have == k {
			r.counts[i].Add(1)
			return
		}
	}
	if r.rest == nil {
		r.rest = make(map[statusKey]uint64)
	}
	if _, known := r.rest[k]; !known && len(r.rest) >= maxStatuses {
		k = k&(keyUsed|keySuccess) | keyOther
	}
	r.rest[k]++
}

// each calls f for every status counted so far, in no order.
func (r *responses) each(f func(statusKey, uint64)) {
	for i := range r.keys {
		if k := statusKey(r.keys[i].Load()); k != 0 {
			f(k, r.counts[i].Load())
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for k, n := range r.rest {
		f(k, n)
	}
}

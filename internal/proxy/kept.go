package proxy

import "sync"

// DefaultMaxKept is how much of a request's body is kept so that it can be sent
// again, or mirrored, where nothing is said: Linkerd's bound.
const DefaultMaxKept = 64 << 10

// keeper keeps what has come of a request's body, up to a bound, while it goes
// to an endpoint, so that it can go to another one. The zero keeper keeps
// nothing and costs nothing.
//
// An uploader adds to it. Who wants to send the body again seals it first: from
// then on no more is read, and what was read meanwhile is here.
type keeper struct {
	most int // 0: nothing is kept. Set before there is an uploader.

	mu     sync.Mutex
	b      []byte
	lost   bool // there was more than could be kept
	sealed bool
}

// begin makes it keep at most so many bytes of a body that begins with first;
// length is its announced length, 0 where there is none.
func (k *keeper) begin(most int, first []byte, length int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.most = most; most <= 0 {
		k.lost = true
		return
	}
	if k.lost = length > int64(most) || len(first) > most; !k.lost {
		k.b = append(k.b[:0], first...)
	}
}

// keeping tells whether what comes has to pass through add.
func (k *keeper) keeping() bool {
	if k.most <= 0 {
		return false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return !k.lost
}

// add keeps a further piece. False: it is sealed, and the piece is to be sent by
// who has sealed it.
func (k *keeper) add(p []byte) bool {
	if k.most <= 0 {
		return true
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.lost:
	case k.sealed, len(k.b)+len(p) <= k.most: // what comes when it is sealed is one piece at most
		k.b = append(k.b, p...)
	default:
		k.b, k.lost = nil, true
	}
	return !k.sealed
}

// seal makes it hold all that was read of the body. False: it does not.
func (k *keeper) seal() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.sealed = !k.lost && k.most > 0
	return k.sealed
}

// unseal gives what is kept, once nobody adds to it any more.
func (k *keeper) unseal() []byte {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.sealed = false
	return k.b
}

// maxKept is the bound on what is kept of a body; 0: nothing is.
func (s *Server) maxKept() int {
	if s.cfg.MaxKept == 0 {
		return DefaultMaxKept
	}
	return max(s.cfg.MaxKept, 0)
}

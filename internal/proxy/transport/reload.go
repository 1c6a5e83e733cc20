package transport

import (
	"crypto/sha256"
	"encoding/binary"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// DefaultReread is how often files are looked at, at most.
const DefaultReread = time.Second

// reloading holds what is made of some sources, and makes it anew when they
// have changed. Nobody waits for that but the one handshake that notices.
type reloading[T any] struct {
	// Immutable.
	owner   string // for the log: "cluster outbound|443||x"
	sources []input
	build   func(texts [][]byte) (*T, error)
	every   time.Duration
	now     func() time.Time
	logger  *slog.Logger
	files   bool // there is something that can change

	current atomic.Pointer[T]
	next    atomic.Int64 // when to look again, in Unix nanoseconds

	// Guarded by mu, which is held over a look.
	mu   sync.Mutex
	sum  [sha256.Size]byte // of the texts that were last tried
	told string            // the failure that is in the log already
}

// start reads the sources for the first time.
func (r *reloading[T]) start() error {
	for _, s := range r.sources {
		r.files = r.files || s.File != ""
	}
	texts, err := r.read()
	if err != nil {
		return err
	}
	value, err := r.build(texts)
	if err != nil {
		return err
	}
	r.sum = digest(texts)
	r.current.Store(value)
	r.next.Store(r.now().Add(r.every).UnixNano())
	return nil
}

// get gives what holds now.
func (r *reloading[T]) get() *T {
	if r.files {
		if now := r.now(); now.UnixNano() >= r.next.Load() && r.mu.TryLock() {
			r.look(now)
			r.mu.Unlock()
		}
	}
	return r.current.Load()
}

// look compares contents, not times: a file may be written twice within a tick
// of the file system's clock.
func (r *reloading[T]) look(now time.Time) {
	r.next.Store(now.Add(r.every).UnixNano())
	texts, err := r.read()
	if err != nil {
		r.tell(err)
		return
	}
	sum := digest(texts)
	if sum == r.sum {
		return
	}
	r.sum = sum
	value, err := r.build(texts)
	if err != nil {
		r.tell(err)
		return
	}
	r.told = ""
	r.current.Store(value)
	r.logger.Info("TLS files were read again", "of", r.owner)
}

func (r *reloading[T]) tell(err error) {
	if text := err.Error(); text != r.told {
		r.told = text
		r.logger.Error("TLS files are wrong; what they said before stays in use", "of", r.owner, "error", err)
	}
}

func (r *reloading[T]) read() ([][]byte, error) {
	texts := make([][]byte, len(r.sources))
	for i, s := range r.sources {
		var err error
		if texts[i], err = s.read(); err != nil {
			return nil, err
		}
	}
	return texts, nil
}

func digest(texts [][]byte) (sum [sha256.Size]byte) {
	h := sha256.New()
	for _, text := range texts {
		var length [8]byte
		binary.BigEndian.PutUint64(length[:], uint64(len(text)))
		_, _ = h.Write(length[:]) // never fails
		_, _ = h.Write(text)
	}
	h.Sum(sum[:0])
	return sum
}

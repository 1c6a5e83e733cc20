package upstream

import (
	"net/netip"

	"github.com/cespare/xxhash/v2"
)

// Key is what of a request decides to which endpoint a hashing balancer sends
// it. The zero Key is of a request that says nothing of the sort: it goes where
// chance, or another balancer, has it.
type Key struct {
	// Hash is the hash that the route's policy made of the request.
	Hash uint64
	// Hashed tells whether there is one: 0 is a hash like any.
	Hashed bool
}

// SourceKey is the Key of a connection by whom it comes from. An address that is
// none gives the zero Key.
func SourceKey(a netip.Addr) Key {
	if !a.IsValid() {
		return Key{}
	}
	b := a.Unmap().As16()
	return Key{Hash: xxhash.Sum64(b[:]), Hashed: true}
}
